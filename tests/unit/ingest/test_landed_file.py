"""Reading a landed file: text as it landed, malformed lines kept apart, and a clear error for what cannot be read."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import re
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlplatform.errors import StageError
from mlplatform.ingest import landed_file, physical_lines
from mlplatform.ingest.landed_file import LandedFile
from mlplatform.ingest.source import Source


class Drops(Source):
    name = "drops"
    files = "*.csv"
    columns = ("a", "b")


class Texts(Source):
    name = "drops"
    files = "*.csv"
    columns = ("a", "b")
    newlines_in_values = True


@dataclass(frozen=True)
class Read:
    """A file that was read to its end."""

    rows: pa.Table
    malformed: list[tuple[str, str]]
    added_columns: list[str]
    numbers: list[int]
    blank: int


def read_whole(path: Path, source: type[Source] = Drops) -> Read:
    landed = LandedFile(path, source())
    rows = pa.Table.from_batches(landed.batches(), landed.schema)
    malformed = [(line.text, line.reason) for line in landed.malformed]
    return Read(rows, malformed, landed.added_columns, [line.number for line in landed.malformed], landed.blank)


@pytest.fixture
def read(tmp_path: Path):
    def write_and_read(content: bytes | str, name: str = "drop.csv", source: type[Source] = Drops) -> Read:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_whole(path, source)

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


def test_quotes_and_commas_inside_a_value_are_part_of_it(read):
    assert cells(read('a,b\n"x y","2,3"\n"say ""hi""",z\n')) == [("x y", "2,3"), ('say "hi"', "z")]


def test_a_quote_inside_a_value_without_quotes_is_one_of_its_letters(read):
    landed = read('a,b\n5" pipe,2"\nx"",""\n')
    assert cells(landed) == [('5" pipe', '2"'), ('x""', None)]
    assert landed.malformed == []


SPANS = "a quoted value goes over several lines"
OPEN = "a quote is not closed"


def test_a_value_over_several_lines_is_kept_apart_line_by_line(read):
    """Also what looks like a row in it: whoever writes a text into a form must not write rows into a table."""
    landed = read('a,b\n1,2\n3,"x\nnot,a row\ny"\n4,5\n')
    assert cells(landed) == [("1", "2"), ("4", "5")]
    assert landed.malformed == [('3,"x', SPANS), ("not,a row", SPANS), ('y"', SPANS)]
    assert landed.numbers == [3, 4, 5]


def test_a_value_over_several_lines_is_one_where_the_source_says_so(read):
    landed = read('a,b\r\n1,2\r\n3,"x\r\n\r\nnot,a row\r\ny"\r\n4,5\r\n', source=Texts)
    assert cells(landed) == [("1", "2"), ("3", "x\r\n\r\nnot,a row\r\ny"), ("4", "5")]
    assert (landed.malformed, landed.blank) == ([], 0)


@pytest.mark.parametrize("after", ["", '4,"5"\n', '"4",5\n', '4,5"\n'])
def test_a_quote_that_is_never_closed_costs_its_line_and_no_other(read, after):
    good = "".join(f"{number},x\n" for number in range(1000))
    landed = read(f'a,b\n{good}3,"x\n{good}{after}')
    if after == '4,5"\n':  # closed as one might close a value: nobody knows what lies between
        assert (landed.rows.num_rows, landed.numbers) == (1000, list(range(1002, 2004)))
        return
    assert landed.rows.num_rows == 2000 + bool(after)
    assert (landed.malformed, landed.numbers) == ([('3,"x', OPEN)], [1002])


def test_where_values_may_hold_newlines_an_open_quote_costs_no_more_than_a_value_may_have(read, monkeypatch):
    monkeypatch.setattr(physical_lines, "MOST_LINES", 100)
    good = "".join(f"{number},x\n" for number in range(1000))
    landed = read(f'a,b\n{good}3,"x\n{good}', source=Texts)
    assert landed.rows.num_rows == 1901
    assert (landed.numbers, {reason for _, reason in landed.malformed}) == (list(range(1002, 1102)), {OPEN})


def test_a_quote_is_not_closed_by_a_line_that_is_too_far_away(read, monkeypatch):
    monkeypatch.setattr(physical_lines, "MOST_LINES", 10)
    landed = read('a,b\n3,"x\n' + "1,2\n" * 20 + '5,6"\n')
    assert (landed.rows.num_rows, landed.malformed) == (21, [('3,"x', OPEN)])


def test_records_of_several_lines_with_other_fields_are_kept_apart_line_by_line(read):
    landed = read('a,b\n3,"x\ny",4\n5,6\n', source=Texts)
    assert cells(landed) == [("5", "6")]
    assert landed.malformed == [('3,"x', "3 fields instead of 2"), ('y",4', "3 fields instead of 2")]


def test_text_after_a_closing_quote_is_kept_apart_for_parsers_differ_about_it(read):
    landed = read('a,b\n"x"y,1\n"x" ,2\n"x",3\n')
    assert cells(landed) == [("x", "3")]
    assert {reason for _, reason in landed.malformed} == {"text after a closing quote"}
    assert landed.numbers == [2, 3]


@pytest.mark.parametrize("source", [Drops, Texts])
def test_a_line_with_a_nul_byte_is_kept_apart_and_shows_it(read, source):
    landed = read(b"a,b\n1,2\n3,\0\n4,5\n" + b"\0" * 9, source=source)
    assert cells(landed) == [("1", "2"), ("4", "5")]
    assert landed.malformed == [("3,\\x00", "a NUL byte"), ("\\x00" * 9, "a NUL byte")]


def test_what_looks_like_a_line_end_to_an_editor_only_is_part_of_the_value(read):
    text = "x\u2028y\u0085z\v\f"
    assert cells(read(f"a,b\n{text},2\n")) == [(text, "2")]


