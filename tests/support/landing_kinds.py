"""Kinds of files that land: what each holds, and how many of its lines have to become what."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

HEADER = "id,day,price,note"
UNPACKED: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.decompress,
    ".bz2": bz2.decompress,
    ".xz": lzma.decompress,
    ".zst": lambda data: pa.input_stream(io.BytesIO(data), compression="zstd").read(),
}


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        name: What is special about it.
        content: Its bytes.
        file: Its name.
        rows: Well-formed rows, where values hold no newlines.
        malformed: Malformed lines, there.
        texts: Both, where values may hold newlines; None: the same.
        silver: Rows that pass; None: all of `rows`.
        repeated: Rows that say again what another one said.
        notes: Of some rows, by id, the note exactly as it must come out.
    """

    name: str
    content: bytes
    file: str
    rows: int
    malformed: int
    texts: tuple[int, int] | None = None
    silver: int | None = None
    repeated: int = 0
    notes: tuple[tuple[str, str], ...] = ()

    def expected(self, *, newlines: bool) -> tuple[int, int]:
        """Return rows and malformed lines."""
        return self.texts if newlines and self.texts is not None else (self.rows, self.malformed)

    @cached_property
    def lines(self) -> list[str]:
        """The physical lines, counted without any of the platform's code."""
        unpack = next((unpack for end, unpack in UNPACKED.items() if self.file.endswith(end)), bytes)
        text = unpack(self.content).decode("utf-8-sig")
        lines = re.split(r"\r\n|\n|\r", text)
        return lines[:-1] if not lines[-1] else lines


def row(number: int | str, note: str = "text", *, price: str = "10.5", day: str = "2020-01-05") -> str:
    """Return a line whose id is `@<number>`; `@` becomes the kind's own name."""
    return f"@{number},{day},{price},{note}"


GOOD = [row(number) for number in range(3)]


def _kind(
    name: str,
    lines: str | list[str] | bytes,
    rows: int,
    malformed: int = 0,
    *,
    texts: tuple[int, int] | None = None,
    silver: int | None = None,
    repeated: int = 0,
    notes: dict[str, str] | None = None,
    file: str = "",
    pack: Callable[[bytes], bytes] = bytes,
    end: str = "",
) -> Kind:
    slug = re.sub(r"\W+", "_", name.replace("-", "minus ").replace("+", "plus "))
    text = HEADER + "\n" + "".join(f"{line}\n" for line in lines) if isinstance(lines, list) else lines
    content = text.encode() if isinstance(text, str) else text
    content = pack(content.replace(b"@", f"{slug}-".encode()))
    exact = tuple((f"{slug}-{key}", note) for key, note in (notes or {}).items())
    return Kind(name, content, file or f"{slug}.csv{end}", rows, malformed, texts, silver, repeated, exact)


def _crlf(lines: list[str], *, last: bool = True) -> str:
    return "\r\n".join([HEADER, *lines]) + ("\r\n" if last else "")


