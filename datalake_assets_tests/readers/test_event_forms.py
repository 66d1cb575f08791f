"""Whatever records were put in, and however they stand there, they come out with the bytes that they had."""

import base64
import gzip
import io
import json
import random
import zipfile
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datalake_assets.lake.readers.batch import Limits
from datalake_assets_tests.readers.reading import Read
from datalake_assets_tests.streams import AT, ndjson, stream

RECORDS = [json.dumps({"id": f"{n}", "at": AT + n, "text": '} {"}{,[\n'}).encode() for n in range(3)]
LINES = b"\n".join(RECORDS)
PRETTY = [json.dumps(json.loads(record), indent=2).encode() for record in RECORDS]


def _packed(data: bytes) -> bytes:
    """Gzip without the time of now: names of tests are made of it."""
    return gzip.compress(data, mtime=0)


def zipped(*files: bytes, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """An archive of files."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        for n, file in enumerate(files):
            archive.writestr(zipfile.ZipInfo(f"folder/{n}.json"), file, method)
    return target.getvalue()


def block(data: bytes) -> bytes:
    """A bare block of Snappy."""
    return bytes(pa.Codec("snappy").compress(data, asbytes=True))


def counted(data: bytes) -> bytes:
    """Some bytes with their length before them."""
    return len(data).to_bytes(4, "big") + data


def chunk(kind: int, data: bytes) -> bytes:
    """A chunk of framed Snappy."""
    return bytes([kind]) + len(data).to_bytes(3, "little") + data


FRAMED = b"\xff\x06\x00\x00sNaPpY"
CHECKSUM = b"\0\0\0\0"
HALF = len(LINES) // 2
FORMS = {
    "lines": LINES,
    "lines that end with CRLF": LINES.replace(b"\n", b"\r\n"),
    "lines after a byte order mark, with blank ones": b"\xef\xbb\xbf\n" + LINES.replace(b"\n", b"\n \n\n") + b"\n",
    "one after the other": b"".join(RECORDS),
    "a space between": b" ".join(RECORDS),
    "two in a line": b"".join(RECORDS[:2]) + b"\n" + RECORDS[2],
    "an array": b"[" + b", ".join(RECORDS) + b"]",
    "an array over lines": b"[\n" + b",\n".join(RECORDS) + b"\n]\n",
    "arrays": b"[" + RECORDS[0] + b"][" + RECORDS[1] + b"]\n[" + RECORDS[2] + b"]",
    "gzip": _packed(LINES),
    "a member of gzip for each": b"".join(map(_packed, RECORDS)),
    "gzip in gzip": gzip.compress(b"".join(map(_packed, RECORDS))),
    "zip": zipped(LINES),
    "zip, not compressed": zipped(LINES, method=zipfile.ZIP_STORED),
    "a file in a zip for each": zipped(*RECORDS),
    "gzip in zip": zipped(_packed(LINES)),
    "gzip and text with a byte order mark in zip": zipped(
        _packed(RECORDS[0]), b"\xef\xbb\xbf" + RECORDS[1], RECORDS[2]
    ),
    "bare Snappy": block(LINES),
    "framed Snappy": FRAMED + chunk(0, CHECKSUM + block(LINES[:HALF])) + chunk(1, CHECKSUM + LINES[HALF:]),
    "framed Snappy with padding": FRAMED + chunk(0xFE, b"\0\0") + chunk(0, CHECKSUM + block(LINES)) + FRAMED,
    "Java's Snappy": b"\x82SNAPPY\x00" + b"\0\0\0\1" * 2 + counted(block(LINES[:HALF])) + counted(block(LINES[HALF:])),
    "Hadoop's Snappy": len(LINES).to_bytes(4, "big") + counted(block(LINES[:HALF])) + counted(block(LINES[HALF:])),
    "Hadoop's Snappy, twice": b"".join(
        len(part).to_bytes(4, "big") + counted(block(part)) for part in (LINES[:HALF], LINES[HALF:])
    ),
}
PRETTY_FORMS = {
    "pretty": b"\n".join(PRETTY),
    "pretty, with CRLF": b"\n".join(PRETTY).replace(b"\n", b"\r\n"),
    "pretty, one after the other": b"".join(PRETTY),
    "a pretty array": json.dumps([json.loads(record) for record in RECORDS], indent=4).encode(),
}


@pytest.mark.parametrize("form", FORMS)
def test_records_are_found_in_any_form_with_their_own_bytes(form: str) -> None:
    found = Read({"a": FORMS[form]}, dataset=stream(properties={"text": {"type": "string"}}))
    assert found.rejected == []
    assert [(row["id"], row["record_hash"]) for row in found.accepted] == [
        (f"{n}", sha256(record).hexdigest()) for n, record in enumerate(RECORDS)
    ]
    assert found.outcomes["a"].rows_out == 3


@pytest.mark.parametrize("form", PRETTY_FORMS)
def test_records_may_stand_over_several_lines(form: str) -> None:
    found = Read({"a": PRETTY_FORMS[form]}, dataset=stream(properties={"text": {"type": "string"}}))
    assert found.rejected == []
    assert [(row["id"], row["at"], row["text"]) for row in found.accepted] == [
        (f"{n}", AT + n, '} {"}{,[\n') for n in range(3)
    ]
    if form == "pretty":
        assert [row["record_hash"] for row in found.accepted] == [sha256(r).hexdigest() for r in PRETTY]


@pytest.mark.parametrize("form", [*FORMS, *PRETTY_FORMS])
def test_a_text_that_is_cut_off_keeps_what_was_whole_and_rejects_the_rest_once(form: str) -> None:
    data = (FORMS | PRETTY_FORMS)[form]
    if not data.lstrip(b"\xef\xbb\xbf[\n ").startswith(b"{"):
        return  # packed: below
    end = data.rindex(b'"at"') + 3
    found = Read({"a": data[:end]}, dataset=stream(properties={"text": {"type": "string"}}))
    assert [row["id"] for row in found.accepted] == ["0", "1"]
    (reject,) = found.rejected
    assert data[:end].endswith(reject["raw"].encode())
    assert reject["errors"][0].startswith("json: ")


@pytest.mark.parametrize("lost", [1, 4, 8, 9, 12, 30])
def test_of_gzip_that_is_cut_off_all_that_comes_out_is_read(lost: int) -> None:
    lines = ndjson([{"id": f"{n}", "at": AT + n * 7919 % 1000} for n in range(500)])
    data = gzip.compress(lines, mtime=0)[:-lost]
    found = Read({"a": data, "b": RECORDS[0]})
    kept = [row["id"] for row in found.accepted if row["source_filename"] == "a"]
    assert kept == [f"{n}" for n in range(len(kept))]
    assert len(kept) > 450
    (reject,) = found.rejected
    assert reject["errors"][-1] == ("object: gzip: it ends early; what comes before is kept, land the object again")
    assert lines.startswith(b"".join(lines.splitlines(keepends=True)[: len(kept)]) + reject["raw"].encode())
    outcome = found.outcomes["a"]
    assert (outcome.state, outcome.rows_out, outcome.rows_rejected) == ("processed", len(kept), 1)


@pytest.mark.parametrize(
    "broken",
    [
        '{\n  "id": "x",\n  "at": tru\n}',
        '{\n  "id": "x"\n  "at": 1\n}',
        '{\n  "id": "x",\n\n  "at": {\n    "a": \n  }\n}',
    ],
)
def test_a_damaged_record_over_several_lines_is_one_reject(broken: str) -> None:
    found = Read({"a": b"\n".join([PRETTY[0], broken.encode(), PRETTY[1], b"rubbish", PRETTY[2]])})
    assert [row["id"] for row in found.accepted] == ["0", "1", "2"]
    assert [row["raw"] for row in found.rejected] == [broken, "rubbish"]


def test_records_stand_in_an_envelope_that_the_dataset_declares() -> None:
    enveloped = stream(envelope="Records", properties={"text": {"type": "string"}})
    one = b'{"Records": [' + b" , ".join(RECORDS[:2]) + b'], "batch": {"Records": 3}}'
    other = b'{\n "Records": [\n' + RECORDS[2] + b"\n]\n}"
    for data in (one + b"\n" + other, one + other, b"[" + one + b"," + other + b"]", gzip.compress(one + other)):
        found = Read({"a": data}, dataset=enveloped)
        assert found.rejected == []
        assert [row["record_hash"] for row in found.accepted] == [sha256(r).hexdigest() for r in RECORDS]
        assert [row["id"] for row in found.accepted] == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("document", "rule"),
    [
        (b'{"Records": {"id": "1"}}', "required"),
        (b'{"records": []}', "required"),
        (b'{"Records": [{"id": "1", "at": 1}], "Rec\\u006frds": []}', "required"),
        (b'{"Records": [{"id": "1", "at": 1}], "Records": []}', "required"),
        (b'"Records"', "type"),
    ],
)
def test_what_is_no_such_envelope_is_a_reject(document: bytes, rule: str) -> None:
    found = Read({"a": b'{"Records": [' + RECORDS[0] + b"]}\n" + document}, dataset=stream(envelope="Records"))
    assert [row["id"] for row in found.accepted] == ["0"]
    (reject,) = found.rejected
    assert rule in reject["errors"][0]
    assert reject["row_number"] == 2


@pytest.mark.parametrize(
    ("tail", "whole", "raw"),
    [
        (b', {"id": "torn"', 2, '{"id": "torn"'),
        (b", tru]}", 2, "tru]}"),
        (b', {"id": }, ' + RECORDS[2] + b"]", 3, '{"id": }'),
        (b"", 2, ""),
        (b'], "x": }', 2, '"x": }'),
    ],
)
def test_of_an_envelope_that_is_damaged_the_records_that_are_whole_are_read(tail: bytes, whole: int, raw: str) -> None:
    found = Read({"a": b'{"Records": [' + RECORDS[0] + b"," + RECORDS[1] + tail}, dataset=stream(envelope="Records"))
    assert [row["id"] for row in found.accepted] == [f"{n}" for n in range(whole)]
    assert [row["raw"] for row in found.rejected] == ['{"Records": [', *([raw] if raw else [])]
    assert found.rejected[0]["errors"] == ["envelope: it is damaged; what is whole of its records is read"]


@pytest.mark.parametrize("keys", [{"envelope": "Records"}, {}])
def test_a_name_that_is_no_text_rejects_its_document_alone(keys: dict[str, Any]) -> None:
    good = b'{"Records": [' + RECORDS[0] + b"]}" if keys else RECORDS[0]
    bad = b'{"\xff": 1}'
    found = Read({"a": good + b"\n" + bad, ERRORS: b'{"rawData": "\xff"}\n' + aside(good)}, dataset=stream(**keys))
    assert [row["id"] for row in found.accepted] == ["0", "0"]
    assert sorted(row["raw_bytes"] for row in found.rejected) == [b'{"rawData": "\xff"}', b'{"\xff": 1}']


def test_log_events_of_cloudwatch_are_unpacked_and_its_trials_left_out() -> None:
    def message(kind: str, *events: dict[str, Any]) -> bytes:
        """What a subscription sends: gzip of a document."""
        document = {"messageType": kind, "owner": "1", "logGroup": "g", "logStream": "s", "logEvents": events}
        return gzip.compress(json.dumps(document).encode())

    trial = message("CONTROL_MESSAGE", {"id": "", "timestamp": 1, "message": "CWL CONTROL MESSAGE: Checking health"})
    logs = stream(
        envelope="logEvents",
        event_time={"column": "timestamp", "unit": "ms"},
        schema={
            "type": "object",
            "required": ["id", "timestamp", "message"],
            "properties": {"id": {"type": "string"}, "timestamp": {"type": "integer"}, "message": {"type": "string"}},
        },
    )
    sent = [message("DATA_MESSAGE", {"id": f"{n}", "timestamp": AT * 1000, "message": "GET {}{"}) for n in range(3)]
    for data in (b"".join([trial, *sent]), gzip.compress(b"".join([*sent, trial]))):
        found = Read({"a": data}, dataset=logs)
        assert found.rejected == []
        assert [(row["id"], row["message"]) for row in found.accepted] == [(f"{n}", "GET {}{") for n in range(3)]


def aside(raw: bytes | str | None, **fields: Any) -> bytes:
    """An entry of Firehose's error objects."""
    entry = {"attemptsMade": 4, "arrivalTimestamp": 1772359200000, "attemptEndingTimestamp": 1772359260000, **fields}
    if raw is not None:
        entry["rawData"] = base64.b64encode(raw).decode() if isinstance(raw, bytes) else raw
    return json.dumps(entry).encode()


LAMBDA = {"errorCode": "Lambda.FunctionError", "errorMessage": "it timed out", "lambdaArn": "arn:aws:lambda:x"}
CONVERSION = {"lastErrorCode": "DataFormatConversion.MalformedData", "lastErrorMessage": "no data"}
ERRORS = "firehose/clicks/processing-failed/2026/03/01/10/x"


@pytest.mark.parametrize(
    ("folder", "told", "reason"),
    [
        ("processing-failed", LAMBDA, "firehose: Lambda.FunctionError: it timed out"),
        ("format-conversion-failed", CONVERSION, "firehose: DataFormatConversion.MalformedData: no data"),
    ],
)
def test_what_firehose_put_aside_is_read_as_it_was_sent(folder: str, told: dict[str, Any], reason: str) -> None:
    bad = b'{"id": 1, "at": 1}'
    entries = [aside(RECORDS[0] + b"\n" + RECORDS[1] + b"\n", **told), aside(bad, **told), aside(RECORDS[2], **told)]
    for data in (b"\n".join(entries), gzip.compress(b"".join(entries))):
        key = f"firehose/clicks/{folder}/2026/03/01/10/clicks-1-2026-03-01-10-00-00-x"
        found = Read({key: data, "firehose/clicks/2026/03/01/10/a": RECORDS[0]})
        assert [row["id"] for row in found.accepted] == ["0", "1", "2", "0"]
        assert found.accepted[1]["record_hash"] == sha256(RECORDS[1]).hexdigest()
        (reject,) = found.rejected
        assert reject["raw"] == bad.decode()
        assert reject["errors"] == ['/id type: 1 is not of type "string"', reason]
        assert found.outcomes[key].rows_in == 4


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (aside(None, **LAMBDA), "firehose: an object of errors has entries with one text `rawData`; this is none"),
        (b"rubbish", "firehose: an object of errors has entries with one text `rawData`; this is none"),
        (RECORDS[1], "firehose: an object of errors has entries with one text `rawData`; this is none"),
        (aside("*", **LAMBDA), "firehose: Lambda.FunctionError: it timed out; its rawData can't be read: "),
        (aside(_packed(b"")[:9]), "firehose: no code: no message; its rawData can't be read: gzip: "),
        (aside(b" \n"), "firehose: no code: no message"),
        (aside("é"), "firehose: no code: no message; its rawData can't be read: "),
        (b'{"rawData": "YQ==", "rawData": "YQ=="}', "firehose: an object of errors has entries with one text"),
    ],
)
def test_an_entry_without_a_record_is_one_reject_with_firehoses_reason(entry: bytes, reason: str) -> None:
    found = Read({ERRORS: b"\n".join([aside(RECORDS[0]), entry, aside(RECORDS[2])])})
    assert [row["id"] for row in found.accepted] == ["0", "2"]
    (reject,) = found.rejected
    assert (reject["raw"], reject["row_number"]) == (entry.decode(), 2)
    (error,) = reject["errors"]
    assert error.startswith(reason)


