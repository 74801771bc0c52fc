"""`mlplatform maintain`: small files put together, old versions removed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from mlplatform.cli import output
from mlplatform.cli.commands import command
from mlplatform.cli.options import Options, as_of_option

if TYPE_CHECKING:
    from mlplatform.ops.maintenance import MaintenanceDetails
    from mlplatform.ops.stage_runs import StageRun


@command(
    examples=(
        "mlplatform maintain credit_risk --dry-run",
        "mlplatform maintain credit_risk delivery_delay",
        "mlplatform maintain --all --env prod --workspace databricks",
    ),
)
@click.argument("names", metavar="[USE_CASE]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All use cases that know the environment.")
@click.option("--as-of", metavar="TIME", help="The time under which it is recorded.  [default: now]")
@click.option("--dry-run", is_flag=True, help="Say what would be done; change nothing.")
def maintain(names: tuple[str, ...], everything: bool, as_of: str | None, dry_run: bool, options: Options) -> None:
    """Put small files of tables together, and remove old versions.

    The section maintenance of config.yml says when. Versions of feature tables that champion, previous_champion or
    challenger were trained on stay. No row changes. The platform's own tables are looked after, too. On Databricks
    tables under predictive optimization are left to it.
    """
    from mlplatform.errors import UsageError
    from mlplatform.pipeline import Pipeline

    if bool(names) == everything:
        raise UsageError("Which use cases?", hint="Name some, or give --all.")
    moment = as_of_option(as_of)
    groups = options.all_by_catalog() if everything else options.by_catalog(list(dict.fromkeys(names)))
    done: dict[str, StageRun[MaintenanceDetails]] = {}
    with output.reporting(total=sum(map(len, groups.values()))) as reporter:
        for wanted in groups.values():
            with options.open_use_cases(wanted, read_only=dry_run) as (ws, opened):
                for use_case in opened:
                    reporter.line(use_case.name)
                    done[use_case.name] = Pipeline(ws, use_case, moment, reporter.line).maintain(dry_run=dry_run)
    if options.as_json:
        shown = [_plain(name, run, dry_run) for name, run in done.items()]
        output.show_json({"use_cases": shown})
        return
    for name, run in done.items():
        _show(name, run, dry_run=dry_run)


def _plain(name: str, run: StageRun[MaintenanceDetails], dry_run: bool) -> dict[str, Any]:
    return {"use_case": name, "dry_run": dry_run, "message": run.result.skipped, **run.details.shown()}


def _show(name: str, run: StageRun[MaintenanceDetails], *, dry_run: bool) -> None:
    details, would = run.details, "would be " if dry_run else ""
    click.echo(f"{name}: {run.result.skipped or ('a dry run, nothing was changed' if dry_run else 'done')}.")
    for table, compaction in details.compacted.items():
        now = "" if compaction.files is None else f"; it has {compaction.files} file(s) now"
        click.echo(f"  {table}: {compaction.small_files} small files {would}put together{now}.")
    for table, removed in details.removed.items():
        told = "old files" if removed.files is None else f"{removed.files} file(s), {(removed.size or 0) / 1e6:.1f} MB,"
        click.echo(f"  {table}: {told} {would}removed.")
    for table, versions in details.kept_versions.items():
        click.echo(f"  {table}: version(s) {', '.join(map(str, versions))} kept, for models were trained on them.")
    for table in details.dropped:
        click.echo(f"  {table}: {would}dropped: a newer version is written, and no model in use reads it.")
    for keeper, tables in details.left_to.items():
        click.echo(f"  {len(tables)} table(s) left to {keeper}.")
    for table in details.postponed:
        click.echo(f"  {table}: others wrote to it all the time; next time.")
    for note in details.notes:
        click.echo(f"  Note: {note}")
