"""`mlplatform repair`: what is damaged of a use case's tables, mended where that is safe."""

from __future__ import annotations

import uuid

import click

from mlplatform.cli import output
from mlplatform.cli.commands import command
from mlplatform.cli.options import Options


@command(
    examples=(
        "mlplatform repair credit_risk --dry-run",
        "mlplatform repair credit_risk",
        "mlplatform doctor --data credit_risk",
    ),
    note="Exits with 1 if something is left that people have to decide about; what that is, is printed.",
)
@click.argument("use_case")
@click.option("--dry-run", is_flag=True, help="Say what would be done; change nothing.")
def repair(use_case: str, dry_run: bool, options: Options) -> None:
    """Mend damaged tables, and compute again what followed.

    Damaged entries of a table's log are put back from their copies. Else a table goes back to its last good version,
    and is computed again as a lost one is; predictions are made again by the versions that made them. What is damaged
    is moved to the folder `aside` of the workspace, and nothing is removed. Aliases are never moved.
    """
    from mlplatform import discovery
    from mlplatform.doctor.repair import repair as run_repair
    from mlplatform.errors import PlatformError

    opener = discovery.opener(use_case, options.use_cases)
    with options.open(use_case, read_only=dry_run) as ws, output.reporting(total=1) as reporter:
        repaired = run_repair(ws, use_case, opener, uuid.uuid4().hex[:12], reporter.line, dry_run=dry_run)
    if options.as_json:
        output.show_json(
            {
                "use_case": use_case,
                "dry_run": dry_run,
                "aside": repaired.aside,
                "done": repaired.done,
                "left": [vars(finding) for finding in repaired.left],
            }
        )
    else:
        would = " (a dry run, nothing was changed)" if dry_run else ""
        click.echo(f"{use_case}: {f'{len(repaired.done)} thing(s)' if repaired.done else 'nothing to repair'}{would}.")
        for text in repaired.done:
            click.echo(f"  {text}")
        for finding in repaired.left:
            click.echo(options.hints.repeated(f"Left: {finding.about or finding.check}: {finding.found}"))
            click.echo(options.hints.repeated(f"  {finding.way_out}"))
    if repaired.left:
        raise PlatformError(
            f"{len(repaired.left)} problem(s) of {use_case} are left to decide about.",
            hint=f"What leads out of each is printed above; to look again: mlplatform doctor --data {use_case}",
        )
