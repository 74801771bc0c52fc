"""What the command line prints."""

from __future__ import annotations

from io import StringIO

from rich.console import Console

from mlplatform.cli import output


def test_a_cell_is_text_and_no_markup() -> None:
    written = StringIO()
    Console(file=written, width=80).print(output.table("t", ("mend",), [("pip install 'mlplatform[local]'",)]))
    assert "mlplatform[local]" in written.getvalue()
