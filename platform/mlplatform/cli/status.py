"""`mlplatform status`: where each use case stands, from the platform's own tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click
from rich.text import Text

from mlplatform.cli import output
from mlplatform.cli.commands import command
from mlplatform.cli.options import Options

if TYPE_CHECKING:
    from mlplatform.ops.records import StageRecord
    from mlplatform.protocols.workspace import Workspace

NEVER_RUN, FAILED, NO_CHAMPION, CRITICAL, WARNING, NOT_JUDGED, WELL = (
    "never run", "failed", "no champion", "critical", "warning", "not judged", "well",
)  # fmt: skip
_STYLES = {FAILED: "bold red", CRITICAL: "bold red", NO_CHAMPION: "yellow", WARNING: "yellow", NOT_JUDGED: "yellow"}
_STYLES |= {WELL: "green", NEVER_RUN: "dim"}


@command(
    examples=(
        "mlplatform status",
        "mlplatform status credit_risk --json",
    ),
)
@click.argument("use_case", required=False)
def status(use_case: str | None, options: Options) -> None:
    """Show champion, newest run and alerts of each use case.

    One line for each, with its state: failed, no champion, critical, warning, not judged, well, or never run. With
    USE_CASE, of that one only, with all there is to say about it. Starts no engine.
    """
    from mlplatform import discovery

    if use_case:
        catalogs = options.by_catalog([discovery.get(use_case, options.use_cases).name])
    else:
        catalogs = options.all_by_catalog()
    facts = []
    for names in catalogs.values():
        with options.open(*names, read_only=True) as ws:
            facts += [_facts(ws, name) for name in names]
    for fact in facts:
        fact["state"], fact["next"] = _state(fact), _next(fact, options)
    facts.sort(key=lambda fact: fact["use_case"])
    if options.as_json:
        output.show_json(facts[0] if use_case else facts)
        return
    _show(facts, options, alone=bool(use_case))


def _show(facts: list[dict[str, Any]], options: Options, *, alone: bool) -> None:
    rows = [
        (
            fact["use_case"],
            Text(fact["state"], style=_STYLES.get(fact["state"], "")),
            _who_decides(fact),
            fact["as_of"][:10] if fact["as_of"] else None,
            _not_done(fact),
            _counted(fact["alerts"].splitlines()) if fact["as_of"] else None,
            _judged(fact["monitoring"]),
        )
        for fact in facts
    ]
    columns = ("use case", "state", "champion", "last as of", "stages then", "alerts then", "checks")
    output.console().print(output.table(f"Workspace {options.workspace}, environment {options.env}", columns, rows))
    for fact in facts:
        for note in fact["notes"]:
            click.echo(options.hints.repeated(f"Note ({fact['use_case']}): {note}"))
        if alone:
            for line in _details(fact):
                click.echo(output.printable(line))
        # Of several, what each needs first; of one, all there is to say.
        for line in fact["next"] if alone else fact["next"][:1]:
            click.echo(line)
    if not alone and any(fact["state"] != WELL for fact in facts):
        text = "What is the matter with one, and what to run first: mlplatform status USE_CASE"
        click.echo(options.hints.repeated(text))


def _state(fact: dict[str, Any]) -> str:
    """Return in a word how a use case is; the gravest that is true of it."""
    raised = fact["alerts"].splitlines()
    monitoring = fact["monitoring"]
    nothing_judged = monitoring is not None and (not monitoring["judged"] or monitoring["unjudged_windows"] > 1)
    found = {
        NEVER_RUN: not fact["as_of"],
        FAILED: bool(fact["failed"]),
        NO_CHAMPION: fact["champion"] is None,
        CRITICAL: any(line.startswith(f"{CRITICAL}:") for line in raised),
        WARNING: bool(raised or fact["mostly_quarantined"]),
        NOT_JUDGED: nothing_judged,
        WELL: True,
    }
    return next(state for state, is_so in found.items() if is_so)


def _counted(raised: list[str]) -> str:
    """Return how many alerts of each severity there are, the gravest first."""
    counts = Counter(line.partition(":")[0] for line in raised)
    return ", ".join(f"{count} {severity}" for severity, count in sorted(counts.items())) or "none"


def _judged(monitoring: dict[str, Any] | None) -> str | None:
    if monitoring is None:
        return None
    judged, not_judged = len(monitoring["judged"]), len(monitoring["not_judged"])
    return f"{judged} judged" + (f", {not_judged} not" if not_judged else "")


def _details(fact: dict[str, Any]) -> Iterator[str]:
    """Yield what the table has no room for: alerts, what was judged and what was not, what was taken into memory."""
    raised = fact["alerts"].splitlines()
    if raised:
        yield f"Alerts at {fact['as_of'][:10]}:"
        yield from (f"  {line}" for line in raised)
    monitoring = fact["monitoring"]
    if monitoring is not None:
        yield f"Judged at {monitoring['as_of'][:10]}: {', '.join(monitoring['judged']) or 'nothing'}"
        reasons: dict[str, list[str]] = {}
        for kind, why in monitoring["not_judged"].items():
            reasons.setdefault(why, []).append(kind)
        yield from (f"  not judged: {', '.join(kinds)}: {why}" for why, kinds in reasons.items())
        if monitoring["unjudged_windows"] > 1:
            yield f"  {monitoring['unjudged_windows']} windows in a row were not judged: drift raises no alert"
    if fact["collected"]:
        yield _most_collected(fact["collected"])


def _who_decides(fact: dict[str, Any]) -> str | None:
    if not fact["champion"]:
        return None
    origin = f" (recalibrated from v{fact['recalibrated_from']})" if fact["recalibrated_from"] else ""
    beside = f", v{fact['canary']} as a canary" if fact["canary"] else ""
    return f"v{fact['champion']}{origin} since {fact['champion_since'][:10]}{beside}"


def _not_done(fact: dict[str, Any]) -> str | None:
    if not fact["as_of"]:
        return None
    return ", ".join(f"{stage} {state}" for stage, state in fact["stages"].items() if state != "done") or "all done"


def _next(fact: dict[str, Any], options: Options) -> list[str]:
    """Return what to do next about a use case that has no champion yet, or whose newest run failed."""
    name = fact["use_case"]
    if not fact["as_of"]:
        from mlplatform import discovery
        from mlplatform.config.environments import read_config
        from mlplatform.workspace.local.home import workspace_root

        where = f"the workspace {workspace_root(options.home)}" if options.workspace == "local" else "this workspace"
        file = discovery.config_file(discovery.get(name, options.use_cases))
        simulation = read_config(file).settings.get("simulation")
        start = simulation.get("start", "TIME") if isinstance(simulation, dict) else "TIME"
        lines = [f"{name} has never been run in {where}, environment {options.env}."]
        lines.append(f"  First:        mlplatform run {name} --as-of {start}")
        lines.append(f"  Is it whole?  mlplatform check {name}")
        if simulation:
            lines.append(f"  Replay all:   mlplatform simulate {name}")
    elif fact["failed"]:
        lines = [f"{name} failed at {fact['as_of'][:10]}: {message}" for message in fact["failed"]]
    elif fact["champion"] is None:
        lines = [f"{name} has no champion. What the gate decided: mlplatform history {name}"]
    else:
        lines = []
    return [options.hints.repeated(line) for line in lines]


def _facts(ws: Workspace, name: str) -> dict[str, Any]:
    from mlplatform.gate import decision_log
    from mlplatform.gate.canary import all_of
    from mlplatform.naming import Namespace
    from mlplatform.ops import records, stage_runs
    from mlplatform.ops.records import ALERTS
    from mlplatform.reporting.decisions import champions_of

    namespace = Namespace(ws.catalog, name, ws.prefix)
    records.check_not_newer(ws, namespace)
    runs = stage_runs.of_the_cycle(stage_runs.RunLog(ws, namespace).records())
    events = decision_log.events(ws, namespace)
    applied = [event for event in events if event.event == "applied"]
    canary = next(reversed(all_of(events)), None)
    newest = runs[-1].as_of if runs else None
    at_newest = [run for run in runs if run.as_of == newest]
    # Run again at the same time, a stage is what its last run made of it.
    last = {run.stage: run for run in at_newest}
    telling = _telling(at_newest)
    raised = ALERTS.read(ws, namespace, [("as_of", "=", newest)]) if newest is not None else []
    return {
        "use_case": name,
        "champion": applied[-1].challenger_version if applied else None,
        "champion_since": applied[-1].as_of.isoformat() if applied else None,
        "recalibrated_from": champions_of(events)[-1].recalibrated_from if applied else None,
        "canary": canary.version if canary is not None and canary.until is None else None,
        "as_of": newest.isoformat() if newest else None,
        "stages": {stage: run.status for stage, run in last.items()},
        "failed": [run.message for run in last.values() if run.status == stage_runs.FAILED],
        "alerts": "\n".join(
            sorted(f"{alert.severity}: {alert.message}" for alert in raised if alert.event != "recovered")
        ),
        "monitoring": _monitored(runs),
        "collected": {run.stage: run.details["collected"] for run in at_newest if run.details.get("collected")},
        "mostly_quarantined": _mostly_quarantined(telling),
        "notes": list(dict.fromkeys(note for run in telling for note in run.details.get("notes", ()))),
    }


def _monitored(runs: list[StageRecord]) -> dict[str, Any] | None:
    """Return what the newest monitoring judged and what it did not; None before the first one."""
    from datetime import UTC, datetime

    from mlplatform.monitoring import details
    from mlplatform.monitoring.alerts import CHECKS
    from mlplatform.ops.stage_runs import as_run

    monitored = [as_run(run, details.MonitorDetails) for run in runs if run.stage == details.STAGE]
    by_time = details.up_to(monitored, datetime.max.replace(tzinfo=UTC))
    if not by_time:
        return None
    newest = max(by_time)
    newest_details = by_time[newest].details
    return {
        "as_of": newest.isoformat(),
        "judged": sorted(kind for kind in newest_details.windows if kind in CHECKS),
        "not_judged": newest_details.not_judged,
        "unjudged_windows": newest_details.unjudged_windows,
    }


def _most_collected(collected: dict[str, dict[str, Any]]) -> str:
    """Say which stage of the newest run took the most rows into memory, and of what."""
    stage, most = max(collected.items(), key=lambda item: item[1]["largest_rows"])
    rows = f"{most['largest_rows']:,} of at most {most['at_most']:,}"
    return f"Most rows in memory then: {stage}, {rows} ({most['largest']})"


def _telling(runs: list[StageRecord]) -> list[StageRecord]:
    """Return the runs of one time whose words still hold: of each stage the last that did something, and later ones.

    Of scoring the last one only, which may settle what those before said.
    """
    from mlplatform.ops import stage_runs

    first = {
        run.stage: place for place, run in enumerate(runs) if run.stage == "score" or run.status != stage_runs.SKIPPED
    }
    return [run for place, run in enumerate(runs) if place >= first.get(run.stage, 0)]


def _mostly_quarantined(runs: list[StageRecord]) -> list[str]:
    """Return the quarantine tables that most rows of some files went to: little of them was taken."""
    found = [item for run in runs for item in run.details.get("large_quarantine") or ()]
    return sorted({item["table"] for item in found if 2 * item["rows"] > item["of"]})