def _plain_forms() -> Iterator[Kind]:
    yield _kind("plain", GOOD, 3, notes={"0": "text"})
    yield _kind("line ends of Windows", _crlf(GOOD), 3, notes={"2": "text"})
    yield _kind("line ends of Windows without the last", _crlf(GOOD, last=False), 3, notes={"2": "text"})
    yield _kind("line ends of old Macs", "\r".join([HEADER, *GOOD, ""]), 3, notes={"2": "text"})
    yield _kind("line ends of old Macs without the last", "\r".join([HEADER, *GOOD]), 3)
    yield _kind("line ends of all kinds", f"{HEADER}\r\n{GOOD[0]}\n{GOOD[1]}\r{GOOD[2]}", 3)
    yield _kind("no last line end", "\n".join([HEADER, *GOOD]), 3)
    yield _kind("a byte order mark", "\ufeff" + "\n".join([HEADER, *GOOD]), 3)
    yield _kind("a byte order mark and line ends of Windows", "\ufeff" + _crlf(GOOD), 3)
    yield _kind("blank lines between", [GOOD[0], "", GOOD[1], "", "", GOOD[2]], 3)
    yield _kind("blank lines of Windows", _crlf([GOOD[0], "", GOOD[1], "", GOOD[2], "", ""]), 3)
    yield _kind("blank lines first", "\n\n" + "\n".join([HEADER, *GOOD]), 3)
    yield _kind("blank lines after the header", ["", "", *GOOD], 3)
    yield _kind("many blank lines last", [*GOOD, *[""] * 1000], 3)
    yield _kind("lines of blanks", [GOOD[0], "   ", "\t", GOOD[1]], 2, 2)
    yield _kind("a header alone", [], 0)
    yield _kind("a header without its line end", HEADER, 0)
    yield _kind("one row", [GOOD[0]], 1)
    yield _kind("one row without its line end", f"{HEADER}\n{GOOD[0]}", 1)
    yield _kind("columns in another order", "note,price,id,day\ntext,10.5,@0,2020-01-05\n", 1, notes={"0": "text"})
    yield _kind("a header in quotes", '"id","day","price","note"\n@0,2020-01-05,10.5,text\n', 1)
    yield _kind("an added column", f"{HEADER},new\n{GOOD[0]},x\n{GOOD[1]},\n", 2)
    yield _kind("an added column called as ours", f"{HEADER},_file,__rows,reason\n{GOOD[0]},x,y,z\n", 1)
    many = ",".join(f"c{number}" for number in range(500))
    yield _kind("500 added columns", f"{HEADER},{many}\n{GOOD[0]},{many}\n", 1)
    yield _kind("a header without a name", f"{HEADER},\n{GOOD[0]},x\n", 1)
    yield _kind("the header again in the middle", [GOOD[0], HEADER, GOOD[1]], 3, silver=2)
    yield _kind("cut in the middle of a line", f"{HEADER}\n{GOOD[0]}\n@1,2020-", 1, 1)
    yield _kind("cut in the middle of a value", f"{HEADER}\n{GOOD[0]}\n@1,2020-01-05,10.5,te", 2, notes={"1": "te"})


def _fields() -> Iterator[Kind]:
    yield _kind("too few fields", [GOOD[0], "@1,2020-01-05", GOOD[2]], 2, 1)
    yield _kind("too many fields", [GOOD[0], f"{GOOD[1]},more", GOOD[2]], 2, 1)
    yield _kind("a comma too many in each line", [f"{line}," for line in GOOD], 0, 3)
    yield _kind("commas alone", [GOOD[0], ",,,", ",,"], 2, 1, silver=1)
    yield _kind("an empty last field", [row(0, "")], 1)
    yield _kind("an empty field in quotes", [row(0, '""')], 1)
    yield _kind("tabs between", [line.replace(",", "\t") for line in GOOD], 0, 3)
    yield _kind("semicolons between", [line.replace(",", ";") for line in GOOD], 0, 3)
    yield _kind("pipes between", [line.replace(",", "|") for line in GOOD], 0, 3)
    yield _kind("comments", ["# by the export", GOOD[0], "# 1 row"], 1, 2)
    yield _kind("a total in the last line", [*GOOD, "total: 3 rows"], 3, 1)
    yield _kind("blanks around fields", ["@0 , 2020-01-05 , 10.5 , x "], 1, silver=0)
    yield _kind("all fields in quotes", [",".join(f'"{part}"' for part in line.split(",")) for line in GOOD], 3)
    quoted = [",".join(f'"{part}"' for part in line.split(",")) for line in GOOD]
    yield _kind("all fields in quotes, line ends of Windows", _crlf(quoted), 3, notes={"1": "text"})
    yield _kind("commas in quotes", [row(0, '"a, b, c"')], 1, notes={"0": "a, b, c"})
    yield _kind("doubled quotes", [row(0, '"say ""hi"""'), row(1, '""""')], 2, notes={"0": 'say "hi"', "1": '"'})
    yield _kind("quotes of another kind", [row(0, "'a b'"), row(1, "„a“")], 2, notes={"0": "'a b'", "1": "„a“"})


