"""`mlplatform simulate`: replay history."""

from __future__ import annotations

import click

from mlplatform.as_of import EVERY
from mlplatform.cli import output
from mlplatform.cli.options import Options, common


@click.command(
    epilog="\b\nExamples:\n  mlplatform simulate credit_risk --from 2006-01-01 --to 2012-01-01 --every quarter"
)
@click.argument("use_case")
@click.option("--from", "start", metavar="TIME", required=True, help="First as_of.")
@click.option("--to", "end", metavar="TIME", required=True, help="Last as_of, included.")
@click.option(
    "--every", metavar="STEP", required=True, help=f"One of {', '.join(EVERY)}, or a duration such as '6 months'."
)
@click.option("--json", "as_json", is_flag=True, help="Print the steps as JSON.")
@common
def simulate(use_case: str, start: str, end: str, every: str, as_json: bool, options: Options) -> None:
    """Replay history: at each step the pipeline sees only what was known by then.

    Stopped half-way, the same command goes on with the step it was at.
    """
    from mlplatform.as_of import parse_as_of, steps
    from mlplatform.ops.timeline import Step

    moments = list(steps(parse_as_of(start), parse_as_of(end), every))
    from mlplatform.reporting.report import write_report
    from mlplatform.simulation import simulate as replay

    with options.open_use_case(use_case) as (ws, opened), output.reporting(total=len(moments)) as reporter:

        def tell(number: int, step: Step) -> None:
            del number
            reporter.done(_one_line(step))

        found = replay(ws, opened, moments, on_step=tell, progress=reporter.line)
        reporter.line("writing the report")
        report = write_report(ws, opened.namespace, opened.label_spine(), opened.settings, ws.files("reports"))
        paths = {"report": str(report), "workspace": str(report.parent.parent), "model": str(opened.model)}
        metric = opened.settings.training.metric
    if as_json:
        output.show_json({"use_case": use_case, "steps": [step.to_dict() for step in found], "paths": paths})
        return
    console = output.console()
    console.print(output.table(f"{use_case}, every {every}", _columns(metric), [_row(step) for step in found]))
    console.print(f"Report:    {paths['report']}", soft_wrap=True, highlight=False)
    console.print(f"Workspace: {paths['workspace']} (tables, models, logs)", soft_wrap=True, highlight=False)
    console.print(f"History:   mlplatform history {use_case}", soft_wrap=True, highlight=False)


def _columns(metric: str) -> tuple[str, ...]:
    return (
        "as of",
        "scored",
        "mean score",
        "label mean known",
        "champion",
        metric,
        "worst drift (PSI)",
        "alerts",
        "decision",
    )


def _row(step: object) -> tuple[object, ...]:
    from mlplatform.ops.timeline import Step

    assert isinstance(step, Step)
    return (
        f"{step.as_of:%Y-%m-%d}",
        step.scored,
        step.mean_score,
        f"{step.label_mean:.4f} ({step.labels_known})" if step.label_mean is not None else "not yet known",
        f"v{step.champion}" if step.champion else None,
        step.metric,
        step.worst_drift,
        ", ".join(step.alerts),
        step.decision,
    )


def _one_line(step: object) -> str:
    from mlplatform.ops.timeline import Step

    assert isinstance(step, Step)
    score = f"mean score {step.mean_score:.4f}" if step.mean_score is not None else "nothing scored"
    known = f"known {step.label_mean:.4f}" if step.label_mean is not None else "labels not yet known"
    parts = [f"{step.as_of:%Y-%m-%d}", f"{step.scored} scored", score, known]
    parts.append(f"champion v{step.champion}" if step.champion else "no champion")
    if step.alerts:
        parts.append(f"alerts: {', '.join(step.alerts)}")
    if step.decision:
        parts.append(step.decision)
    return " | ".join(parts)
