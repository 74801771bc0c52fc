"""Reading one landed CSV file: all text, malformed lines kept apart, anything unreadable a clear error."""

from __future__ import annotations

import json
import lzma
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import pyarrow as pa
import pyarrow.csv as pacsv

from mlplatform.errors import StageError
from mlplatform.ingest.encoded_file import EncodedFile, EncodingError, Readable
from mlplatform.ingest.landed_header import check_columns
from mlplatform.ingest.physical_lines import LONGEST, Block, HeaderError, LineReader, LineTooLongError, MalformedLine
from mlplatform.ingest.source import RESCUED, Source, shown_path

if TYPE_CHECKING:
    from io import IOBase
    from typing import IO, BinaryIO

MOST_MALFORMED = 1_000_000
"""A file with more malformed lines is refused: it is of another kind, and all of them are kept until it is read."""
MOST_MALFORMED_BYTES = 1024**3
"""So is one whose malformed lines are longer than this, all together."""
_HINT = "Nothing of this file was ingested. Have it delivered again, or move it out of the landing folder."
_COMPRESSIONS: dict[str, Literal["gzip", "bz2", "zstd"]] = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}
_XZ = ".xz"


class LandedFile:
    """A landed CSV file (plain, or compressed as `.gz`, `.bz2`, `.xz` or `.zst`), read as text, batch by batch.

    Attributes:
        malformed: The lines that are no records, as far as the file has been read.
        blank: The number of blank lines, as far as the file has been read.
        added_columns: Columns of the header that the source does not declare.
        schema: The declared columns and `_rescued_data`, all strings; empty cells are null.
    """

    def __init__(self, path: Path, source: Source) -> None:
        """Read the header.

        Args:
            path: The file.
            source: Declares its columns, its dialect, and whether its values may hold newlines.

        Raises:
            StageError: If the file cannot be read, is not of the declared encoding, or lacks declared columns.
        """
        self._path, self._source, self._shown = path, source, shown_path(path)
        with self._reader() as reader:
            self._header = _names(reader.header, source.dialect.delimiter)
        check_columns(self._shown, self._header, source)
        self.malformed: list[MalformedLine] = []
        self.blank = 0
        self.added_columns = [column for column in self._header if column not in source.columns]
        self.schema = pa.schema([pa.field(column, pa.string()) for column in (*source.columns, RESCUED)])

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the well-formed rows in their order.

        Raises:
            StageError: If the file cannot be read to its end, or has more malformed lines than are kept.
        """
        self.malformed.clear()
        self.blank = 0
        size = 0
        with self._reader() as reader:
            for block in reader.blocks():
                rows, malformed = self._parse(block)
                self.malformed += malformed
                self.blank += block.blank
                size += sum(len(line.text) for line in malformed)
                self._check_malformed(size)
                for batch in rows.to_batches():
                    columns = [batch.column(column) for column in self._source.columns]
                    yield pa.RecordBatch.from_arrays([*columns, self._rescue(batch)], schema=self.schema)

    @contextmanager
    def _reader(self) -> Iterator[LineReader]:
        with self._readable(), ExitStack() as stack:
            # By Python: it opens names that are not UTF-8, too.
            file = stack.enter_context(self._path.open("rb"))
            content = stack.enter_context(_uncompressed(file, self._path.suffix.lower()))
            dialect = self._source.dialect
            yield LineReader(
                EncodedFile(content, dialect.encoding),
                newlines_in_values=self._source.newlines_in_values,
                delimiter=dialect.delimiter.encode(),
            )

    def _parse(self, block: Block) -> tuple[pa.Table, list[MalformedLine]]:
        """Return a block's rows, and its lines that are none."""
        refused: dict[int, str] = {}

        def refuse(row: pacsv.InvalidRow) -> Literal["skip"]:
            refused[cast("int", row.number) - 1] = f"{row.actual_columns} fields instead of {row.expected_columns}"
            return "skip"

        rows = pa.schema([pa.field(column, pa.string()) for column in self._header]).empty_table()
        if block.records:
            rows = pacsv.read_csv(
                cast("IO[Any]", pa.BufferReader(block.text)),
                # One thread, and one block: only then does the parser number the rows that it refuses.
                read_options=pacsv.ReadOptions(
                    use_threads=False, column_names=self._header, block_size=len(block.text) + 1
                ),
                parse_options=pacsv.ParseOptions(
                    delimiter=self._source.dialect.delimiter, newlines_in_values=True, invalid_row_handler=refuse
                ),
                convert_options=pacsv.ConvertOptions(
                    column_types=dict.fromkeys(self._header, pa.string()), strings_can_be_null=True, null_values=[""]
                ),
            )
        if rows.num_rows + len(refused) != block.records:
            raise StageError(
                f"{self._shown}: of {block.records} records {rows.num_rows} were read and {len(refused)} refused.",
                hint="Nothing of this file was ingested. This is an error of the platform; please report it.",
            )
        return rows, block.malformed(refused)

    def _check_malformed(self, size: int) -> None:
        if len(self.malformed) > MOST_MALFORMED or size > MOST_MALFORMED_BYTES:
            most = f"{MOST_MALFORMED}" if len(self.malformed) > MOST_MALFORMED else f"{MOST_MALFORMED_BYTES} bytes of"
            raise StageError(
                f"{self._shown} has more than {most} malformed lines, such as: {self.malformed[0].text[:200]}",
                hint="Nothing of this file was ingested. Has it the separator and the columns of this source?",
            )

    def _rescue(self, batch: pa.RecordBatch) -> pa.Array[Any]:
        if not self.added_columns:
            return pa.nulls(batch.num_rows, pa.string())
        rows = batch.select(self.added_columns).to_pylist()
        return pa.array([json.dumps(row, ensure_ascii=False) for row in rows], pa.string())

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except EncodingError as error:
            raise StageError(
                f"{self._shown} cannot be read as CSV: {error}.",
                hint=f"Nothing of this file was ingested. {error.hint}",
            ) from error
        except HeaderError as error:
            raise StageError(
                f"{self._shown} cannot be read as CSV: in its header, {error}.",
                hint=_HINT,
            ) from error
        except LineTooLongError as error:
            raise StageError(
                f"{self._shown} cannot be read as CSV: it has a line of more than {LONGEST // 1024**2} MB.",
                hint="Nothing of this file was ingested. Is it a file of lines? Move it out of the landing folder.",
            ) from error
        except (pa.ArrowInvalid, OSError, EOFError, lzma.LZMAError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise StageError(
                f"{self._shown} cannot be read as CSV: {reason}",
                hint=_HINT,
            ) from error


@contextmanager
def _uncompressed(file: BinaryIO, suffix: str) -> Iterator[Readable]:
    if suffix == _XZ:
        with lzma.open(file) as content:
            yield content
    elif suffix in _COMPRESSIONS:
        with pa.input_stream(cast("IOBase", file), compression=_COMPRESSIONS[suffix]) as content:
            yield content
    else:
        yield file


def _names(header: bytes, delimiter: str) -> list[str]:
    if not header:
        raise EOFError("Empty CSV file")
    # The parser wants the line's end.
    text = header + b"\n"
    with pacsv.open_csv(
        cast("IO[Any]", pa.BufferReader(text)),
        read_options=pacsv.ReadOptions(use_threads=False, block_size=len(text) + 1),
        parse_options=pacsv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
    ) as reader:
        return list(reader.schema.names)
