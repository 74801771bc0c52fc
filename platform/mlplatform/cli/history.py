"""`mlplatform history`: who was champion when, why, and on what numbers."""

from __future__ import annotations

import click

from mlplatform.cli import output
from mlplatform.cli.options import Options, common


@click.command(epilog="\b\nExamples:\n  mlplatform history credit_risk")
@click.argument("use_case")
@click.option("--json", "as_json", is_flag=True, help="Print all events with every check's numbers as JSON.")
@common
def history(use_case: str, as_json: bool, options: Options) -> None:
    """Show every decision of the gate, oldest first."""
    from mlplatform import discovery
    from mlplatform.models import promotion
    from mlplatform.naming import Namespace

    discovery.get(use_case, options.use_cases)
    with options.open() as ws:
        events = promotion.events(ws, Namespace(ws.catalog, use_case))
    if as_json:
        output.show_json(events)
        return
    if not events:
        click.echo(f"The gate has decided nothing about {use_case} yet.")
        return
    rows = [
        (
            f"{event['as_of']:%Y-%m-%d}",
            event["event"],
            event["outcome"],
            f"v{event['challenger_version']}",
            f"v{event['champion_version']}" if event["champion_version"] else None,
            event["evaluation"].get("rows"),
            event["reason"],
            event["decision_id"],
        )
        for event in events
    ]
    columns = ("as of", "event", "outcome", "challenger", "champion", "rows", "reason", "decision")
    output.console().print(output.table(f"Decisions about {use_case}", columns, rows))
