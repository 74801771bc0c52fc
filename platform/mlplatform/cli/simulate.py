"""`mlplatform simulate`: replay history."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape

from mlplatform.as_of import EVERY
from mlplatform.cli import output, profiling
from mlplatform.cli.commands import command
from mlplatform.cli.options import Options, time_option

if TYPE_CHECKING:
    from mlplatform.monitoring.staleness import Staleness
    from mlplatform.protocols.workspace import Workspace
    from mlplatform.reporting.timeline import TimelineStep
    from mlplatform.use_case import UseCase


@command(
    examples=(
        "mlplatform simulate credit_risk --from 2006-01-01 --to 2012-01-01 --every quarter",
        "mlplatform simulate credit_risk delivery_delay --json",
        "mlplatform simulate credit_risk --staleness",
    ),
)
@click.argument("names", metavar="USE_CASE...", nargs=-1, required=True)
@click.option("--from", "start", metavar="TIME", help="First as_of.  [default: the use case's simulation.start]")
@click.option("--to", "end", metavar="TIME", help="Last as_of, included.  [default: the use case's simulation.end]")
@click.option(
    "--every",
    metavar="STEP",
    help=f"One of {', '.join(EVERY)}, or a duration such as '6 months'.  [default: the use case's simulation.every]",
)
@click.option(
    "--staleness",
    is_flag=True,
    help="Then score later windows with every earlier champion: how fast models grow stale, and when to retrain. "
    "Changes nothing.",
)
@click.option("--profile", is_flag=True, help=profiling.HELP)
def simulate(
    names: tuple[str, ...],
    start: str | None,
    end: str | None,
    every: str | None,
    staleness: bool,
    profile: bool,
    options: Options,
) -> None:
    """Replay history, step by step.

    At each step the pipeline sees only what was known by then. Several use cases are replayed one after the other. When
    it was stopped half-way, the same command goes on with the step it was at.
    """
    from mlplatform.as_of import interval

    # What is typed wrong shows before a workspace is opened.
    _ = (start and time_option(start, "--from"), end and time_option(end, "--to"), every and interval(every))
    wanted = list(dict.fromkeys(names))
    done: list[dict[str, Any]] = []
    with profiling.watched(wanted=profile) as seen, options.open_use_cases(wanted) as (ws, opened):
        # All of them are checked before the first one starts.
        plans = [(use_case, *_moments(use_case, start, end, every)) for use_case in opened]
        with output.reporting(total=sum(len(moments) for _, moments, _ in plans)) as reporter:
            for use_case, moments, step in plans:
                reporter.line(f"{use_case.name}: {len(moments)} steps of {step}")
                done.append(_replay(ws, use_case, moments, reporter, step if staleness else None) | {"every": step})
    if options.as_json:
        output.show_json({"use_cases": [_plain(item) for item in done]} | profiling.as_json(seen()))
        return
    for item in done:
        _show(item, options)
    profiling.show(seen())


def _moments(use_case: UseCase, start: str | None, end: str | None, every: str | None) -> tuple[list[datetime], str]:
    from mlplatform.as_of import steps
    from mlplatform.errors import UsageError

    configured = use_case.settings.simulation
    first, last, step = (
        given or (getattr(configured, key) if configured else None)
        for given, key in ((start, "start"), (end, "end"), (every, "every"))
    )
    if not (first and last and step):
        raise UsageError(
            f"{use_case.name} has no section 'simulation' in its config.yml, which says what to replay.",
            hint="Add start, end and every there, or give --from, --to and --every.",
        )
    return list(steps(time_option(first, "--from"), time_option(last, "--to"), step)), step


def _replay(
    ws: Workspace, use_case: UseCase, moments: list[datetime], reporter: output.Reporter, ageing_by: str | None
) -> dict[str, Any]:
    from mlplatform.reporting.report import write_report
    from mlplatform.simulation import NOTE, stale
    from mlplatform.simulation import simulate as replay

    finished, notes = 0, list[str]()

    def place(number: int) -> str:
        return f"{use_case.name}, step {number} of {len(moments)}"

    def tell(number: int, step: TimelineStep) -> None:
        nonlocal finished
        finished = number + 1
        reporter.done(f"{place(finished)}: {_one_line(step)}")

    def say(message: str) -> None:
        if message.startswith(NOTE):
            notes.append(message)
        reporter.line(f"{place(finished + 1)}: {message}")

    steps = replay(ws, use_case, moments, on_step=tell, progress=say)
    aged = stale(ws, use_case, moments, ageing_by, progress=reporter.line) if ageing_by else None
    reporter.line("writing the report")
    folder = ws.files("reports")
    spine, settings = use_case.label_spine(), use_case.settings
    report = write_report(ws, use_case.namespace, spine, settings, folder, staleness=aged, log=True)
    return {
        "use_case": use_case.name,
        "metric": use_case.settings.training.metric,
        "steps": steps,
        "notes": list(dict.fromkeys(notes)),
        "staleness": aged,
        "several": settings.kind_of_task.is_multiclass,
        "paths": {"report": str(report), "workspace": str(report.parent.parent), "model": str(use_case.model)},
    }


def _plain(item: dict[str, Any]) -> dict[str, Any]:
    plain = item | {"steps": [step.to_dict() for step in item["steps"]]}
    aged, _ = plain.pop("staleness"), plain.pop("several")
    return plain if aged is None else plain | {"staleness": aged.to_dict()}


def _show(item: dict[str, Any], options: Options) -> None:
    console, paths, use_case = output.console(), item["paths"], item["use_case"]
    for note in item["notes"]:
        click.echo(options.hints.repeated(note))
    dated = any(step.expected is not None for step in item["steps"])
    rows = [_row(step, dated=dated) for step in item["steps"]]
    columns = _columns(item["metric"], dated=dated, several=item["several"])
    console.print(output.table(f"{use_case}, every {item['every']}", columns, rows))
    if item["staleness"] is not None:
        _show_ages(item["staleness"], options)
    console.print(f"Report:    {escape(paths['report'])}", soft_wrap=True, highlight=False)
    console.print(f"Workspace: {escape(paths['workspace'])} (tables, models, logs)", soft_wrap=True, highlight=False)
    told = options.hints.repeated(f"History:   mlplatform history {use_case}")
    console.print(escape(told), soft_wrap=True, highlight=False)


def _show_ages(aged: Staleness, options: Options) -> None:
    from mlplatform.reporting import ageing

    rows = ageing.rows(aged)
    if rows:
        output.console().print(output.table("Metric by age of the model", ageing.headings(aged), rows))
        click.echo(ageing.caption(aged))
    for sentence in ageing.sentences(aged):
        click.echo(options.hints.repeated(sentence))


def _columns(metric: str, *, dated: bool, several: bool) -> tuple[str, ...]:
    """Return the headings; of several classes the score is the predicted one's probability, which is right or not."""
    return (
        "as of",
        "scored",
        "mean top probability" if several else "mean score",
        *(("expected",) if dated else ()),
        "share right known" if several else "label mean known",
        "champion",
        metric,
        "worst drift (PSI)",
        "alerts",
        "decision",
    )


def _row(step: TimelineStep, *, dated: bool) -> tuple[object, ...]:
    from mlplatform.as_of import shown

    return (
        shown(step.as_of),
        step.scored,
        step.mean_score,
        *((step.expected,) if dated else ()),
        f"{step.label_mean:.4f} ({step.labels_known})" if step.label_mean is not None else "not yet known",
        f"v{step.champion}" if step.champion else None,
        step.metric,
        step.worst_drift,
        ", ".join(step.alerts),
        step.decision,
    )


def _one_line(step: TimelineStep) -> str:
    from mlplatform.as_of import shown

    score = f"mean score {step.mean_score:.4f}" if step.mean_score is not None else "nothing scored"
    labels = f"known {step.label_mean:.4f}" if step.label_mean is not None else "labels not yet known"
    parts = [shown(step.as_of), f"{step.scored} scored", score, labels]
    parts.append(f"champion v{step.champion}" if step.champion else "no champion")
    if step.alerts:
        parts.append(f"alerts: {', '.join(step.alerts)}")
    if step.decision:
        parts.append(step.decision)
    return " | ".join(parts)
