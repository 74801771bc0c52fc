"""`mlplatform check`: whether a use case keeps the contract that every use case must keep."""

from __future__ import annotations

import tempfile

import click

from mlplatform.cli import output
from mlplatform.cli.commands import command
from mlplatform.cli.options import Options, time_option
from mlplatform.errors import ContractError


@command(
    examples=(
        "mlplatform check credit_risk",
        "mlplatform check credit_risk --as-of 2006-01-01 --json",
    ),
)
@click.argument("use_case")
@click.option("--as-of", metavar="TIME", help="When to look.  [default: simulation.start of its settings]")
def check(use_case: str, as_of: str | None, options: Options) -> None:
    """Check that a use case keeps the contract.

    The checks cover settings, declarations, resources, keys, leaks, features step by step, model and scoring. They run
    on the use case's data in a local workspace that is thrown away; nothing of yours is touched. Exits with 1 if a
    check fails. `from mlplatform.testing import UseCaseContract` makes the same checks tests of your own.
    """
    from mlplatform import discovery
    from mlplatform.testing.contract import Contract
    from mlplatform.workspace import open_workspace

    if as_of is not None:
        time_option(as_of, "--as-of")  # before minutes are spent
    source = discovery.get(use_case, options.use_cases)
    use_case_class = discovery.load(source)
    with (
        tempfile.TemporaryDirectory(prefix="mlplatform-check-", ignore_cleanup_errors=True) as root,
        open_workspace("local", env=options.env, catalog=options.catalog, root=root, use_cases=options.use_cases) as ws,
    ):
        contract = Contract(use_case, use_case_class, discovery.folder_of(source, use_case_class), ws, as_of)
        results = []
        with output.reporting(total=len(contract.checks)) as reporter:
            for result in contract.run():
                results.append(result)
                reporter.done(f"check {len(results)} of {len(contract.checks)}: {result.check}: {result.status}")
    failed = [result for result in results if result.status == "failed"]
    if options.as_json:
        output.show_json({"use_case": use_case, "passed": not failed, "checks": [vars(result) for result in results]})
    else:
        rows = [
            (
                result.status.upper() if result.status == "failed" else result.status,
                result.check,
                f"{result.seconds:.1f} s",
                result.detail,
            )
            for result in results
        ]
        output.console().print(output.table(f"mlplatform check {use_case}", ("", "check", "took", "what"), rows))
        for result in failed:
            if result.hint:
                click.echo(f"{result.check}: {options.hints.repeated(result.hint)}")
    if failed:
        raise ContractError(
            f"{use_case} fails {len(failed)} of {len(results)} checks: {', '.join(result.check for result in failed)}.",
            hint="What is wrong with each is printed above.",
        )
