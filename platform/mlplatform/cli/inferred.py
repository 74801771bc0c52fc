"""What `mlplatform new-use-case` says of the data: how they are written, and what was made of each column."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlplatform.ingest.dialect import Dialect
    from mlplatform.scaffold.inference import DataColumn, Inferred
    from mlplatform.scaffold.render import Scaffolded

_MOST_NOTES = 12


def inferred_as_json(scaffolded: Scaffolded) -> dict[str, Any]:
    """Return what was found out, whole."""
    from dataclasses import asdict

    inferred = scaffolded.inferred
    by_role = {role: [fact.name for fact in inferred.facts if fact.role == role] for role in ("number", "category")}
    return {
        "rows": inferred.rows,
        "labelled": inferred.labelled,
        "classes": list(inferred.classes),
        "data": {"from": inferred.file.origin, "format": inferred.file.format, "dialect": asdict(inferred.dialect)},
        "numbers": by_role["number"],
        "categories": by_role["category"],
        "not_used": _unused(inferred),
        "left_out": list(inferred.file.left_out),
        "names": {column.name: column.source for column in _columns(inferred)},
        "look_at": {column.name: column.note for column in _columns(inferred) if column.note},
    }


def say_what_was_inferred(scaffolded: Scaffolded, *, guessed: bool, dry_run: bool = False) -> None:
    """Print what was found out, of many columns the first ones.

    Args:
        scaffolded: What was written, or would be.
        guessed: Whether the horizon was.
        dry_run: Whether nothing was written.
    """
    from mlplatform.scaffold.given_data import shortened_list

    inferred = scaffolded.inferred
    wrote = "Would write" if dry_run else "Wrote"
    click.echo(f"{wrote} {scaffolded.folder} from {inferred.rows} rows, {inferred.labelled} of them with a label.")
    _say_how_it_is_written(inferred)
    for role, title in (("number", "Numbers:     "), ("category", "Categories:  ")):
        names = [_shown(fact, inferred.dialect) for fact in inferred.facts if fact.role == role]
        click.echo(f"{title}{_counted(names)}{shortened_list(names) or 'none'}")
    if unused := _unused(inferred):
        click.echo(f"Not used:    {_counted(unused)}{shortened_list(unused)} (text of many values)")
    _say_the_label(inferred)
    _say_times(scaffolded, guessed=guessed)
    _say_what_to_look_at(inferred)
    if not inferred.entities:
        click.echo(
            "No --entity: each row is its own, named by its file and its number in it. A row that is delivered again,\n"
            "also with its label, is another row."
        )
    if inferred.timestamp is None:
        click.echo(
            f"No --timestamp: the rows get made-up days by their keys, {inferred.start:%Y-%m-%d} to "
            f"{inferred.end:%Y-%m-%d}. The model is then\n"
            "judged on a random part of them, not on newer ones; there are no late labels, no histories, and nothing\n"
            "for the monitoring to see. Rows without a label get the last day: the first run, whose date is made up,\n"
            "too, scores them."
        )


def _say_the_label(inferred: Inferred) -> None:
    if inferred.positive:
        click.echo(
            f"Label:       {inferred.label.name} is 1 where {_quoted(inferred.label.source)} is {inferred.positive!r}"
        )
    elif inferred.classes:
        listed = ", ".join(inferred.classes)
        click.echo(f"Label:       {inferred.label.name} is one of {listed}; the rarest has {inferred.rarer} rows")
    elif not inferred.label.form.plain:
        click.echo(f"Label:       {_shown(inferred.label, inferred.dialect)}")


def _say_times(scaffolded: Scaffolded, *, guessed: bool) -> None:
    inferred = scaffolded.inferred
    by = [" and ".join(keys) for keys in scaffolded.histories]
    if by:
        click.echo(f"History:     of each {', of each '.join(by)}")
    elif inferred.timestamp is not None:
        click.echo("History:     none, for no entity has several rows; --history-by COLUMN makes one")
    if inferred.timestamp is not None:
        click.echo(f"Time:        {inferred.start:%Y-%m-%d} to {inferred.end:%Y-%m-%d}")
    origin = "guessed from the time covered" if inferred.timestamp else "of the made-up days"
    click.echo(f"Horizon:     {scaffolded.horizon}{f', {origin}: edit it in config.yml' if guessed else ''}")
    if inferred.timestamp is not None and scaffolded.as_of > f"{inferred.end + timedelta(days=1):%Y-%m-%d}":
        click.echo("             labels are known after the last row: the first run trains, and has no row to score")


def _say_how_it_is_written(inferred: Inferred) -> None:
    """Say what was found of the file, with a word of it by which one sees whether letters are read rightly."""
    from mlplatform.scaffold.given_data import shortened_list
    from mlplatform.scaffold.written import described

    file = inferred.file
    if file.format != "csv":
        click.echo(f"Read as:     typed columns of {file.origin}; the use case's files are Parquet")
        if file.left_out:
            click.echo(
                f"Left out:    {shortened_list(file.left_out)} (names with an underscore in front are the platform's)"
            )
        return
    example = next(_words_beyond_ascii(inferred), "")
    click.echo(f"Read as:     {described(inferred.dialect)}{f'; as in {example!r}' if example else ''}")
    if not inferred.dialect.is_plain:
        click.echo("             declared as DIALECT in tables.py; every later file has to be written so")


def _words_beyond_ascii(inferred: Inferred) -> Iterator[str]:
    for name in inferred.file.header:
        if not name.isascii() and name.isprintable():
            yield name.strip()
    for name in inferred.file.header:
        values = inferred.file.rows[name].dropna()
        found = values[~values.map(str.isascii)].head(1)
        yield from (value.strip()[:40] for value in found if value.isprintable())


def _say_what_to_look_at(inferred: Inferred) -> None:
    from mlplatform.scaffold.given_data import shortened_list

    columns = _columns(inferred)
    renamed = [f"{_quoted(column.source)} is {column.name}" for column in columns if column.source != column.name]
    if renamed:
        click.echo(f"Names:       {shortened_list(renamed)}")
    notes = [column for column in columns if column.note]
    for column in notes[:_MOST_NOTES]:
        click.echo(f"Look at:     {column.name}: {column.note}")
    if len(notes) > _MOST_NOTES:
        click.echo(f"             and {len(notes) - _MOST_NOTES} more: --json lists all")


def _columns(inferred: Inferred) -> list[DataColumn]:
    time = [inferred.timestamp] if inferred.timestamp else []
    return [*inferred.entities, *time, inferred.label, *inferred.facts]


def _unused(inferred: Inferred) -> list[str]:
    used = {column.source for columns in inferred.history_by for column in columns}
    return [fact.name for fact in inferred.facts if fact.role == "text" and fact.source not in used]


def _counted(names: list[str]) -> str:
    """Return how many there are, where one would have to count."""
    from mlplatform.scaffold.given_data import shortened_list

    return "" if shortened_list(names) == ", ".join(names) else f"{len(names)}: "


def _shown(fact: DataColumn, dialect: Dialect) -> str:
    """Return a column's name, and how its numbers are written where the dialect does not say so."""
    form = fact.form
    marks = [form.unit and f"in {form.unit}"]
    if dialect.has_plain_numbers or not fact.in_dialect:
        marks += [form.thousands and f"thousands {form.thousands!r}", "" if form.decimal == "." else "decimal comma"]
    if not dialect.has_plain_numbers and not fact.in_dialect and form.decimal == ".":
        marks.append("decimal point")
    shown = ", ".join(mark for mark in marks if mark)
    return f"{fact.name} ({shown})" if fact.role == "number" and shown else fact.name


def _quoted(source: str) -> str:
    """A header as it is, in quotes where one would not see what it is: blanks at its ends, signs of no width."""
    from mlplatform.scaffold.given_data import visible
    from mlplatform.scaffold.layout import text

    if source != visible(source):
        return text(source)
    return repr(source) if " " in source else source
