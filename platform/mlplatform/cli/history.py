"""`mlplatform history` and `mlplatform explain`: who was champion when, why, on what numbers; and what edits did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from mlplatform.cli import output
from mlplatform.cli.commands import command
from mlplatform.cli.options import Options

if TYPE_CHECKING:
    from mlplatform.ops.records import ChangeRecord, GateEvent
    from mlplatform.protocols.workspace import Workspace
    from mlplatform.reporting.canaries import CanaryFacts
    from mlplatform.statistics.spending import Spending
    from mlplatform.training.importance import Importance

_MOST_FEATURES = 40
_MOST_TRAININGS = 1000


@command(
    examples=(
        "mlplatform history credit_risk",
        "mlplatform history credit_risk --changes",
    ),
)
@click.argument("use_case")
@click.option("--changes", is_flag=True, help="Show what edits of the declarations did instead.")
def history(use_case: str, changes: bool, options: Options) -> None:
    """Show all champions, and every decision of the gate.

    Each with its time and its reason, oldest first.
    """
    from mlplatform import discovery
    from mlplatform.gate.canary import KIND
    from mlplatform.gate.decision_log import BEGUN_ANEW
    from mlplatform.naming import Namespace
    from mlplatform.ops import records
    from mlplatform.ops.records import CHANGES, GATE_DECISIONS
    from mlplatform.reporting.canaries import canaries_of
    from mlplatform.reporting.decisions import champions_of, decisions_of
    from mlplatform.reporting.facts import of_canaries

    discovery.get(use_case, options.use_cases)
    with options.open(use_case, read_only=True) as ws:
        namespace = Namespace(ws.catalog, use_case, ws.prefix)
        records.check_not_newer(ws, namespace)
        if changes:
            _show_changes(use_case, CHANGES.read(ws, namespace), as_json=options.as_json)
            return
        events = GATE_DECISIONS.read(ws, namespace)
        canaries = canaries_of(events, of_canaries(ws, namespace), "") if any(it.kind == KIND for it in events) else ()
    if options.as_json:
        output.show_json([asdict(event) for event in events])
        return
    if not events:
        click.echo(f"The gate has decided nothing about {use_case} yet.")
        return
    for event in events:
        if event.event == BEGUN_ANEW:
            last = f"version {event.champion_version}" if event.champion_version else "none"
            click.echo(
                f"As of {event.as_of:%Y-%m-%d} the models began anew (champion on record: {last}): {event.reason} "
                f"({event.decided_by or 'unknown'}). Numbers of versions before are those of other models."
            )
    champions = [
        (f"{it.since:%Y-%m-%d}", it.who, f"v{it.before}" if it.before else None, it.kind, it.reason)
        for it in champions_of(events)
    ]
    if champions:
        columns: tuple[str, ...] = ("since", "champion", "before", "by", "why")
        output.console().print(output.table(f"Champions of {use_case}", columns, champions))
    if canaries:
        _show_canaries(use_case, canaries)
    rows = [
        (
            f"{it.as_of:%Y-%m-%d}",
            it.kind,
            it.outcome,
            it.who,
            f"v{it.champion}" if it.champion else None,
            f"{it.rows} of {it.sampled_from}" if it.sampled_from else it.rows,
            it.rows_from,
            _error(it.spending),
            it.reason,
            it.decision_id,
        )
        for it in decisions_of(events)
    ]
    columns = ("as of", "kind", "outcome", "version", "champion", "rows", "rows from", "error", "reason", "decision")
    output.console().print(output.table(f"Decisions about {use_case}", columns, rows))


def _show_canaries(use_case: str, canaries: Sequence[CanaryFacts]) -> None:
    rows = [
        (
            f"{it.since:%Y-%m-%d}",
            f"v{it.version}",
            f"v{it.champion}" if it.champion else None,
            f"{it.share:.3g}",
            f"{it.until:%Y-%m-%d}" if it.until else "open",
            f"{it.gain.value:+.4f} [{it.gain.low:+.4f}, {it.gain.high:+.4f}]" if it.gain else it.note or None,
            it.why,
        )
        for it in canaries
    ]
    columns = ("since", "version", "beside", "share", "until", "gain of its decisions", "why it ended")
    output.console().print(output.table(f"Canaries of {use_case}", columns, rows))


def _error(spending: Spending | None) -> str | None:
    """Return the level of a decision's comparison, and what of the year's error was left after it."""
    from mlplatform.statistics.spending import PER_YEAR, percent

    if spending is None:
        return None
    left = f" ({percent(spending.left)} left)" if spending.per == PER_YEAR else ""
    return f"{percent(spending.level)}{left}"


def _show_changes(use_case: str, found: Sequence[ChangeRecord], *, as_json: bool) -> None:
    if as_json:
        output.show_json([asdict(change) for change in found])
        return
    if not found:
        click.echo(f"No edit of {use_case} has changed its tables since its first run.")
        return
    before: Mapping[str, str] = {}
    rows = []
    for change in found:
        kinds = {item["name"]: item["kind"] for item in change.plan.get("changes", ()) if item["kind"] != "text only"}
        new = [version for name, version in change.versions.items() if before.get(name) != version]
        what = "\n".join([f"{name}: {kind}" for name, kind in kinds.items()] or ["text only"])
        at = f"{change.recorded_at:%Y-%m-%d %H:%M}"
        rows.append((at, change.kind, what, "\n".join(new), change.reason, change.decided_by))
        before = change.versions
    columns = ("at (UTC)", "kind", "what", "new versions", "reason", "by")
    output.console().print(output.table(f"Changes of what {use_case} declares", columns, rows))


@command(
    examples=(
        "mlplatform explain 3f0c9a7d5e21b846",
        "mlplatform explain 3f0c --json",
    ),
)
@click.argument("decision_id")
def explain(decision_id: str, options: Options) -> None:
    """Show one decision of the gate with all its numbers.

    The beginning of the decision's id is enough. Starts no engine.
    """
    from mlplatform.errors import UsageError
    from mlplatform.gate import decision_log
    from mlplatform.naming import ops_table

    events: list[dict[str, Any]] = []
    worth: list[Importance] = []
    searched = []
    for names in options.all_by_catalog().values():
        with options.open(*names, read_only=True) as ws:
            found = decision_log.find(ws, decision_id)
            events += [asdict(event) for event in found]
            worth = worth or _worth(ws, found)
            searched.append(str(ops_table(ws.catalog, "gate_decisions", ws.prefix)))
    ids = sorted({event["decision_id"] for event in events})
    if len(ids) != 1:
        raise UsageError(
            f"{len(ids) or 'No'} decisions begin with {decision_id!r} in {', '.join(searched)}.",
            hint="Give more of the id." if ids else "Decisions and their ids: mlplatform history USE_CASE",
        )
    if options.as_json:
        features = {"features": [asdict(item) for item in worth]} if worth else {}
        output.show_json([event | features for event in events])
        return
    _tell(events)
    if worth:
        _tell_worth(events[0]["challenger_version"], worth)


def _tell(events: list[dict[str, Any]]) -> None:
    from mlplatform.statistics.spending import Spending

    first = events[0]
    champion = f"v{first['champion_version']}" if first["champion_version"] else "no champion"
    click.echo(f"Decision {first['decision_id']} about {first['model']}, as of {first['as_of']:%Y-%m-%d %H:%M}")
    if not first["challenger_version"]:
        by = f"{first['decided_by'] or 'unknown'} at {first['recorded_at']:%Y-%m-%d %H:%M:%S} UTC"
        click.echo(f"  {first['outcome']} by {by}, champion on record: {champion}: {first['reason']}")
        return
    click.echo(f"  {first['kind']}: v{first['challenger_version']} against {champion}: {first['outcome']}")
    click.echo(f"  reason: {first['reason']}")
    for event in events:
        said = f": {event['reason']}" if event["event"] == "stale" else ""
        by = event["decided_by"] or "unknown"
        click.echo(f"  {event['event']} at {event['recorded_at']:%Y-%m-%d %H:%M:%S} UTC by {by}{said}")
    for key, value in first["evaluation"].items():
        listed = value if not isinstance(value, dict) else ", ".join(f"{name}@{it}" for name, it in value.items())
        click.echo(f"  {key}: {listed}")
    if first["spending"]:
        click.echo(f"  error of the comparison: {Spending(**first['spending']).sentence}")
    if first["kind"] != "rollback":
        click.echo(f"  evidence: gate/{first['decision_id']}/ among the artifacts of the version's MLflow run")
    if not first["checks"]:
        return
    rows = [
        (check["name"], check["status"], check["value"], check["limit"], check["detail"], _numbers(check))
        for check in first["checks"]
    ]
    columns = ("check", "status", "value", "limit", "detail", "numbers")
    output.console().print(output.table("Checks", columns, rows))


def _worth(ws: Workspace, events: Sequence[GateEvent]) -> list[Importance]:
    """Return what the challenger's features are worth, as its training recorded it; empty where it did not."""
    from mlplatform.naming import Namespace
    from mlplatform.ops.records import STAGE_RUNS
    from mlplatform.ops.stage_runs import as_run
    from mlplatform.training.stage import NAME, TrainDetails

    if not events:
        return []
    event = events[0]
    namespace = Namespace(ws.catalog, event.use_case, ws.prefix)
    for stage in STAGE_RUNS.newest(ws, namespace, _MOST_TRAININGS, [("stage", "=", NAME)]):
        details = as_run(stage, TrainDetails).details
        if details.importance and details.version == event.challenger_version:
            return details.importance
    return []


def _tell_worth(version: int, worth: Sequence[Importance]) -> None:
    noise = [item.feature for item in worth if item.is_noise]
    rows = [
        (item.feature, f"{item.loss:+.4f}", f"{item.low:+.4f} to {item.high:+.4f}", "noise" if item.is_noise else "")
        for item in worth[:_MOST_FEATURES]
    ]
    columns = ("feature", "worth", "95 % interval", "judgement")
    title = f"What the features of v{version} are worth on the holdout of its training"
    output.console().print(output.table(title, columns, rows))
    if noise:
        click.echo(f"No better than noise: {', '.join(noise)}")


def _numbers(check: dict[str, Any]) -> str:
    numbers = [f"{name} {value:.6g}" for name, value in check["numbers"].items() if value is not None]
    parts = [
        f"{part['slice']}: {part['gain']:+.4f} [{part['low']:+.4f}, {part['high']:+.4f}] on {part['rows']} rows"
        for part in check.get("parts", ())
        if {"slice", "gain", "low", "high", "rows"} <= part.keys()
    ]
    return "\n".join([*([", ".join(numbers)] if numbers else []), *parts])
