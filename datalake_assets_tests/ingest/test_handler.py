"""The ingest API's handler: what it takes, what it says of each record, and what it never does."""

import gzip
import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datalake_assets.ingest.body import MOST_BYTES
from datalake_assets.ingest.handler import MOST_RECORDS
from datalake_assets.ingest.sink import Failure
from datalake_assets_tests.ingest.requests import Remembering, answer, api, click, event

_BUSY = Failure("the stream is too busy", is_throttled=True)
_LARGE = Failure("too large", is_final=True, is_too_large=True)
_LATE = Failure("not in time")
_WRONG = Failure("not set up", is_final=True)


def _id(record: bytes) -> str:
    return hashlib.sha256(record).hexdigest()


def test_one_record_is_taken_and_acknowledged_by_its_hash() -> None:
    sink = Remembering()
    sent = '{"id": "a", "at": 1,  "amount": 1.10}'
    status, told = answer(api(sink), event(sent))
    assert status == 202
    assert told == {
        "source": "clicks",
        "accepted": [{"index": 0, "id": _id(sent.encode())}],
        "rejected": [],
        "failed": [],
    }
    assert sink.records == [sent.encode()]


def test_each_record_of_an_array_has_its_own_verdict() -> None:
    sink = Remembering()
    records = [click(1), click(2, amount=-3), "three", click(4), {}]
    status, told = answer(api(sink), event(json.dumps(records)))
    assert status == 202
    assert [a["index"] for a in told["accepted"]] == [0, 3]
    assert told["rejected"][0] == {
        "index": 1,
        "errors": [{"pointer": "/amount", "rule": "minimum", "message": "-3 is less than the minimum of 0"}],
    }
    assert [r["index"] for r in told["rejected"]] == [1, 2, 4]
    assert [json.loads(r) for r in sink.records] == [click(1), click(4)]


def test_an_envelope_is_refused_by_its_records() -> None:
    """Its id was told, and in silver stood what was within, or nothing."""
    sink = Remembering()
    bodies = [{"at": 1, "Records": []}, {"Records": [{"at": 2}]}, {"at": 3, "Records": {"at": 4}}]
    status, told = answer(api(sink), event(json.dumps(bodies), path="/ingest/logs"))
    assert status == 202
    assert [r["index"] for r in told["rejected"]] == [0, 1]
    assert told["rejected"][0]["errors"][0]["rule"] == "envelope"
    assert [json.loads(r) for r in sink.records] == bodies[2:]


def test_the_bytes_of_a_record_are_put_as_they_were_sent() -> None:
    sink = Remembering()
    odd = ['{"at":1, "id" : "\\u00e9\\/é😀", "amount":1.00000000000000000000001}', '{"id":"b","at":1E2,"id":"c"}']
    status, _ = answer(api(sink), event(f" [ {odd[0]} ,\r\n{odd[1]}]\n"))
    assert status == 202
    assert sink.records == [text.encode() for text in odd]


def test_a_record_over_several_lines_is_put_as_one_line() -> None:
    sink = Remembering()
    status, told = answer(api(sink), event('{\r\n  "id": "a\\n",\n\t"at": 1\n}'))
    assert status == 202
    assert sink.records == [b'{\r   "id": "a\\n", \t"at": 1 }']
    assert told["accepted"][0]["id"] == _id(sink.records[0])


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", ""])
def test_bodies_in_base64_and_gzip_are_unpacked(encoding: str) -> None:
    sink = Remembering()
    body = json.dumps([click(1)]).encode()
    packed = gzip.compress(body[:5]) + gzip.compress(body[5:]) if encoding else b"\xef\xbb\xbf" + body
    status, _ = answer(api(sink), event(packed, content_encoding=encoding))
    assert status == 202
    assert [json.loads(r) for r in sink.records] == [click(1)]


@pytest.mark.parametrize("content_type", ["application/json; charset=UTF-8", "application/vnd.x+json", "TEXT/JSON", ""])
def test_types_of_json_are_taken(content_type: str) -> None:
    status, _ = answer(api(), event(json.dumps(click(1)), content_type=content_type))
    assert status == 202


