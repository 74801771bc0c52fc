"""`mlplatform report`: the page about a use case, or about all of them, whenever somebody wants it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlplatform.cli import output
from mlplatform.cli.commands import command
from mlplatform.cli.options import Options

if TYPE_CHECKING:
    from mlplatform.protocols.workspace import Workspace
    from mlplatform.reporting.index_page import IndexRow
    from mlplatform.use_case import UseCase

INDEX = "index.html"


@command(
    examples=(
        "mlplatform report credit_risk --open",
        "mlplatform report credit_risk --out credit_risk.html",
        "mlplatform report --all --out reports",
    ),
)
@click.argument("use_case", required=False)
@click.option("--all", "every", is_flag=True, help="All use cases: a report each, and an index of them.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="File to write; with --all, the folder.  [default: reports/ in the workspace]",
)
@click.option("--open", "show", is_flag=True, help="Show it in the browser.")
@click.option("--log", is_flag=True, help="Keep it in MLflow with the champion's run, too; its version links to it.")
def report(use_case: str | None, every: bool, out: Path | None, show: bool, log: bool, options: Options) -> None:
    """Write a use case's report: one HTML page.

    It needs nothing beside it, and begins with whether the model may be used. Reads the platform's own tables, and
    changes none; starts no engine.
    """
    from mlplatform.errors import UsageError

    if every == bool(use_case):
        raise UsageError("Name a use case, or give --all.", hint="The use cases: mlplatform status")
    if every:
        written, entries = _all(out, options, log=log)
    else:
        written, entries = _one(str(use_case), out, options, log=log)
    if options.as_json:
        output.show_json({"report": str(written), "use_cases": [_plain(item) for item in entries]})
    else:
        for item in entries:
            click.echo(output.printable(f"{item.name}: {item.verdict.sentence}"))
            click.echo(options.hints.repeated(output.printable(f"  Next: {item.next_step}")))
        click.echo(f"Report: {written}")
    if show:
        click.launch(written.resolve().as_uri())


def _one(name: str, out: Path | None, options: Options, *, log: bool) -> tuple[Path, list[IndexRow]]:
    from mlplatform.errors import UsageError

    if out is not None and out.is_dir():
        raise UsageError(f"--out {out} is a folder.", hint=f"Name the file: --out {out / name}.html")
    with options.open_use_case(name, read_only=not log) as (ws, opened):
        folder = out.parent if out is not None else _reports(ws)
        return _write(ws, opened, folder, out.name if out is not None else None, log=log)


def _all(out: Path | None, options: Options, *, log: bool) -> tuple[Path, list[IndexRow]]:
    from mlplatform.errors import UsageError
    from mlplatform.ops.stage_runs import utc_now
    from mlplatform.reporting import index_page
    from mlplatform.reporting.report import put

    if out is not None and out.is_file():
        raise UsageError(f"--out {out} is a file.", hint="With --all it names a folder.")
    entries: list[IndexRow] = []
    folder, home = out, options.workspace
    for names in options.all_by_catalog().values():
        with options.open_use_cases(names, read_only=not log) as (ws, opened):
            folder, home = folder or _reports(ws), ws.home
            for use_case in opened:
                entries += _write(ws, use_case, folder, None, log=log)[1]
    assert folder is not None  # there is always one catalog  # nosec B101
    entries.sort(key=lambda item: item.name)
    page = index_page.render(entries, env=options.env, home=home, generated_at=utc_now())
    return put(page, folder / INDEX), entries


def _reports(ws: Workspace) -> Path:
    """Return where reports are kept; a workspace that does not exist is not made by looking at it."""
    from mlplatform.errors import UsageError

    folder = ws.files("reports")
    if not folder.parent.exists():
        raise UsageError(
            f"There is no workspace in {folder.parent}.", hint="Name it by --home, or the report's file by --out."
        )
    return folder


def _write(
    ws: Workspace, use_case: UseCase, folder: Path, name: str | None, *, log: bool
) -> tuple[Path, list[IndexRow]]:
    from mlplatform.ops.stage_runs import utc_now
    from mlplatform.reporting import index_page
    from mlplatform.reporting.facts import gather
    from mlplatform.reporting.report import keep, put, render

    facts = gather(ws, use_case.namespace, use_case.label_spine(), use_case.settings)
    page = render(facts, utc_now())
    written = put(page, folder / (name or f"{use_case.name}.html"))
    if log:
        keep(ws, use_case.namespace, facts, page)
    return written, [index_page.entry(facts, written.name)]


def _plain(item: IndexRow) -> dict[str, Any]:
    return {
        "use_case": item.name,
        "answer": item.verdict.answer,
        "sentence": item.verdict.sentence,
        "champion": item.champion,
        "metric": item.metric,
        "drift": item.drift,
        "last_scoring": item.last_scoring,
        "next": item.next_step,
    }
