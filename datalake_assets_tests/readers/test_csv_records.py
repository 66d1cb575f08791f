"""Where records of CSV begin and end, and their values: as they were written, in pieces of any size, also if broken."""

from hypothesis import assume, given
from hypothesis import strategies as st

from datalake_assets.lake.readers.csv_records import CsvText
from datalake_assets.lake.readers.dms_csv import CsvPieces
from datalake_assets.lake.spec.dataset import CdcTable
from datalake_assets_tests.readers.conftest import ARTICLES

TWO_TEXTS = CdcTable.model_validate(
    ARTICLES
    | {"key": ["a"], "columns": {"a": {"type": "string"}, "b": {"type": "string"}}, "csv": {"columns": ["a", "b"]}}
    | {"event_time": None, "order_by": [], "timestamp_column": None}
)
FIELDS = st.text(st.sampled_from('a," \r\né\x00\ufeffNUL'), max_size=6)
ROWS = st.lists(st.lists(FIELDS, min_size=2, max_size=3), max_size=8)
BYTES = st.binary(max_size=40) | st.text(st.sampled_from('a,"\r\n'), max_size=40).map(str.encode)


def written(rows: list[list[str]], end: str) -> bytes:
    """The rows as DMS writes them: a field with a quote, a delimiter or any part of a line end stands in quotes."""
    return "".join(",".join(map(field, row)) + end for row in rows).encode()


def field(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if set(text) & set('",\r\n') or text in {"", "NULL"} else text


def records(text: CsvText) -> list[bytes]:
    return [text.text[r.begin : r.end] for r in text.records()]


@given(ROWS, st.sampled_from(["\n", "\r\n"]))
def test_records_are_those_that_were_written(rows: list[list[str]], end: str) -> None:
    text = CsvText(written(rows, end), delimiter=",", longest=1_000)
    assert all(record.well_formed for record in text.records())
    assert records(text) == [written([row], "") for row in rows]
    assert [text.fields(record) for record in records(text)] == [len(row) for row in rows]


@given(
    st.lists(st.tuples(FIELDS, FIELDS | st.none())), st.sampled_from(["\n", "\r\n"]), st.integers(1, 60), st.booleans()
)
def test_values_are_those_that_were_written(
    rows: list[tuple[str, str | None]], end: str, size: int, broken: bool
) -> None:
    """The library that reads the fields gives them to the byte, be it whole pieces or the good lines of one."""
    lines = [f"{field(a)},{'NULL' if b is None else field(b)}{end}" for a, b in rows]
    bad = [f'"a"b,c{end}'] if broken else []
    data = "".join([*bad, *lines]).encode()
    assume(rows and not data.startswith(b"\xef\xbb\xbf"))  # at the beginning of a file it is no value's
    file = CsvPieces(data, TWO_TEXTS, limit=10_000, piece_bytes=size, longest=10_000, full_load=False)
    read = [file.read(number) for number in range(file.count)]
    assert [row for piece in read for row in piece.frame.rows()] == rows
    assert [r.raw for piece in read for r in piece.rejects] == [line.removesuffix(end) for line in bad]


@given(BYTES, st.integers(1, 50))
def test_pieces_hold_the_records_of_the_whole_whatever_their_size(data: bytes, size: int) -> None:
    text = CsvText(data, delimiter=",", longest=1_000)
    whole = list(text.records())
    pieces = text.pieces(size)
    assert [record for piece in pieces for record in text.records(piece.begin, piece.end)] == whole
    numbers = [n for p in pieces for n, _ in enumerate(text.records(p.begin, p.end), start=p.first)]
    assert numbers == list(range(1, len(whole) + 1))
    for piece in pieces:
        if piece.plain:
            assert all(record.well_formed for record in text.records(piece.begin, piece.end))


@given(BYTES)
def test_nothing_of_a_broken_text_is_in_no_record(data: bytes) -> None:
    text = CsvText(data, delimiter=",", longest=1_000)
    outside, place = b"", 0
    for record in text.records():
        outside += data[place : record.begin] + data[record.end : record.after]
        place = record.after
    assert not (outside + data[place:]).strip(b"\r\n")
