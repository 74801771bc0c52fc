"""`mlplatform features`: what features there are already, before somebody computes one again."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from mlplatform.cli import output
from mlplatform.cli.commands import command
from mlplatform.cli.options import Options

if TYPE_CHECKING:
    from mlplatform.reporting.feature_list import ListedFeature


@command(
    examples=(
        "mlplatform features",
        "mlplatform features --search risk",
        "mlplatform features credit_risk --quick --json",
    ),
)
@click.argument("use_case", required=False)
@click.option("--search", metavar="TEXT", help="Only features with this in name, table, description or owner.")
@click.option("--quick", is_flag=True, help="Do not count nulls, which reads the tables.")
def features(use_case: str | None, search: str | None, quick: bool, options: Options) -> None:
    """List the features of all use cases.

    Each with its table, type, newest row, share of nulls, and the versions that read it. Starts no
    engine, and changes nothing.
    """
    from mlplatform import discovery
    from mlplatform.reporting.feature_list import list_features

    catalogs = (
        options.by_catalog([discovery.get(use_case, options.use_cases).name]) if use_case else options.all_by_catalog()
    )
    found: list[ListedFeature] = []
    for names in catalogs.values():
        if not names:
            continue
        with options.open_use_cases(names, read_only=True) as (ws, opened):
            for case in opened:
                tables = {table.name: table() for table in case.features}
                found += list_features(ws, case.namespace, tables, case.settings.owner, counts=not quick)
    if search:
        found = [item for item in found if item.matches(search)]
    found.sort(key=lambda item: (item.use_case, item.table))
    if options.as_json:
        output.show_json([_plain(item) for item in found])
        return
    if not found:
        click.echo(f"No feature has {search!r} in it." if search else "No use case has a feature table.")
        return
    columns = ("feature", "table", "type", "newest", "null", "read by", "what it is")
    rows = [
        (
            item.feature,
            item.table,
            item.type,
            f"{item.newest:%Y-%m-%d}" if item.newest else None,
            f"{item.null_share:.1%}" if item.null_share is not None else None,
            "\n".join(item.read_by),
            item.description,
        )
        for item in found
    ]
    owners = ", ".join(dict.fromkeys(f"{item.use_case}: {item.owner}" for item in found))
    output.console().print(output.table(f"{len(found)} features", columns, rows))
    click.echo(f"Owners: {output.printable(owners)}")


def _plain(item: ListedFeature) -> dict[str, Any]:
    return asdict(item) | {"newest": item.newest.isoformat() if item.newest else None}
