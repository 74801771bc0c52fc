"""Reading a landed file: text as it landed, malformed lines kept apart, and a clear error for what cannot be read."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlplatform.errors import StageError
from mlplatform.ingest import landed_file
from mlplatform.ingest.landed_file import LandedFile
from mlplatform.ingest.source import Source


class Drops(Source):
    name = "drops"
    files = "*.csv"
    columns = ("a", "b")


@dataclass(frozen=True)
class Read:
    """A file that was read to its end."""

    rows: pa.Table
    malformed: list[tuple[str, str]]
    added_columns: list[str]


def read_whole(path: Path) -> Read:
    landed = LandedFile(path, Drops())
    return Read(pa.Table.from_batches(landed.batches(), landed.schema), landed.malformed, landed.added_columns)


@pytest.fixture
def read(tmp_path: Path):
    def write_and_read(content: bytes | str, name: str = "drop.csv") -> Read:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_whole(path)

    return write_and_read


def cells(landed: Read) -> list[tuple[str | None, str | None]]:
    return [(row["a"], row["b"]) for row in landed.rows.to_pylist()]


def test_every_value_stays_the_text_that_landed(read):
    landed = read("a,b\n007,true\nNA,nan\n NULL ,1e5\n")
    assert cells(landed) == [("007", "true"), ("NA", "nan"), (" NULL ", "1e5")]
    assert landed.rows.column_names == ["a", "b", "_rescued_data"]
    assert (landed.malformed, landed.added_columns) == ([], [])


def test_an_empty_cell_is_null(read):
    assert cells(read('a,b\n1,\n,2\n"",x\n')) == [("1", None), (None, "2"), (None, "x")]


def test_quotes_commas_and_line_ends_inside_a_value_are_part_of_it(read):
    assert cells(read('a,b\n"x\ny","2,3"\n"say ""hi""",z\n')) == [("x\ny", "2,3"), ('say "hi"', "z")]


@pytest.mark.parametrize("content", ["a,b\r\n1,2\r\n", "a,b\n1,2", "\ufeffa,b\n1,2\n", "a,b\n\n1,2\n\n"])
def test_line_ends_a_missing_last_one_a_byte_order_mark_and_blank_lines_do_not_matter(read, content):
    assert cells(read(content)) == [("1", "2")]


def test_the_order_of_the_columns_is_the_sources(read):
    landed = read("b,a\n2,1\n")
    assert cells(landed) == [("1", "2")]
    assert landed.rows.column_names[:2] == ["a", "b"]


def test_gzip_is_read_like_plain_text(read):
    content = "a,b\n" + "".join(f"{number},x\n" for number in range(5000))
    assert cells(read(gzip.compress(content.encode()), "drop.csv.gz")) == cells(read(content))


@pytest.mark.parametrize("first", [True, False])
def test_lines_with_too_few_or_too_many_fields_are_kept_apart(read, first):
    """Wherever they stand: right after the header, or far into the file."""
    good = "".join(f"{number},x\n" for number in range(3 if first else 300_000))
    bad = "1\n5,6,7\n"
    landed = read(f"a,b\n{bad}{good}" if first else f"a,b\n{good}{bad}")
    assert landed.malformed == [("1", "1 fields instead of 2"), ("5,6,7", "3 fields instead of 2")]
    assert landed.rows.num_rows == good.count("\n")


def test_a_file_of_nothing_but_malformed_lines_has_no_rows(read):
    landed = read("a,b\n1\n2\n3\n")
    assert (landed.rows.num_rows, len(landed.malformed)) == (0, 3)


@given(st.lists(st.sampled_from(["1,2", "1", "1,2,3", "x,"]), max_size=60))
def test_every_line_is_a_row_or_malformed_and_each_keeps_its_order(tmp_path_factory, lines):
    path = tmp_path_factory.mktemp("landed") / "drop.csv"
    path.write_text("a,b\n" + "".join(f"{line}\n" for line in lines), encoding="utf-8")
    landed = read_whole(path)
    assert [text for text, _ in landed.malformed] == [line for line in lines if line.count(",") != 1]
    assert cells(landed) == [tuple(cell or None for cell in line.split(",")) for line in lines if line.count(",") == 1]


