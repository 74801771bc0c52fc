"""`mlplatform gate`: put the challenger to the gate."""

from __future__ import annotations

import click

from mlplatform.cli import output
from mlplatform.cli.options import Options, common
from mlplatform.cli.run import as_of_option


@click.command(epilog="\b\nExamples:\n  mlplatform gate credit_risk --as-of 2007-01-01")
@click.argument("use_case")
@click.option("--as-of", metavar="TIME", help="Labels known by then count.  [default: now]")
@click.option("--json", "as_json", is_flag=True, help="Print the decision as JSON.")
@common
def gate(use_case: str, as_of: str | None, as_json: bool, options: Options) -> None:
    """Compare the challenger with the champion and promote it if it wins; exits with 3 if it was not promoted."""
    from mlplatform.errors import NotPromotedError
    from mlplatform.pipeline import Pipeline

    moment = as_of_option(as_of)
    with options.open_use_case(use_case) as (ws, opened), output.reporting(total=1) as reporter:
        details = Pipeline(ws, opened, moment, reporter.line).run(["gate"]).details("gate")
    if as_json:
        output.show_json(details)
    else:
        rows = [
            (check["name"], check["status"], check["value"], check["limit"], check["detail"])
            for check in details["checks"]
        ]
        title = f"version {details['challenger']}: {details['outcome']} (decision {details['decision_id']})"
        output.console().print(output.table(title, ("check", "status", "value", "limit", "detail"), rows))
    if details["outcome"] != "promoted":
        raise NotPromotedError(
            f"Version {details['challenger']} was not promoted ({details['outcome']}): {details['reason']}"
        )