def _quotes() -> Iterator[Kind]:
    many = [row(number) for number in range(300)]

    def soiled(**places: str) -> list[str]:
        lines = list(many)
        for place, note in places.items():
            lines[int(place[1:])] = row(int(place[1:]), note)
        return lines

    yield _kind("an open quote", soiled(n50='"west'), 299, 1, texts=(50, 250))
    yield _kind("an open quote in the first line", soiled(n0='"west'), 299, 1, texts=(0, 300))
    yield _kind("an open quote in the last line", soiled(n299='"west'), 299, 1)
    last = "\n".join([HEADER, *many[:3], row(3, '"west')])
    yield _kind("an open quote in a last line without end", last, 3, 1)
    yield _kind("an open quote in the first field", [GOOD[0], '"@1,2020-01-05,1,x', GOOD[2]], 2, 1, texts=(1, 2))
    yield _kind("an open quote in a middle field", [GOOD[0], '@1,"2020-01-05,1,x', GOOD[2]], 2, 1, texts=(1, 2))
    # As a text that somebody meant to write: the lines between may be its own.
    yield _kind("a quote closed 150 lines on", soiled(n50='"west', n200='west"'), 149, 151, texts=(150, 0))
    closed = [GOOD[0], '@1,2020-01-05,"1', '2",x', GOOD[2]]
    yield _kind("a number over two lines", closed, 2, 2, texts=(3, 0))
    yield _kind("an open quote, closed wrongly", soiled(n50='"west', n60='"east"'), 299, 1)
    yield _kind("two open quotes", soiled(n50='"west', n60='"west'), 298, 2, texts=(59, 241))
    yield _kind("an open quote in each line", [row(number, '"x') for number in range(9)], 0, 9)
    yield _kind("a closing quote in each line", [row(number, 'x"') for number in range(9)], 9, notes={"1": 'x"'})
    yield _kind("inches", [row(0, '5" pipe'), row(1, '6"'), row(2, '5" by 6"')], 3, notes={"2": '5" by 6"'})
    yield _kind("inches before a comma", ['@0,2020-01-05,1,5",x'], 0, 1)
    yield _kind("text after a quote", [row(0, '"a"b'), GOOD[1]], 1, 1)
    yield _kind("a blank after a quote", [row(0, '"a" '), GOOD[1]], 1, 1)
    yield _kind("a blank before a quote", [row(0, ' "a"')], 1, notes={"0": ' "a"'})
    yield _kind("a comma in quotes after a blank", [row(0, ' "a, b"')], 0, 1)
    yield _kind("quotes escaped by a backslash", [row(0, r'"a\"b"'), GOOD[1]], 1, 1)
    yield _kind("three quotes", [row(0, '"""'), GOOD[1]], 1, 1, texts=(0, 2))
    yield _kind("quotes alone", ['"', '""', '"""', '""""', GOOD[0]], 1, 4)
    yield _kind("quotes in two lines with good ones between", [row(0, '"a'), GOOD[1], row(2, '"b')], 1, 2)
    yield _kind("an open quote before blank lines", [row(0, '"a'), "", "", GOOD[1]], 1, 1, texts=(0, 4))


def _newlines() -> Iterator[Kind]:
    yield _kind("a line end in a value", [row(0, '"a\nb"'), GOOD[1]], 1, 2, texts=(2, 0))
    yield _kind("a line end of Windows in a value", _crlf([row(0, '"a\r\nb"'), GOOD[1]]), 1, 2, texts=(2, 0))
    yield _kind("a line end of old Macs in a value", [row(0, '"a\rb"'), GOOD[1]], 1, 2, texts=(2, 0))
    yield _kind("a line end of old Macs without quotes", [row(0, "a\rb"), GOOD[1]], 2, 1)
    yield _kind("a row in a value", [row(0, '"a\n@7,2020-01-05,1,x\nb"'), GOOD[1]], 1, 3, texts=(2, 0))
    yield _kind("rows in a value", [row(0, '"a\n' + "@8,2020-01-05,1,x\n" * 50 + 'b"')], 0, 52, texts=(1, 0))
    yield _kind("two values over lines in one row", ['"@0\n",2020-01-05,1,"a\nb"', GOOD[1]], 1, 3, texts=(2, 0))
    yield _kind("a value that ends with a line end", [row(0, '"a\n"'), GOOD[1]], 1, 2, texts=(2, 0))
    yield _kind("a value that begins with a line end", [row(0, '"\na"'), GOOD[1]], 1, 2, texts=(2, 0))
    yield _kind("blank lines in a value", [row(0, '"a\n\n\nb"'), GOOD[1]], 1, 4, texts=(2, 0))
    yield _kind("quotes and line ends in a value", [row(0, '"a ""b\nc"" d"'), GOOD[1]], 1, 2, texts=(2, 0))
    yield _kind("a value over lines and a field too many", [row(0, '"a\nb",more'), GOOD[1]], 1, 2, texts=(1, 2))
    yield _kind("a value over lines that is never closed", [GOOD[0], row(1, '"a\nb')], 1, 2)
    yield _kind("text after a value over lines", [row(0, '"a\nb"c'), GOOD[1]], 1, 2)
    letter = "Dear all,\n" * 5000
    yield _kind("a letter of 5,000 lines", [row(0, f'"{letter}"'), GOOD[1]], 1, 5001, texts=(2, 0))
    yield _kind("a letter of 12,000 lines", [row(0, '"' + "Dear all\n" * 12_000 + '"')], 0, 12_001)
    yield _kind(
        "what is a line end to Unicode", [row(0, "a\u2028b\u2029c\u0085d")], 1, notes={"0": "a\u2028b\u2029c\u0085d"}
    )
    yield _kind("tabs and feeds in a value", [row(0, "a\tb\vc\fd")], 1, notes={"0": "a\tb\vc\fd"})