def test_an_entry_whose_gzip_is_cut_off_gives_what_was_whole_and_is_a_reject_besides() -> None:
    entry = aside(gzip.compress(LINES, mtime=0)[:-8], **LAMBDA)
    found = Read({ERRORS: entry})
    assert [row["id"] for row in found.accepted] == ["0", "1", "2"]
    (reject,) = found.rejected
    assert (reject["raw"], reject["row_number"]) == (entry.decode(), 4)
    assert "its rawData is not whole: gzip: it ends early" in reject["errors"][0]


def test_a_record_put_aside_that_a_check_on_columns_rejects_has_firehoses_reason_too() -> None:
    strict = stream(properties={"day": {"type": "string", "format": "date"}})
    bad = json.dumps({"id": "1", "at": AT, "day": "2026-02-30"}).encode()
    found = Read({ERRORS: b"".join(aside(raw, **LAMBDA) for raw in (RECORDS[0], bad, RECORDS[2]))}, dataset=strict)
    (reject,) = found.rejected
    assert reject["errors"][1:] == ["firehose: Lambda.FunctionError: it timed out"]
    assert "date" in reject["errors"][0]


def parquet(frame: pl.DataFrame) -> bytes:
    """A Parquet file."""
    target = io.BytesIO()
    frame.write_parquet(target, compression="snappy")
    return target.getvalue()