@pytest.mark.parametrize(
    ("headers", "word"),
    [
        ({"content_type": "application/x-www-form-urlencoded"}, "application/json"),
        ({"content_type": "text/plain"}, "application/json"),
        ({"content_type": "application/json; charset=latin-1"}, "UTF-8"),
        ({"content_encoding": "br"}, "gzip"),
    ],
)
def test_what_is_no_json_by_its_headers_is_415(headers: dict[str, str], word: str) -> None:
    status, told = answer(api(), event(json.dumps(click(1)), **headers))
    assert status == 415
    assert word in told["error"]


@pytest.mark.parametrize(
    "body",
    [
        None,
        "",
        " ",
        "{",
        "[",
        '[{"id": "a", "at": 1}',
        '[{"id": "a", "at": 1},]',
        '{"id": "a", "at": 1} {"id": "b", "at": 1}',
        '[{"id": "a", "at": NaN}]',
        '{"at": ' + "1" * 5_000 + ", }",
        '{"at": ' + "1" * 5_000 + ', "id": ' + "[" * 100_000,
        "[]",
        "[" * 100_000,
        b"\xff",
        '{"id": "\ud800", "at": 1}',
    ],
)
def test_what_is_no_json_is_400_and_nothing_of_it_is_put(body: str | bytes | None) -> None:
    sink = Remembering()
    status, told = answer(api(sink), event(body))
    assert status == 400
    assert told["error"]
    assert sink.records == []


@pytest.mark.parametrize(
    "packed", [b"no gzip", gzip.compress(b'{"id":"a","at":1}', mtime=0)[:-3], gzip.compress(b"{}", mtime=0) + b"x"]
)
def test_damaged_gzip_is_400(packed: bytes) -> None:
    status, told = answer(api(), event(packed, content_encoding="gzip"))
    assert status == 400
    assert "gzip" in told["error"]


def test_damaged_base64_is_400() -> None:
    status, _ = answer(api(), event("x") | {"isBase64Encoded": True, "body": "?"})
    assert status == 400


def test_a_request_without_a_good_record_is_400_with_the_reasons() -> None:
    sink = Remembering()
    status, told = answer(api(sink), event("[1, {}]"))
    assert status == 400
    assert [r["index"] for r in told["rejected"]] == [0, 1]
    assert sink.records == []


def test_fields_that_a_contract_refuses_are_told() -> None:
    status, told = answer(api(), event('{"at": 1, "new": 2}', path="/ingest/readings"))
    assert status == 400
    assert told["rejected"][0]["errors"][0]["rule"] == "unknown_fields"


@pytest.mark.parametrize("text", ['{"id":"\\ud800","at":1}', '{"id":"a","at":1,"deep":' + "[" * 250 + "]" * 250 + "}"])
def test_a_record_that_no_reader_could_hold_is_rejected(text: str) -> None:
    status, told = answer(api(), event(f"[{text}]"))
    assert status == 400
    assert told["rejected"][0]["errors"][0]["rule"] == "json"


@pytest.mark.parametrize("path", ["/", "/ingest", "/ingest/", "/ingest/clicks/", "/ingest/clicks/x", "/other"])
def test_other_paths_are_404(path: str) -> None:
    assert answer(api(), event("{}", path=path))[0] == 404


def test_an_unknown_source_is_404_and_no_other_is_named() -> None:
    status, told = answer(api(), event("{}", path="/ingest/clcks"))
    assert status == 404
    assert "clicks" not in told["error"]
    assert "readings" not in told["error"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"), [("GET", "/ingest/clicks", "POST"), ("POST", "/health", "GET, HEAD")]
)
def test_other_methods_are_405_and_told_the_right_one(method: str, path: str, allowed: str) -> None:
    status, told = answer(api(), event(method=method, path=path))
    assert status == 405
    assert told["allow"] == allowed


