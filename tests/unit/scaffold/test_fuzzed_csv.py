"""Whatever CSV it is: a use case is made of it that Python and our settings read, or an error of ours says why not."""

from __future__ import annotations

import ast
import csv
import io
import tempfile
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mlplatform.config.settings import load_settings
from mlplatform.errors import UsageError
from mlplatform.scaffold.inference import LEAST_ROWS, infer
from mlplatform.scaffold.number_forms import Form, NoNumber, form_of
from mlplatform.scaffold.render import new_use_case
from tests.support.refusals import refusal

ROWS = LEAST_ROWS + 20
HEADERS = st.text(max_size=12) | st.sampled_from(
    [
        "raw",
        "_file",
        "label",
        "prediction",
        "as_of",
        "row_id",
        "Größe (m²)",
        "a`b",
        'a"b',
        "a'b",
        "{x}",
        "{{ x }}",
        "%s",
        "\ufeffid",
        "known_at",
        "class",
        "import",
        "a" * 300,
        "日付",
        "a b",
        "A",
        "a",
        "\u200b",
        "x\\y",
        "# a",
        "null",
        "---",
    ]
)
ODD = [
    "",
    " ",
    "0",
    "1",
    "-1",
    "+1",
    "007",
    "1e400",
    "-1e400",
    "1E5",
    "12E3",
    "inf",
    "-Infinity",
    "NaN",
    "nan",
    "NULL",
    "?",
    "1,5",
    "1.234,50",
    "12,34,567.80",
    "$5",
    "5 €",
    "(5.00)",
    "40%",
    "12 km",
    "٣",
    "½",
    "9" * 25,
    "9" * 5000,
    "0x10",
    "1_000",
    "yes",
    "no",
    "Ja",
    "it's",
    'say "x"',
    "a\\b",
    "{{ 7 * 7 }}",
    "line\nbreak",
    "tab\tbed",
    "\x01",
    "\u202e",
    "👻",
    "x" * 2000,
    "2024-01-31",
    "2024-01-31T08:00:00Z",
    "0001-01-01",
    "9999-12-31",
    "0001-01-01T00:00:00+05:00",
    "31.01.2024",
    "=1+1",
]
CELLS = st.sampled_from(ODD) | st.text(max_size=6)
COLUMN = st.lists(CELLS, min_size=1, max_size=4).map(lambda cells: [cells[row % len(cells)] for row in range(ROWS)])
DAYS = [(date(2024, 1, 1) + timedelta(days=row)).isoformat() for row in range(ROWS)]
KEYS = [f"A{row}" for row in range(ROWS)]
CLASSES = [("yes", "no")[row % 3 == 0] for row in range(ROWS)]
NUMBERS = [f"{row}.5" for row in range(ROWS)]