def _signs() -> Iterator[Kind]:
    yield _kind("a NUL in a value", [row(0, "a\0b"), GOOD[1]], 1, 1)
    yield _kind("a NUL in a value in quotes", [row(0, '"a\0b"'), GOOD[1]], 1, 1)
    yield _kind("NULs at the end, as after a crash", "\n".join([HEADER, *GOOD, "\0" * 4096]), 3, 1)
    yield _kind("NULs in the place of a block", [GOOD[0], "\0" * 9000, GOOD[1]], 2, 1)
    yield _kind("a NUL in a value over lines", [row(0, '"a\n\0b"'), GOOD[1]], 1, 2)
    yield _kind("a NUL behind an open quote", [row(0, '"a\0'), GOOD[1]], 1, 1, texts=(0, 2))
    yield _kind("signs of control", [row(0, "a\x01\x1b[31mb\x7f")], 1, notes={"0": "a\x01\x1b[31mb\x7f"})
    yield _kind("emoji", [row(0, "👩‍👩‍👧🏽")], 1, notes={"0": "👩‍👩‍👧🏽"})
    yield _kind("letters from right to left", [row(0, "\u202eabc\u202c شركة")], 1, notes={"0": "\u202eabc\u202c شركة"})
    yield _kind("signs without width", [row(0, "a\u200bb\ufeffc")], 1, notes={"0": "a\u200bb\ufeffc"})
    yield _kind("beyond the first plane", [row(0, "\U0010ffff\U0001d4b3")], 1, notes={"0": "\U0010ffff\U0001d4b3"})
    yield _kind("a formula", [row(0, "=cmd|' /C calc'!A0")], 1, notes={"0": "=cmd|' /C calc'!A0"})
    yield _kind("a statement", [row(0, "'); DROP TABLE x; --")], 1, notes={"0": "'); DROP TABLE x; --"})
    yield _kind("JSON", [row(0, '"{""a"": [1, 2]}"')], 1, notes={"0": '{"a": [1, 2]}'})
    yield _kind("20,000 brackets", [row(0, "[" * 20_000 + "]" * 20_000)], 1, notes={"0": "[" * 20_000 + "]" * 20_000})
    yield _kind("markup", [row(0, "<script>alert(1)</script>")], 1, notes={"0": "<script>alert(1)</script>"})
    yield _kind("backslashes", [row(0, r"C:\new\table")], 1, notes={"0": r"C:\new\table"})
    yield _kind("templates", [row(0, "{{ x }} ${x} %s {0}")], 1, notes={"0": "{{ x }} ${x} %s {0}"})


