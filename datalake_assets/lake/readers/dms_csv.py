"""CSV as AWS DMS writes it: landed text as columns of text, piece by piece; lines that can't be read as rejects.

Belongs here: one file, as it is. What its rows mean is in `changes.py`; where records begin and end is told in
`csv_records.py`.
"""

import csv
import io
from collections.abc import Sequence

import polars as pl

from datalake_assets.lake.readers.csv_records import CsvText, Piece, Record
from datalake_assets.lake.readers.failures import UnreadableObjectError
from datalake_assets.lake.readers.file_rows import FileRows
from datalake_assets.lake.readers.rejects import Reject, oversized_line, rejected_line
from datalake_assets.lake.readers.unpack import unpack
from datalake_assets.lake.spec.dataset import OPERATION_COLUMN, CdcTable

_TEXT_TYPES = frozenset({"string", "json", "binary"})
_NOT_WELL_FORMED = (
    "csv: a quote or a carriage return stands where RFC 4180 has none, or a quoted field does not end; have DMS quote "
    "fields (Rfc4180=true) and land the object again"
)
_NOT_UTF_8 = "csv: the line is not UTF-8 text; land it as UTF-8"


class CsvPieces:
    """A CSV file, cut into pieces of about so many bytes: the same ones whenever it is read."""

    def __init__(
        self, data: bytes, dataset: CdcTable, *, limit: int, piece_bytes: int, longest: int, full_load: bool
    ) -> None:
        """Unpack the file and learn what its columns are.

        `limit` is how many bytes it may unpack to, `longest` how many a record may have. The first line of a headerless
        full load tells whether the operation is in it.

        Raises `UnreadableObjectError` for nothing at all, for damaged gzip, for text that unpacks to more than the
        limit, for a header that is none, or that the dataset file does not tell of, for text of which no line has a
        field for each column, and where the dataset does not say what CSV is.
        """
        if dataset.csv is None:
            raise UnreadableObjectError(
                "the object is CSV, and the dataset file does not say how to read it; add a `csv` part to it (see "
                f"docs/dms-files.md) and run `datalake rebuild {dataset.name}`"
            )
        unpacked = unpack(data, limit=limit)
        if unpacked.cut is not None:
            raise UnreadableObjectError(unpacked.cut)
        text = unpacked.data
        if not text:
            raise UnreadableObjectError("the object is empty, it has 0 bytes of text; land it again")
        self.ends_load: bool | None = None
        """CSV has no place to say whether it is the last of a full load."""
        self._dataset = dataset
        self._delimiter, self._null = dataset.csv.delimiter, dataset.csv.null_value
        self._longest = longest
        self._text = CsvText(text, delimiter=self._delimiter, longest=longest)
        self._columns: Sequence[str] = dataset.csv_columns
        begin = 0
        if dataset.csv.header:
            self._columns, begin = self._header()
        elif self._begins_with_names():
            raise UnreadableObjectError(
                "its first line holds the columns' names; write `header: true` in the `csv` part of the dataset file "
                f"and run `datalake rebuild {dataset.name}`, or have DMS write none (AddColumnName=false)"
            )
        elif full_load and OPERATION_COLUMN in self._columns and self._lacks_one():
            self._columns = [name for name in self._columns if name != OPERATION_COLUMN]
        self._check_fields(begin)
        self._pieces = self._text.pieces(piece_bytes, begin=begin)
        self.count = max(1, len(self._pieces))

    def check(self) -> None:
        """Nothing is left to be found out: a line that can't be read is no fault of its file."""

    def first(self, number: int) -> int:
        """The number of the first row of a piece; rows are counted from 1, a header is none."""
        return self._pieces[number].first if self._pieces else 1

    def read(self, number: int) -> FileRows:
        """A piece by its number from 0; all columns are text."""
        if not self._pieces:
            return FileRows(self._parsed(b""))
        piece = self._pieces[number]
        if piece.plain:
            try:
                return FileRows(self._parsed(self._text.text[piece.begin : piece.end]), piece.first)
            except ValueError:  # one of its lines is at fault: another number of fields, or no UTF-8
                pass
        return self._line_by_line(piece)

    def _line_by_line(self, piece: Piece) -> FileRows:
        """A piece of which some lines can't be read: the others are read as if these were not there."""
        good: list[bytes] = []
        numbers: list[int] = []
        rejects: list[Reject] = []
        for number, record in enumerate(self._text.records(piece.begin, piece.end), start=piece.first):
            line = self._text.text[record.begin : record.end]
            if len(line) > self._longest:
                rejects.append(oversized_line(number, line, limit=self._longest))
            elif fault := self._fault(record, line):
                rejects.append(rejected_line(number, line, (fault,)))
            else:
                good.append(line)
                numbers.append(number)
        return FileRows(self._parsed(b"\n".join(good)), piece.first, numbers, rejects)

    def _fault(self, record: Record, line: bytes) -> str | None:
        if not record.well_formed:
            return _NOT_WELL_FORMED
        if (found := self._text.fields(line)) != len(self._columns):
            return f"csv: the line has {found} fields, and the columns are {self._told_columns}"
        try:
            line.decode()
        except UnicodeDecodeError:
            return _NOT_UTF_8
        return None

    def _parsed(self, text: bytes) -> pl.DataFrame:
        """Well-formed records as columns of text. Raises `ValueError` for other records."""
        import pyarrow as pa  # here, as every process loads this module and few read a file
        from pyarrow import csv as arrow_csv

        names = list(self._columns)
        table = arrow_csv.read_csv(
            # An empty line comes first, which counts for nothing: a byte order mark that begins a piece is a value's.
            io.BytesIO(b"\n" + text + b"\n"),
            arrow_csv.ReadOptions(column_names=names, use_threads=False, block_size=len(text) + 3),
            arrow_csv.ParseOptions(delimiter=self._delimiter, newlines_in_values=True),
            arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                null_values=[self._null],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )
        frame = pl.DataFrame(table)
        return frame.with_columns(
            pl.when(pl.col(name) != "").then(pl.col(name)) for name in names if not self._is_text(name)
        )

    def _is_text(self, name: str) -> bool:
        """Whether nothing between two delimiters is a value of a column: an empty text. Elsewhere it is NULL."""
        if name in self._dataset.columns:
            return self._dataset.columns[name].lake_type.name in _TEXT_TYPES
        return name not in {OPERATION_COLUMN, self._dataset.timestamp_column}

    def _header(self) -> tuple[list[str], int]:
        """The names that the first line has, and where the next one begins."""
        names, after = self._first_fields()
        lacking = [name for name in self._dataset.key if name not in names]
        if not names or lacking or not all(names) or len(set(names)) < len(names):
            wrong = f"lacks the key {', '.join(lacking)}" if lacking else "has a name twice, or an empty one"
            raise UnreadableObjectError(
                f"its first line is no header, it {wrong}; have DMS write one (AddColumnName=true) and land the object "
                "again, or write `header: false` in the `csv` part of the dataset file"
            )
        return names, after

    def _first_fields(self) -> tuple[list[str], int]:
        """The fields of the first line, none where it can't be read, and where the next one begins."""
        record = next(self._text.records(), None)
        if record is None or not record.well_formed:
            return [], 0
        line = self._text.text[record.begin : record.end]
        try:
            return next(csv.reader(io.StringIO(line.decode(), newline=""), delimiter=self._delimiter), []), record.after
        except (UnicodeDecodeError, csv.Error):  # no text, or a field that is longer than any name
            return [], 0

    def _begins_with_names(self) -> bool:
        """Whether the first line is a header for sure: names of columns, each once, the key's among them.

        They are nothing but known ones, or all that are declared. One name alone may well be a value.
        """
        names, _ = self._first_fields()
        found, declared = set(names), {*self._dataset.columns}
        if not 1 < len(found) == len(names) or not found.issuperset(self._dataset.key):
            return False
        return found <= declared.union(self._dataset.csv_columns) or found >= declared

    @property
    def _told_columns(self) -> str:
        return (
            f"{len(self._columns)} ({', '.join(self._columns)}); mend `csv` in the dataset file where these are not "
            "those of the file"
        )

    def _check_fields(self, begin: int) -> None:
        """Refuse text that is another table's, or written otherwise: line by line it would be nothing but rejects."""
        for record in self._text.records(begin):
            line = self._text.text[record.begin : record.end]
            if record.well_formed and self._text.fields(line) == len(self._columns):
                return
        if next(self._text.records(begin), None) is not None:
            raise UnreadableObjectError(
                f"none of its lines has a field for each column; these are {self._told_columns}"
            )

    def _lacks_one(self) -> bool:
        """Whether the first line that can be read has one field less than there are columns."""
        for record in self._text.records():
            if record.well_formed:
                line = self._text.text[record.begin : record.end]
                return self._text.fields(line) == len(self._columns) - 1
        return False
