"""`mlplatform status`: where each use case stands, from the platform's own tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from mlplatform.cli import output
from mlplatform.cli.options import Options, common

if TYPE_CHECKING:
    from mlplatform.workspace.protocols import Workspace


@click.command(epilog="\b\nExamples:\n  mlplatform status\n  mlplatform status credit_risk --json")
@click.argument("use_case", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@common
def status(use_case: str | None, as_json: bool, options: Options) -> None:
    """Say where each use case stands: champion, newest run, alerts. Starts no engine."""
    from mlplatform import discovery

    found = (
        [discovery.get(use_case, options.use_cases)]
        if use_case
        else discovery.find_use_cases(options.use_cases).values()
    )
    with options.open() as ws:
        facts = [_facts(ws, item.name) for item in found]
    if as_json:
        output.show_json(facts[0] if use_case else facts)
        return
    rows = [
        (
            fact["use_case"],
            f"v{fact['champion']} since {fact['champion_since'][:10]}" if fact["champion"] else None,
            fact["as_of"][:10] if fact["as_of"] else "never run",
            ", ".join(f"{stage} {state}" for stage, state in fact["stages"].items() if state != "done") or "all done",
            fact["alerts"],
            _monitoring(fact["monitoring"]),
        )
        for fact in facts
    ]
    columns = ("use case", "champion", "last as of", "stages not done", "alerts then", "monitoring")
    output.console().print(output.table(f"Workspace {ws.home}, environment {ws.env}", columns, rows))


def _facts(ws: Workspace, name: str) -> dict[str, Any]:
    from mlplatform.models import promotion
    from mlplatform.naming import Namespace
    from mlplatform.ops import stage_runs

    namespace = Namespace(ws.catalog, name, ws.prefix)
    runs = stage_runs.of_the_cycle(stage_runs.read(ws, namespace))
    applied = [event for event in promotion.events(ws, namespace) if event["event"] == "applied"]
    newest = runs[-1]["as_of"] if runs else None
    stages = {run["stage"]: run["status"] for run in runs if run["as_of"] == newest}
    alerts: list[str] = []
    if newest is not None and ws.tables.exists(namespace.ops("alerts")):
        rows = ws.tables.to_arrow(namespace.ops("alerts"), filters=[("use_case", "=", name), ("as_of", "=", newest)])
        alerts = sorted(
            f"{row['severity']}: {row['message']}" for row in rows.to_pylist() if row["event"] != "recovered"
        )
    return {
        "use_case": name,
        "champion": applied[-1]["challenger_version"] if applied else None,
        "champion_since": applied[-1]["as_of"].isoformat() if applied else None,
        "as_of": newest.isoformat() if newest else None,
        "stages": stages,
        "failed": [run["message"] for run in runs if run["as_of"] == newest and run["status"] == stage_runs.FAILED],
        "alerts": "\n".join(alerts),
        "monitoring": _monitored(runs),
    }


def _monitored(runs: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return what the newest monitoring judged and what it did not; None before the first one."""
    from datetime import UTC, datetime

    from mlplatform.monitoring.alerts import CHECKS
    from mlplatform.stages import monitored

    found = monitored.up_to(runs, datetime.max.replace(tzinfo=UTC))
    if not found:
        return None
    newest = max(found)
    details = found[newest]["details"]
    return {
        "as_of": newest.isoformat(),
        "judged": sorted(kind for kind in details.get("windows", {}) if kind in CHECKS),
        "not_judged": details.get("not_judged", {}),
        "unjudged_windows": details.get("unjudged_windows", 0),
    }


def _monitoring(found: dict[str, Any] | None) -> str | None:
    if found is None:
        return None
    reasons: dict[str, list[str]] = {}
    for kind, why in found["not_judged"].items():
        reasons.setdefault(why, []).append(kind)
    lines = [f"{len(found['judged'])} checks judged"]
    lines += [f"not judged: {why} ({', '.join(kinds)})" for why, kinds in reasons.items()]
    if found["unjudged_windows"] > 1:
        lines.append(f"{found['unjudged_windows']} windows in a row were not judged: drift raises no alert")
    return "\n".join(lines)