def test_health_is_told_also_behind_a_stage() -> None:
    assert answer(api(), event(method="GET", path="/health")) == (200, {"status": "ok"})
    assert answer(api(), event(method="GET", path="/prod/health", stage="prod")) == (200, {"status": "ok"})
    assert answer(api(), event(json.dumps(click(1)), path="/prod/ingest/clicks", stage="prod"))[0] == 202


@pytest.mark.parametrize("packed", [False, True])
def test_a_body_that_is_too_large_is_413_whatever_it_is_packed_in(packed: bool) -> None:
    body = b'{"id":"' + b"a" * MOST_BYTES + b'","at":1}'
    request = event(gzip.compress(body * 5), content_encoding="gzip") if packed else event(body)
    status, told = answer(api(), request)
    assert status == 413
    assert f"{MOST_BYTES:,}" in told["error"]


def test_more_records_than_an_answer_could_tell_of_are_413() -> None:
    status, _ = answer(api(), event(json.dumps([1] * (MOST_RECORDS + 1))))
    assert status == 413
    status, told = answer(api(), event(json.dumps([{"id": "", "amount": "x"}] * MOST_RECORDS)))
    assert status == 400
    assert len(told["rejected"]) == MOST_RECORDS
    assert len(json.dumps(told)) < 5_000_000


def test_only_what_was_put_is_acknowledged() -> None:
    status, told = answer(api(Remembering(n0=_BUSY, n2=_LARGE)), event(json.dumps([click(n) for n in range(4)])))
    assert status == 202
    assert [a["index"] for a in told["accepted"]] == [1, 3]
    assert told["failed"] == [
        {"index": 0, "error": "the stream is too busy", "retry": True},
        {"index": 2, "error": "too large", "retry": False},
    ]


@pytest.mark.parametrize(
    ("failures", "expected", "retry"),
    [
        ((_BUSY, _BUSY), 429, "2"),
        ((_BUSY, _LATE), 429, "2"),
        ((_LATE, _LATE), 503, "2"),
        ((_LATE, _WRONG), 503, "2"),
        ((_WRONG, _WRONG), 500, None),
        ((_LARGE, _LARGE), 413, None),
    ],
)
def test_a_request_of_which_nothing_was_put_says_whether_to_send_it_again(
    failures: tuple[Failure, Failure], expected: int, retry: str | None
) -> None:
    sink = Remembering(n0=failures[0], n1=failures[1])
    status, told = answer(api(sink), event(json.dumps([click(1), {}, click(2)])))
    assert (status, told.get("retry-after")) == (expected, retry)
    assert told["accepted"] == []
    assert [f["index"] for f in told["failed"]] == [0, 2]
    assert [r["index"] for r in told["rejected"]] == [1]


_FIELDS = st.dictionaries(st.text(max_size=3), st.none() | st.integers() | st.text(max_size=4), max_size=2)


@given(
    records=st.lists(_FIELDS | st.builds(click, st.integers(0, 9)), min_size=1, max_size=6),
    indent=st.sampled_from([None, 0, 2]),
    is_ascii=st.booleans(),
)
def test_every_record_is_accepted_or_rejected_once_and_what_is_put_is_what_was_accepted(
    records: list[dict[str, object]], indent: int | None, is_ascii: bool
) -> None:
    sink = Remembering()
    _, told = answer(api(sink), event(json.dumps(records, indent=indent, ensure_ascii=is_ascii)))
    accepted = [a["index"] for a in told["accepted"]]
    assert sorted(accepted + [r["index"] for r in told["rejected"]]) == list(range(len(records)))
    assert [json.loads(r) for r in sink.records] == [records[n] for n in accepted]
    assert [a["id"] for a in told["accepted"]] == [_id(r) for r in sink.records]
    assert all(b"\n" not in r for r in sink.records)


@given(body=st.binary(max_size=40), encoding=st.sampled_from(["", "gzip"]))
def test_no_body_makes_it_raise(body: bytes, encoding: str) -> None:
    status, _ = answer(api(), event(body, content_encoding=encoding))
    assert 400 <= status < 500
