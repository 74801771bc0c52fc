"""`mlplatform quarantine`: the rows that could not go on, by reason, with examples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from mlplatform.cli import output
from mlplatform.cli.commands import command
from mlplatform.cli.options import Options

if TYPE_CHECKING:
    from mlplatform.naming import ObjectName
    from mlplatform.protocols.workspace import Workspace

_PREFIX = "quarantine_"


@command(
    examples=(
        "mlplatform quarantine credit_risk",
        "mlplatform quarantine credit_risk --table loans --rows 20",
    ),
)
@click.argument("use_case")
@click.option("--table", metavar="NAME", help="Of this silver table or source only.  [default: all]")
@click.option(
    "--rows", type=click.IntRange(min=0), default=3, show_default=True, help="How many examples of each reason to show."
)
def quarantine(use_case: str, table: str | None, rows: int, options: Options) -> None:
    """Show the rows that could not go on, and why.

    Each reason is shown with its count, its newest file, and example rows as they landed.
    """
    from mlplatform import discovery
    from mlplatform.errors import UsageError, did_you_mean
    from mlplatform.naming import Namespace

    discovery.get(use_case, options.use_cases)
    with options.open(use_case, read_only=True) as ws:
        namespace = Namespace(ws.catalog, use_case, ws.prefix)
        schema = namespace.quarantine("any").schema
        names = [name for name in ws.tables.list(ws.catalog, schema) if name.startswith(_PREFIX)]
        if table is not None:
            wanted = _PREFIX + table.removeprefix(_PREFIX).removeprefix("silver_").removeprefix("bronze_")
            if wanted not in names:
                tables = [name.removeprefix(_PREFIX) for name in names]
                hint = did_you_mean(wanted.removeprefix(_PREFIX), tables) if tables else _not_run(use_case)
                raise UsageError(f"{use_case} has no quarantine of {table!r}.", hint=hint)
            # Of a silver table with versions, each has one.
            names = [name for name in names if name == wanted or name.startswith(f"{wanted}__")]
        facts = [_facts(ws, namespace.exactly(name), rows) for name in names]
    if options.as_json:
        output.show_json({"use_case": use_case, "tables": facts})
        return
    if not facts:
        click.echo(f"{use_case} has no quarantine yet. {_not_run(use_case)}")
    for item in facts:
        _show(item)


def _not_run(use_case: str) -> str:
    return f"The first run creates the tables: mlplatform run {use_case}"


def _facts(ws: Workspace, name: ObjectName, examples: int) -> dict[str, Any]:
    import narwhals as nw

    from mlplatform.ingest.provenance import AVAILABLE_AT, FILE, MOST_FILES, ROW
    from mlplatform.ingest.quarantine import CONTENT, REASON

    frames = ws.frames
    held = frames.read(name)
    by_file = held.group_by(REASON, FILE).agg(nw.len().alias("rows"), nw.col(AVAILABLE_AT).max().alias("available_at"))
    groups = frames.collect(by_file, at_most=MOST_FILES, what=f"the counts of {name} by reason and file").to_pylist()
    by_reason: dict[str, list[dict[str, Any]]] = {}
    for group in groups:
        by_reason.setdefault(group[REASON], []).append(group)
    reasons = []
    counts = {reason: sum(group["rows"] for group in mine) for reason, mine in by_reason.items()}
    for reason in sorted(counts, key=lambda reason: (-counts[reason], reason)):
        mine = by_reason[reason]
        newest = max(mine, key=lambda group: (group["available_at"], group[FILE]))[FILE]
        shown: list[dict[str, Any]] = []
        if examples:
            of_newest = frames.read(
                name, columns=[FILE, ROW, CONTENT], filters=[(REASON, "=", reason), (FILE, "=", newest)]
            )
            first = of_newest.sort(ROW).head(examples)
            shown = frames.collect(first, at_most=examples, what=f"examples of {name}").sort_by(ROW).to_pylist()
        reasons.append(
            {
                "reason": reason,
                "rows": counts[reason],
                "files": len(mine),
                "newest_file": newest,
                "examples": [{"file": it[FILE], "row": it[ROW], "content": it[CONTENT]} for it in shown],
            }
        )
    return {"table": str(name), "rows": sum(counts.values()), "reasons": reasons}


def _show(item: dict[str, Any]) -> None:
    if not item["rows"]:
        click.echo(f"{item['table']}: no row")
        return
    rows = [(it["reason"], it["rows"], it["files"], it["newest_file"]) for it in item["reasons"]]
    title = f"{item['table']}: {item['rows']} rows"
    output.console().print(output.table(title, ("reason", "rows", "files", "newest file"), rows))
    examples = [
        (it["reason"], one["file"], one["row"], one["content"]) for it in item["reasons"] for one in it["examples"]
    ]
    if examples:
        columns = ("reason", "file", "row", "as it landed")
        output.console().print(output.table("Examples, of the newest file of each reason", columns, examples))