def _sizes() -> Iterator[Kind]:
    yield _kind("5 MB in one cell", [row(0, "x" * 5_000_000), GOOD[1]], 2, notes={"0": "x" * 5_000_000})
    yield _kind("5 MB in quotes", [row(0, '"' + "y," * 2_500_000 + '"'), GOOD[1]], 2, notes={"0": "y," * 2_500_000})
    yield _kind("5 MB behind an open quote", [row(0, '"' + "y" * 5_000_000), GOOD[1]], 1, 1, texts=(0, 2))
    yield _kind("30,000 rows", [row(number) for number in range(30_000)], 30_000)
    crlf = _crlf([row(number, "é" * (number % 7)) for number in range(30_000)])
    yield _kind("30,000 rows with line ends of Windows", crlf, 30_000)
    far = [row(number, '"q, ""r"""' if number % 3 else "z") for number in range(30_000)]
    far[29_001] = row(29_001, '"never closed')
    yield _kind("30,000 rows with quotes, one open", far, 29_999, 1)


def _packed() -> Iterator[Kind]:
    yield _kind("gzip", GOOD, 3, pack=gzip.compress, end=".gz")
    yield _kind("bzip2", GOOD, 3, pack=bz2.compress, end=".bz2")
    yield _kind("xz", GOOD, 3, pack=lzma.compress, end=".xz")
    yield _kind("zstd", GOOD, 3, pack=_zstd, end=".zst")
    yield _kind("gzip in two parts", GOOD, 3, pack=lambda data: _in_parts(data, gzip.compress), end=".gz")
    yield _kind("bzip2 in two parts", GOOD, 3, pack=lambda data: _in_parts(data, bz2.compress), end=".bz2")
    yield _kind("xz in two parts", GOOD, 3, pack=lambda data: _in_parts(data, lzma.compress), end=".xz")
    soiled = [GOOD[0], row(1, '"open'), GOOD[2], "@3"]
    yield _kind("gzip with faulty lines", soiled, 2, 2, texts=(1, 3), pack=gzip.compress, end=".gz")
    yield _kind("xz with faulty lines", soiled, 2, 2, texts=(1, 3), pack=lzma.compress, end=".xz")
    yield _kind("gzip of many rows", [row(n) for n in range(30_000)], 30_000, pack=gzip.compress, end=".gz")


def _zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return bytes(sink.getvalue().to_pybytes())


def _in_parts(data: bytes, pack: Callable[[bytes], bytes]) -> bytes:
    return pack(data[:30]) + pack(data[30:])


def _names() -> Iterator[Kind]:
    for name in ("a blank.csv", "it's.csv", 'a "quote".csv', "größe.csv", "50%#.csv", "a;--b.csv", "[a]{b}.csv"):
        yield _kind(f"a file called {name}", GOOD, 3, file=name)
    yield _kind("a file name with a line end", GOOD, 3, file="two\nlines.csv")
    yield _kind("a file name with a backslash", GOOD, 3, file="back\\slash.csv")
    yield _kind("a long file name", GOOD, 3, file="n" * 240 + ".csv")
    yield _kind("a file name that is not UTF-8", GOOD, 3, file=os.fsdecode(b"caf\xe9.csv"))
    for form in ("NFC", "NFD"):
        yield _kind(f"a file name in {form}", GOOD, 3, file=unicodedata.normalize(form, "café.csv"))
    yield _kind("a file name in capitals", GOOD, 3, file="PLAIN.csv")


def _values() -> Iterator[Kind]:
    for text in ("inf", "-inf", "Infinity", "-Infinity", "NaN", "nan", "1e400", "-1e999", "+inf"):
        yield _kind(f"a price of {text}", [row(0, price=text), GOOD[1]], 2, silver=1)
    yield _kind("a price that is too small for a number", [row(0, price="1e-400")], 1)
    yield _kind("no price", [row(0, price="")], 1)
    yield _kind("the word free for a price", [row(0, price="free")], 1)
    yield _kind("a day in the year 9999", [row(0, day="9999-12-31")], 1)
    yield _kind("a day in the year 0", [row(0, day="0000-01-01"), GOOD[1]], 2)
    yield _kind("a day that is none", [row(0, day="2020-02-30"), GOOD[1]], 2, silver=1)
    yield _kind("no day", [row(0, day=""), GOOD[1]], 2, silver=1)
    yield _kind("an id given twice", [row(0), row(0, "other")], 2, silver=1)
    yield _kind("a row given twice", [GOOD[0], GOOD[0]], 2, silver=1, repeated=1)
    yield _kind("no id", [",2020-01-05,1,x", GOOD[1]], 2, silver=1)