def test_events_that_firehose_converted_to_parquet_are_read() -> None:
    converted = stream(
        properties={
            "seenAt": {"type": "string", "format": "date-time"},
            "amount": {"type": "number", "x-lake-type": "decimal(12,2)"},
            "payload": {"type": "object"},
            "day": {"type": "string", "x-lake-type": "date"},
        }
    )
    frame = pl.DataFrame(
        {
            "id": ["a", "b", "c"],
            "at": [AT, AT, None],
            "seenat": [datetime(2026, 3, 1, 10, 0, 0, 123, tzinfo=UTC), None, None],
            "amount": [Decimal("12.50"), None, None],
            "payload": [{"x": [1, None], "y": None}, {"x": [], "y": "é"}, None],
            "day": [datetime(2026, 3, 1, tzinfo=UTC).date(), None, None],
            "extra": [1.5, None, None],
        }
    )
    found = Read({"a": parquet(frame)}, dataset=converted)
    assert [
        (r["id"], r["seenAt"], r["amount"], r["payload"], str(r["day"]), r["_unknown"]) for r in found.accepted
    ] == [
        ("a", "2026-03-01T10:00:00.000123Z", Decimal("12.50"), '{"x":[1,null]}', "2026-03-01", '{"extra":1.5}'),
        ("b", None, None, '{"x":[],"y":"é"}', "None", None),
    ]
    (reject,) = found.rejected
    assert (reject["raw"], reject["row_number"]) == ('{"id":"c"}', 3)