def test_an_added_column_is_rescued_and_noticed(read):
    landed = read("a,new,b\n1,x,2\n3,é,4\n5,,6\n")
    assert landed.added_columns == ["new"]
    assert [json.loads(text) for text in landed.rows["_rescued_data"].to_pylist()] == [
        {"new": "x"},
        {"new": "é"},
        {"new": None},
    ]
    assert cells(landed) == [("1", "2"), ("3", "4"), ("5", "6")]


def test_a_missing_column_is_an_error_that_names_it_and_the_header(read):
    with pytest.raises(StageError, match=r"lacks the column\(s\) b .* its header is: a, c"):
        read("a,c\n1,2\n")


def test_a_column_by_another_case_is_another_column(read):
    with pytest.raises(StageError, match="lacks"):
        read("A,b\n1,2\n")


@pytest.mark.parametrize("header", ["a,b,b", "a,b,c,c"])
def test_a_duplicate_in_the_header_is_an_error(read, header):
    with pytest.raises(StageError, match="twice"):
        read(f"{header}\n1,2,3,4\n")


@pytest.mark.parametrize("cut", [-1, -4, -8, 40, 0])
def test_a_truncated_gzip_file_is_an_error_and_nothing_of_it_is_taken(read, cut):
    whole = gzip.compress(b"a,b\n" + b"".join(b"%d,%d\n" % (number, number * 7919 % 1000) for number in range(3000)))
    with pytest.raises(StageError, match="cannot be read as CSV"):
        read(whole[:cut], "drop.csv.gz")


def test_a_gzip_file_with_a_wrong_checksum_or_that_is_none_is_an_error(read):
    whole = gzip.compress(b"a,b\n1,2\n")
    with pytest.raises(StageError):
        read(whole[:-8] + bytes(8), "drop.csv.gz")
    with pytest.raises(StageError):
        read("a,b\n1,2\n", "plain.csv.gz")


@pytest.mark.parametrize("lines", [0, 200_000])
def test_what_is_not_utf8_is_an_error_wherever_it_stands(read, lines):
    with pytest.raises(StageError, match="UTF8"):
        read(b"a,b\n" + b"x,y\n" * lines + "é,1\n".encode("latin-1"))


def test_a_header_that_is_not_utf8_is_an_error(read):
    with pytest.raises(StageError):
        read("a,b,é\n1,2,3\n".encode("latin-1"))


@pytest.mark.parametrize("content", ["", "\n", "\n\n\n"])
def test_an_empty_file_is_an_error(read, content):
    with pytest.raises(StageError, match="Empty CSV"):
        read(content)


def test_a_header_alone_is_a_file_without_rows(read):
    assert read("a,b\n").rows.num_rows == 0


def test_a_file_that_is_gone_is_an_error(tmp_path):
    with pytest.raises(StageError, match=r"absent\.csv"):
        read_whole(tmp_path / "absent.csv")


def test_a_file_is_read_batch_by_batch_and_again(tmp_path):
    path = tmp_path / "drop.csv"
    path.write_text("a,b\n" + "".join(f"{number},x\n" for number in range(300_000)) + "1\n", encoding="utf-8")
    landed = LandedFile(path, Drops())
    sizes = [batch.num_rows for batch in landed.batches()]
    assert (sum(sizes), len(sizes) > 1) == (300_000, True)
    assert sum(batch.num_rows for batch in landed.batches()) == 300_000
    assert landed.malformed == [("1", "1 fields instead of 2")]


def test_a_file_of_another_kind_is_refused(read, monkeypatch):
    monkeypatch.setattr(landed_file, "MOST_MALFORMED", 2)
    assert len(read("a,b\n1\n2\n3,4\n").malformed) == 2
    with pytest.raises(StageError, match="more than 2 malformed lines, such as: 1;2"):
        read("a,b\n1;2\n3;4\n5;6\n")
