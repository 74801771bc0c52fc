"""A source's dialect: what may be declared, and files that are read as it says, or refused with their line."""

from __future__ import annotations

import csv
import io
import itertools
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlplatform.errors import ConfigError, StageError
from mlplatform.ingest import physical_lines
from mlplatform.ingest.dialect import DELIMITERS, ENCODINGS, PLAIN, Dialect
from mlplatform.ingest.landed_file import LandedFile
from mlplatform.ingest.replay import Replay
from mlplatform.ingest.source import Source

CODECS = {"utf-8": "utf-8", "latin-1": "latin-1", "windows-1252": "cp1252", "utf-16": "utf-16"}


def source_of(dialect: Dialect, *, newlines: bool = False, columns: tuple[str, ...] = ("a", "b")) -> type[Source]:
    return type(
        "Drops",
        (Source,),
        {"files": "*.csv", "columns": columns, "dialect": dialect, "newlines_in_values": newlines, "__doc__": "Drops."},
    )


def read(path: Path, source: type[Source]) -> tuple[list[tuple[str | None, ...]], LandedFile]:
    landed = LandedFile(path, source())
    rows = pa.Table.from_batches(landed.batches(), landed.schema)
    return [tuple(row[name] for name in source.columns) for row in rows.to_pylist()], landed


def write(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "drop.csv"
    path.write_bytes(content)
    return path


SEMICOLON = Dialect(delimiter=";", encoding="latin-1", decimal=",")


def test_a_brazilian_file_is_read_as_the_text_that_landed(tmp_path: Path) -> None:
    path = write(tmp_path, 'a;b\nSão Paulo;"1;5"\nAçaí;1.234,56\n01234;\n'.encode("latin-1"))
    rows, landed = read(path, source_of(SEMICOLON))
    assert rows == [("São Paulo", "1;5"), ("Açaí", "1.234,56"), ("01234", None)]
    assert landed.malformed == []


@pytest.mark.parametrize("delimiter", DELIMITERS)
def test_lines_with_other_fields_and_open_quotes_are_kept_apart_line_by_line(tmp_path: Path, delimiter: str) -> None:
    lines = ["a{0}b", "1{0}2", "1{0}2{0}3", '3{0}"x', "4{0}5", '"y"z{0}1', '6{0}"7{0}8"']
    path = write(tmp_path, "\n".join(lines).format(delimiter).encode("latin-1"))
    rows, landed = read(path, source_of(Dialect(delimiter=delimiter, encoding="latin-1")))
    assert rows == [("1", "2"), ("4", "5"), ("6", f"7{delimiter}8")]
    assert [(line.number, line.reason) for line in landed.malformed] == [
        (3, "3 fields instead of 2"),
        (4, "a quote is not closed"),
        (6, "text after a closing quote"),
    ]


def test_another_delimiter_in_a_value_stands_beside_no_quote_of_a_field(tmp_path: Path) -> None:
    """`x,"y"` between semicolons is one value of odd quotes, and not two."""
    rows, landed = read(write(tmp_path, b'a;b\n1;x,"y"\n"2","3";4\n'), source_of(Dialect(delimiter=";")))
    assert rows == [("1", 'x,"y"')]
    assert [(line.number, line.reason) for line in landed.malformed] == [(3, "text after a closing quote")]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_byte_order_mark_is_no_part_of_the_header(tmp_path: Path, mark: bytes) -> None:
    assert read(write(tmp_path, mark + "a;b\n1;ã\n".encode()), source_of(Dialect(delimiter=";")))[0] == [("1", "ã")]


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
def test_utf_16_is_read_and_its_lines_are_counted(tmp_path: Path, codec: str) -> None:
    text = "\ufeffa\tb\r\n1\tção\r\n\r\n2\r\n"
    rows, landed = read(write(tmp_path, text.encode(codec)), source_of(Dialect(delimiter="\t", encoding="utf-16")))
    assert (rows, [line.number for line in landed.malformed], landed.blank) == ([("1", "ção")], [4], 1)


GOOD = "a,b\n" + "1,2\r\n" * 7 + "3,4\r"


@pytest.mark.parametrize("size", [1, 3, 1024**2])
@pytest.mark.parametrize(
    ("encoding", "content", "says", "instead"),
    [
        ("utf-8", GOOD.encode() + "5,é\n".encode("latin-1"), "line 10 is not UTF-8 (the byte 0xe9)", "latin-1"),
        ("utf-8", GOOD.encode("utf-16"), "line 1 begins as UTF-16 does", "utf-16"),
        ("latin-1", GOOD.encode() + b"5,\x80\n", "line 10 holds the byte 0x80", "windows-1252"),
        ("latin-1", GOOD.encode() + "5,é\n".encode(), "line 10 is UTF-8, as all others are", "utf-8"),
        ("latin-1", b"\xef\xbb\xbf" + GOOD.encode(), "line 1 begins as UTF-8 does", "utf-8"),
        ("windows-1252", GOOD.encode() + b"5,\xe3 \x81\n", "line 10 is not Windows-1252 (the byte 0x81)", ""),
        ("windows-1252", GOOD.encode() + "5,Á\n".encode(), "line 10 is not Windows-1252 (the byte 0x81)", "utf-8"),
        ("windows-1252", GOOD.encode() + "5,ã\n6,7\n".encode(), "line 10 is UTF-8", "utf-8"),
        ("utf-16", GOOD.encode("utf-16") + "5,é\n".encode("utf-16-le")[:-1], "line 10 is not UTF-16", ""),
        ("utf-16", GOOD.encode("utf-16-le"), "line 1 does not begin as UTF-16 does", ""),
        ("utf-16", GOOD.encode("utf-16") + b"\x00\xd8\x00\x20", "line 10 is not UTF-16", ""),
    ],
)
def test_bytes_that_are_not_of_the_encoding_are_an_error_with_file_and_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, encoding: str, content: bytes, says: str, instead: str
) -> None:
    monkeypatch.setattr(physical_lines, "BLOCK_BYTES", size)
    path = write(tmp_path, content)
    with pytest.raises(StageError) as caught:
        read(path, source_of(Dialect(encoding=encoding)))
    assert str(path) in caught.value.message
    assert says in caught.value.message
    assert "Nothing of this file was ingested" in str(caught.value.hint)
    assert (
        f'Dialect(encoding="{instead}")' in str(caught.value.hint)
        if instead
        else "Dialect(" not in str(caught.value.hint)
    )