def test_a_carriage_return_alone_ends_a_line(read):
    landed = read("a,b\r1,2\r3\r\r4,5")
    assert (cells(landed), landed.malformed, landed.blank) == (
        [("1", "2"), ("4", "5")],
        [("3", "1 fields instead of 2")],
        1,
    )


def test_a_line_longer_than_a_block_is_read(read):
    long = "é" * 3_000_000
    landed = read(f'a,b\n1,{long}\n"{long}",2\n3,4\n')
    assert cells(landed) == [("1", long), (long, "2"), ("3", "4")]


def test_a_line_without_end_is_an_error_before_it_fills_the_memory(read, monkeypatch):
    monkeypatch.setattr(physical_lines, "LONGEST", 3 * 1024**2)
    for content in ("a,b\n1," + "x" * 10_000_000, "a" * 10_000_000):
        with pytest.raises(StageError, match="a line of more than"):
            read(content)


@pytest.mark.parametrize("header", ['"a,b', '"a\nx",b', '"a"x,b'])
def test_a_header_with_a_stray_quote_is_an_error(read, header):
    with pytest.raises(StageError, match="in its header"):
        read(f"{header}\n1,2\n")


@pytest.mark.parametrize(
    ("pack", "name"), [(gzip.compress, "d.csv.gz"), (bz2.compress, "d.CSV.BZ2"), (lzma.compress, "d.csv.xz")]
)
def test_packed_files_are_read_like_plain_ones_and_cut_ones_refused(read, pack, name):
    content = "a,b\n" + "".join(f'{number},"x"\n' for number in range(100_000)) + "1\n"
    plain, packed = read(content), pack(content.encode())
    assert (cells(read(packed, name)), read(packed, name).numbers) == (cells(plain), [100_002])
    assert cells(read(packed + pack(b"9,9\n"), name))[-1] == ("9", "9"), "packed in two parts"
    with pytest.raises(StageError, match="cannot be read as CSV"):
        read(packed[:-20], name)


def test_a_file_whose_name_is_not_utf8_is_read_and_named_readably(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.csv"))
    path.write_bytes(b"a,b\n1,2\n")
    assert cells(read_whole(path)) == [("1", "2")]
    path.write_bytes(b"a\n1\n")
    with pytest.raises(StageError, match=r"caf\\xe9\.csv lacks"):
        read_whole(path)


PARTS = ["1,2", "1", '"', '""', ",", "x", '"a"', "\n", "\r\n", "\r", "\n\n", "é", '"q,r"', ',"', '",']


@pytest.mark.parametrize("source", [Drops, Texts])
@given(parts=st.lists(st.sampled_from(PARTS), max_size=40), size=st.sampled_from([4, 7, 1024**2]))
def test_all_lines_of_any_text_are_accounted_for(tmp_path_factory, source, parts, size):
    """By a count of our own, whatever the quotes: rows' lines + malformed + blank = lines."""
    text = "".join(parts)
    path = tmp_path_factory.mktemp("landed") / "drop.csv"
    path.write_bytes(f"a,b\n{text}".encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(physical_lines, "BLOCK_BYTES", size)
        landed = read_whole(path, source)
    lines = re.split(r"\r\n|\n|\r", text)
    if not lines[-1]:
        lines.pop()
    values = [value or "" for row in cells(landed) for value in row]
    inside = sum(len(re.findall(r"\r\n|\n|\r", value)) for value in values)
    assert landed.rows.num_rows + inside + len(landed.malformed) + landed.blank == len(lines)
    assert [text for text, _ in landed.malformed] == [lines[number - 2] for number in landed.numbers]
    assert not inside or source is Texts
    # Nothing is in two places, or nowhere: what stands in lines stands in values and malformed lines.
    letters = sum(len(value.replace('"', "")) for value in [*values, *(text for text, _ in landed.malformed)])
    assert letters <= len(text.replace('"', ""))


def is_regular(line: str) -> bool:
    """Tell, letter by letter, whether a line's quotes are around fields, and those inside doubled."""
    is_open = False
    for place, letter in enumerate(line):
        if letter != '"':
            continue
        beside = line[place - 1 : place] if not is_open else line[place + 1 : place + 2]
        if beside not in ("", ",", '"'):
            return False
        is_open = not is_open
    return not is_open


@given(parts=st.lists(st.sampled_from([*PARTS, "y" * 61, '"' * 64]), max_size=40))
def test_lines_with_other_quotes_than_those_around_fields_are_found(parts):
    """Against a look at each letter; a word of 64 places is the edge of what is looked at together."""
    data = "".join(parts).encode()
    starts, stops, _ = physical_lines._lines(data, is_last=True)
    lines = [data[start:stop].decode() for start, stop in zip(starts, stops, strict=True)]
    found = physical_lines._irregular(data, starts, stops)
    assert found == [place for place, line in enumerate(lines) if not is_regular(line)]


def test_the_first_line_counts_wherever_blank_lines_stand(read):
    landed = read("\ufeff\n\na,b\n\n1\n")
    assert (landed.malformed, landed.numbers, landed.blank) == ([("1", "1 fields instead of 2")], [5], 1)


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
    with pytest.raises(StageError, match=r"line [0-9]+ is not UTF-8"):
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
    assert landed.malformed == [("1", "1 fields instead of 2", 300_002)]


def test_a_file_of_another_kind_is_refused(read, monkeypatch):
    monkeypatch.setattr(landed_file, "MOST_MALFORMED", 2)
    assert len(read("a,b\n1\n2\n3,4\n").malformed) == 2
    with pytest.raises(StageError, match="more than 2 malformed lines, such as: 1;2"):
        read("a,b\n1;2\n3;4\n5;6\n")