KINDS = (
    *_plain_forms(),
    *_fields(),
    *_quotes(),
    *_newlines(),
    *_signs(),
    *_sizes(),
    *_packed(),
    *_names(),
    *_values(),
)

_GOOD = (HEADER + "\n" + "".join(f"{line}\n" for line in GOOD)).encode()
_LONG = (HEADER + "\n" + "".join(f"{row(number)}\n" for number in range(5000))).encode()

REFUSED: dict[str, tuple[str, bytes, str]] = {
    "empty": ("a.csv", b"", "Empty CSV"),
    "line ends alone": ("a.csv", b"\n\r\n\n", "Empty CSV"),
    "a byte order mark alone": ("a.csv", b"\xef\xbb\xbf", "Empty CSV"),
    "Latin-1": ("a.csv", _GOOD + "@9,2020-01-05,1,é\n".encode("latin-1"), "UTF-8|UTF-16"),
    "Latin-1 in a line that is faulty anyway": ("a.csv", _GOOD + "é\n".encode("latin-1"), "UTF-8|UTF-16"),
    "Latin-1 in the header": ("a.csv", f"{HEADER},é\n".encode("latin-1"), "UTF-8|UTF-16"),
    "UTF-16": ("a.csv", _GOOD.decode().encode("utf-16"), "UTF-8|UTF-16"),
    "UTF-16 without a mark": ("a.csv", _GOOD.decode().encode("utf-16-le"), "lacks"),
    "UTF-32": ("a.csv", _GOOD.decode().encode("utf-32"), "UTF-8|UTF-16"),
    "cut within a letter": ("a.csv", _GOOD + "@9,2020-01-05,1,é".encode()[:-1], "UTF-8|UTF-16"),
    "an overlong letter": ("a.csv", _GOOD + b"@9,2020-01-05,1,\xc0\xaf\n", "UTF-8|UTF-16"),
    "half a pair of surrogates": ("a.csv", _GOOD + b"@9,2020-01-05,1,\xed\xa0\x80\n", "UTF-8|UTF-16"),
    "gzip that is cut": ("a.csv.gz", gzip.compress(_LONG)[:-200], "cannot be read"),
    "gzip without its end": ("a.csv.gz", gzip.compress(_LONG)[:-8], "cannot be read"),
    "gzip with another checksum": ("a.csv.gz", gzip.compress(_LONG)[:-8] + bytes(8), "cannot be read"),
    "gzip with a flipped bit": ("a.csv.gz", bytes(gzip.compress(_LONG)[:400]) + b"\xff" * 40, "cannot be read"),
    "no gzip": ("a.csv.gz", _GOOD, "cannot be read"),
    "gzip without its name": ("a.csv", gzip.compress(_LONG), "cannot be read|UTF-8|lacks"),
    "bzip2 that is cut": ("a.csv.bz2", bz2.compress(_LONG)[:-20], "cannot be read"),
    "no bzip2": ("a.csv.bz2", _GOOD, "cannot be read"),
    "xz that is cut": ("a.csv.xz", lzma.compress(_LONG)[:-20], "cannot be read"),
    "no xz": ("a.csv.xz", _GOOD, "cannot be read"),
    "zstd that is cut": ("a.csv.zst", _zstd(_LONG)[:-20], "cannot be read"),
    "a column less": ("a.csv", b"id,day,price\n1,2020-01-05,1\n", "lacks the column"),
    "a column twice": ("a.csv", f"{HEADER},id\n".encode(), "twice"),
    "a column in capitals": ("a.csv", b"ID,day,price,note\n", "lacks the column"),
    "no header": ("a.csv", b"1,2020-01-05,1,x\n2,2020-01-05,1,x\n", "lacks the column"),
    "semicolons": ("a.csv", b"id;day;price;note\n1;2020-01-05;1;x\n", "lacks the column"),
    "a hint for Excel first": ("a.csv", b"sep=,\n" + _GOOD, "lacks the column"),
    "a header with an open quote": ("a.csv", b'id,day,price,"note\n' + _GOOD, "in its header"),
    "a header with text after a quote": ("a.csv", b'"id"x,day,price,note\n', "in its header"),
    "bytes of no kind": ("a.csv", bytes(range(256)) * 20, "cannot be read|lacks"),
}
"""Files of which nothing is taken: name, content, and what the error says."""