@pytest.mark.parametrize("encoding", ["latin-1", "windows-1252"])
def test_one_letter_that_is_no_utf_8_tells_that_a_file_is_not(tmp_path: Path, encoding: str) -> None:
    content = "a,b\n1,Ã£\n2,ã\n".encode("latin-1")
    assert read(write(tmp_path, content), source_of(Dialect(encoding=encoding)))[0] == [("1", "Ã£"), ("2", "ã")]


def test_a_file_of_another_delimiter_is_told_so(tmp_path: Path) -> None:
    path = write(tmp_path, b"a;b\n1;2\n")
    with pytest.raises(StageError, match="lacks the column") as caught:
        read(path, source_of(PLAIN))
    assert "declare Dialect(delimiter=';')" in str(caught.value.hint)


WORDS = st.text(
    st.sampled_from([*"ab01 ,;|\t\"'.-/çãÉ\u20ac", "\u2019", "\n", "\r"]) | st.characters(codec="latin-1"), max_size=8
).filter(lambda text: "\0" not in text)


@given(
    st.sampled_from(DELIMITERS),
    st.sampled_from(ENCODINGS),
    st.lists(st.tuples(WORDS, WORDS), max_size=8),
    st.sampled_from([5, 1024**2]),
)
def test_a_table_written_in_any_dialect_is_read_again_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, delimiter: str, encoding: str, table: list[tuple[str, str]], size: int
) -> None:
    """By Python's own writer. A letter that an encoding lacks is left out, and so are controls that no text has."""
    codec = CODECS[encoding]
    table = [tuple(_fitting(text, codec) for text in row) for row in table]
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerows([("a", "b"), *table])
    content = text.getvalue().encode(codec)
    path = tmp_path_factory.mktemp("landed") / "drop.csv"
    path.write_bytes(content)
    source = source_of(Dialect(delimiter=delimiter, encoding=encoding), newlines=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(physical_lines, "BLOCK_BYTES", size)
        if encoding in ("latin-1", "windows-1252") and not content.isascii() and _is_utf8(content):
            with pytest.raises(StageError, match="is UTF-8"):
                read(path, source)
            return
        rows, landed = read(path, source)
    assert rows == [tuple(cell or None for cell in row) for row in table]
    assert landed.malformed == []


def _fitting(text: str, codec: str) -> str:
    kept = text.encode(codec, "ignore").decode(codec)
    return "".join(sign for sign in kept if not 0x80 <= ord(sign) <= 0x9F) if codec == "latin-1" else kept


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        ({"delimiter": ":"}, "Dialect.delimiter is ':'"),
        ({"encoding": "latin1"}, "Did you mean latin-1"),
        ({"encoding": "cp850"}, "Dialect.encoding is 'cp850'"),
        ({"decimal": ";"}, "Dialect.decimal"),
        ({"thousands": "_"}, "Dialect.thousands"),
        ({"decimal": ",", "thousands": ","}, "both separated by ','"),
        ({"date_format": "dd/MM/yy"}, "Did you mean dd/MM/yyyy"),
    ],
)
def test_what_is_not_supported_cannot_be_declared(declared: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Dialect(**declared)
    assert says in str(caught.value)


def test_a_source_takes_a_dialect_that_its_reader_can_read() -> None:
    class Dealt(Replay):
        def records(self, extract):
            raise NotImplementedError

    wrong = [
        ({"dialect": ";"}, "is no Dialect"),
        ({"dialect": Dialect(encoding="utf-16"), "reader": "auto_loader"}, "UTF-16"),
        ({"dialect": Dialect(delimiter=";"), "replay": Dealt}, "deals its extract out with commas"),
        ({"dialect": Dialect(delimiter=";"), "format": "parquet"}, "have no dialect"),
        ({"format": "parquet", "reader": "auto_loader"}, "read where they lie"),
        ({"format": "avro"}, "Known: csv, parquet"),
    ]
    for attributes, says in wrong:
        with pytest.raises(ConfigError) as caught:
            type("Drops", (Source,), {"files": "*.csv", "columns": ("a",), **attributes})
        assert says in str(caught.value)
    numbers = Dialect(decimal=",", date_format="dd/MM/yyyy")
    source = type("Drops", (Source,), {"columns": ("a",), "dialect": numbers, "replay": Dealt})
    assert source.dialect is numbers, "how numbers are written is no matter of the files that a replay writes"


def test_a_dialect_says_what_differs_from_the_plain_one() -> None:
    assert PLAIN.declared() == {}
    assert SEMICOLON.declared() == {"delimiter": ";", "encoding": "latin-1", "decimal": ","}
    everything = [DELIMITERS, ENCODINGS]
    assert all(Dialect(delimiter=one, encoding=other) for one, other in itertools.product(*everything))