@pytest.mark.parametrize("seed", range(20))
def test_no_damage_to_parquet_ends_the_process(seed: int) -> None:
    """Polars aborts over some of these: nothing catches that."""
    chosen = random.Random(seed)
    data = bytearray(parquet(pl.DataFrame({"id": [f"{n}" for n in range(9)], "at": [AT] * 9})))
    for _ in range(chosen.choice([1, 2, 5])):
        data[chosen.randrange(4, len(data) - 4)] = chosen.randrange(256)
    found = Read({"bad": bytes(data), "good": RECORDS[0]})
    assert "good" in found.files


def test_parquet_that_is_damaged_or_unpacks_to_too_much_fails_for_good() -> None:
    data = parquet(pl.DataFrame({"id": ["a" * 1000] * 100_000, "at": [AT] * 100_000}))
    found = Read({"cut": data[:-9], "large": data}, limits=Limits(object_bytes=1_000_000))
    assert [found.outcomes[key].final for key in ("cut", "large")] == [True, True]
    assert (found.outcomes["cut"].error or "").startswith("not readable as Parquet: ")
    assert (found.outcomes["large"].error or "").startswith("unpacks to more than 1,000,000 bytes")


SPACE = b" " * 3_000_000


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (zipped(LINES)[:-30], "zip: "),
        (zipped(LINES) + zipped(LINES), "zip: something else stands beside it"),
        (zipped(LINES) + RECORDS[0], "zip: something else stands beside it"),
        (zipped(zipped(LINES) + zipped(LINES)), "zip: something else stands beside it"),
        (zipped(LINES)[:40] + b"\0" * 30 + zipped(LINES)[70:], "zip: "),
        (FRAMED + chunk(0, CHECKSUM + block(LINES))[:-3], "Snappy: it ends early"),
        (FRAMED + chunk(0, CHECKSUM + block(LINES)[:-3]), "Snappy: a block is damaged"),
        (FRAMED + chunk(2, b""), "Snappy: there is no chunk of the kind 0x02"),
        (b"\x82SNAPPY\x00" + b"\0\0\0\1" * 2 + b"\0\0\1\0abc", "Snappy: it ends early"),
    ],
)
def test_what_is_packed_and_damaged_fails_for_good(data: bytes, told: str) -> None:
    found = Read({"a": data, "b": RECORDS[0]})
    assert found.outcomes["a"].final
    assert (found.outcomes["a"].error or "").startswith(told)
    assert [row["id"] for row in found.accepted] == ["0"]


@pytest.mark.parametrize("data", [zipped(SPACE), FRAMED + chunk(0, CHECKSUM + block(SPACE)), block(SPACE)])
def test_of_what_is_packed_no_more_is_unpacked_than_the_limit(data: bytes) -> None:
    found = Read({"a": data}, limits=Limits(object_bytes=1_000_000))
    assert (found.outcomes["a"].error or "").startswith("unpacks to more than 1,000,000 bytes; ")


BEGINNINGS = [b"\0", b"\xff", b"\x80", FRAMED, b"\x82SNAPPY\0", b"PK\3\4", b"PAR1", b"\x1f\x8b", b"[{", b"{\n "]


@given(data=st.binary(max_size=60), begin=st.sampled_from(BEGINNINGS))
def test_no_bytes_stop_the_reader(data: bytes, begin: bytes) -> None:
    found = Read({"a": begin + data, ERRORS: begin + data, "b": RECORDS[0]})
    assert "b" in found.files