def packed(columns: list[tuple[str, list[str]]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([name for name, _ in columns])
    writer.writerows(zip(*(cells for _, cells in columns), strict=True))
    return text.getvalue().encode("utf-8", "replace")


def scaffold(content: bytes, **options: Any) -> UsageError | None:
    """Make a use case of a file; return why there is none. What is made is read again."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.csv"
        path.write_bytes(content)
        refused = refusal(new_use_case, "upsell", path, into=Path(folder) / "use_cases", **options)
        made = Path(folder) / "use_cases" / "upsell"
        if refused is not None:
            assert isinstance(refused, UsageError)
            assert not made.exists()
            return refused
        for file in made.rglob("*.py"):
            ast.parse(file.read_text(encoding="utf-8"))
        assert load_settings(made / "config.yml", "dev").simulation is not None
        return None


PLAIN = [("account", KEYS), ("asked", DAYS), ("price", NUMBERS), ("bought", CLASSES)]
CLASSIFICATION = {"task": "classification", "entity": "account", "timestamp": "asked", "label": "bought"}


def test_a_plain_file_is_made_a_use_case() -> None:
    assert scaffold(packed(PLAIN), **CLASSIFICATION) is None


@settings(max_examples=25, deadline=None)
@given(HEADERS, COLUMN)
@example("raw", NUMBERS)
@example("price ", ["9" * 5000] * ROWS)
@example("Price", NUMBERS)
def test_a_fact_of_any_name_and_content(name: str, cells: list[str]) -> None:
    scaffold(packed([*PLAIN, (name, cells)]), **CLASSIFICATION)


@settings(max_examples=25, deadline=None)
@given(HEADERS, COLUMN, st.sampled_from(["classification", "regression"]))
@example("bought", ["1e400", "0"] * (ROWS // 2), "classification")
@example("bought", ["inf", "-"] * (ROWS // 2), "classification")
@example("bought", ["9" * 400, "1"] * (ROWS // 2), "classification")
@example("bought", ["1e99", "1"] * (ROWS // 2), "regression")
def test_a_label_of_any_name_and_content(name: str, cells: list[str], task: str) -> None:
    scaffold(packed([*PLAIN[:3], (name, cells)]), **CLASSIFICATION | {"task": task, "label": name})


@settings(max_examples=25, deadline=None)
@given(HEADERS, COLUMN, st.booleans())
def test_a_time_or_an_entity_of_any_name_and_content(name: str, cells: list[str], is_time: bool) -> None:
    option = "timestamp" if is_time else "entity"
    columns = [(name, cells), *(it for it in PLAIN if it[0] != CLASSIFICATION[option])]
    scaffold(packed(columns), **CLASSIFICATION | {option: name})


@pytest.mark.parametrize(
    "far", ["0001-01-01", "0001-01-01T00:00:00+05:00", "9999-12-31", "9999-12-31T23:59:59-05:00", "1402-10-11"]
)
def test_a_time_that_nobody_can_have_meant_is_named(far: str) -> None:
    days = [far, *DAYS[1:]]
    refused = scaffold(packed([PLAIN[0], ("asked", days), *PLAIN[2:]]), **CLASSIFICATION)
    assert refused is not None
    assert "asked" in refused.message or "calendar" in refused.message


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")))
@example(b"")
@example(b"\n\n\n")
@example(b"a,b\n")
@example(b"a,b\n1,2,3\n")
@example(b'"a\n')
@example(b"a,a\n1,2\n")
@example(b"\x1f\x8b")
@example(b"BZh")
@example(b"\xfd7zXZ\x00")
@example(b"PK\x03\x04")
@example(b"\xff\xfea\x00")
@example(b"a\x00b\n")
@example(b"caf\xe9\n")
@example(b"[" * 20_000)
def test_any_bytes_at_all_are_no_use_case(content: bytes) -> None:
    assert scaffold(content, **CLASSIFICATION) is not None


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.text(alphabet="0123456789.,'eE+-()%$€ \u00a0kmNaifn", max_size=12) | st.sampled_from(ODD), max_size=6)
)
def test_any_texts_are_written_in_a_form_or_are_no_numbers(texts: list[str]) -> None:
    form = form_of(texts)
    assert isinstance(form, Form | NoNumber)
    if isinstance(form, NoNumber):
        assert len(form.why) < 3000


@pytest.mark.parametrize("horizon", ["0 days", "1000000000000000000000 months", "soon", "9" * 5000, "", "-1 day"])
def test_a_horizon_that_is_none_is_refused(horizon: str) -> None:
    assert scaffold(packed(PLAIN), **CLASSIFICATION, horizon=horizon) is not None


@pytest.mark.parametrize("horizon", ["1 minute", "30 days", "80 years", "1000 years"])
def test_a_horizon_of_any_length_is_taken_or_refused(horizon: str) -> None:
    scaffold(packed(PLAIN), **CLASSIFICATION, horizon=horizon)


@settings(max_examples=20, deadline=None)
@given(
    st.lists(
        st.text(max_size=8) | st.sampled_from(["account", "price", "account+price", "+", "asked", "bought"]), max_size=3
    )
)
def test_a_history_by_anything_is_one_or_refused(history: list[str]) -> None:
    scaffold(packed(PLAIN), **CLASSIFICATION, history_by=history)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "data.csv"
    path.write_bytes(packed(PLAIN))

    def closed(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_bytes", closed)
    with pytest.raises(UsageError, match="cannot be read: Permission denied"):
        infer(path, **CLASSIFICATION)
