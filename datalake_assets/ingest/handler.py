"""The ingest API: one handler for API Gateway's HTTP API (payload 2.0), in AWS Lambda and in the local server alike.

Belongs here: routes and answers. Reading a body is in `body.py` and `records.py`, judging a record in `contract.py`,
and where it goes is told by a `Sink`.
"""

import json
import math
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from datalake_assets.ingest.body import RefusedError, body_text
from datalake_assets.ingest.contract import Reason
from datalake_assets.ingest.records import NotJsonError, Record, TooManyRecordsError, records_of
from datalake_assets.ingest.sink import Failure, Sink, record_id
from datalake_assets.ingest.sources import Source

Event = Mapping[str, Any]
Answer = dict[str, Any]
"""What API Gateway makes an HTTP response of: `statusCode`, `headers`, `body`."""

Handler = Callable[[Event, Any], Awaitable[Answer]]

MOST_RECORDS = 5_000
"""The most records of a request: what is answered about each must fit into an answer of 6 MB."""

_MOST_TOLD_IN_FULL = 500
"""So many rejected records are told all their reasons, the others their first."""
_MARGIN_SECONDS = 1.0
_RETRY_SECONDS = 2
_INGEST = re.compile(r"/ingest/([^/]+)")
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


@dataclass(slots=True)
class _Verdicts:
    """What became of the records of a request so far, by their index."""

    good: list[Record] = field(default_factory=list)
    accepted: list[dict[str, Any]] = field(default_factory=list)
    rejected: list[dict[str, Any]] = field(default_factory=list)
    failed: list[dict[str, Any]] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    def reject(self, index: int, reasons: list[Reason]) -> None:
        told = reasons if len(self.rejected) < _MOST_TOLD_IN_FULL else reasons[:1]
        self.rejected.append({"index": index, "errors": [reason._asdict() for reason in told]})


def build_handler(sources: Mapping[str, Source], sinks: Mapping[str, Sink]) -> Handler:
    """The handler over some sources, each with the sink of its name.

    `POST /ingest/{source}` takes a JSON record or an array of them, `GET /health` says that somebody is there.
    It raises nothing that a request could cause.
    """

    async def handle(event: Event, context: Any) -> Answer:
        try:
            source = _route(event, sources)
            if source is None:
                return _answer(HTTPStatus.OK, {"status": "ok"})
            verdicts = _judged(event, source)
            await _put(verdicts, sinks[source.name], deadline=_deadline(context))
        except RefusedError as refused:
            return _answer(refused.status, {"error": str(refused)}, refused.headers)
        return _told(source, verdicts)

    return handle


def _route(event: Event, sources: Mapping[str, Source]) -> Source | None:
    """The source that a request is for; None for a look at the API's health. Raises `RefusedError`."""
    request = event.get("requestContext") or {}
    method = str((request.get("http") or {}).get("method", "GET")).upper()
    path = str(event.get("rawPath", "/"))
    stage = request.get("stage", "$default")
    if stage != "$default":  # which API Gateway leaves in the path
        path = path.removeprefix(f"/{stage}")
    if path == "/health":
        if method not in {"GET", "HEAD"}:
            raise RefusedError(HTTPStatus.METHOD_NOT_ALLOWED, "ask for /health by GET", allow="GET, HEAD")
        return None
    match = _INGEST.fullmatch(path)
    if match is None:
        raise RefusedError(HTTPStatus.NOT_FOUND, "nothing is here; records are sent to POST /ingest/{source}")
    if match[1] not in sources:
        # Known names are not told: whoever may not know them should not learn them by guessing wrong once.
        sentence = "no such source; a source has the name of its dataset"
        raise RefusedError(HTTPStatus.NOT_FOUND, sentence)
    if method != "POST":
        raise RefusedError(HTTPStatus.METHOD_NOT_ALLOWED, "records are sent by POST", allow="POST")
    return sources[match[1]]


def _judged(event: Event, source: Source) -> _Verdicts:
    """The records of a request by their contract. Raises `RefusedError` where they can't be told apart."""
    try:
        records = records_of(body_text(event), most=MOST_RECORDS)
    except NotJsonError as error:
        sentence = f"the body is neither a JSON record nor an array of them: {error}"
        raise RefusedError(HTTPStatus.BAD_REQUEST, sentence) from None
    except TooManyRecordsError:
        sentence = f"more than {MOST_RECORDS:,} records; send fewer at once"
        raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, sentence) from None
    if not records:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "the array is empty; send at least one record")
    verdicts = _Verdicts()
    for record in records:
        reasons = [record.reason] if record.reason else source.reasons(record.value)
        if reasons:
            verdicts.reject(record.index, reasons)
        else:
            verdicts.good.append(record)
    return verdicts


async def _put(verdicts: _Verdicts, sink: Sink, *, deadline: float) -> None:
    """Put the good records; only what the sink says is durable is acknowledged."""
    if not verdicts.good:
        return
    outcomes = await sink.put([record.data for record in verdicts.good], deadline=deadline)
    for record, failure in zip(verdicts.good, outcomes, strict=True):
        if failure is None:
            verdicts.accepted.append({"index": record.index, "id": record_id(record.data)})
        else:
            verdicts.failures.append(failure)
            verdicts.failed.append({"index": record.index, "error": failure.message, "retry": not failure.is_final})


def _told(source: Source, verdicts: _Verdicts) -> Answer:
    """The answer: 202 where anything was accepted, else what the sender should do about the whole request."""
    body = {
        "source": source.name,
        "accepted": verdicts.accepted,
        "rejected": verdicts.rejected,
        "failed": verdicts.failed,
    }
    failures = verdicts.failures
    if verdicts.accepted:
        return _answer(HTTPStatus.ACCEPTED, body)
    if not failures:
        return _answer(HTTPStatus.BAD_REQUEST, {"error": "no record keeps the contract", **body})
    if all(failure.is_too_large for failure in failures):
        error = "no record is small enough" if not verdicts.rejected else "what keeps the contract is too large"
        return _answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {"error": error, **body})
    retry = {"retry-after": str(_RETRY_SECONDS)}
    if any(failure.is_throttled for failure in failures):
        error = "too many records at the moment; nothing of this request was taken, send it again later"
        return _answer(HTTPStatus.TOO_MANY_REQUESTS, {"error": error, **body}, retry)
    if all(failure.is_final for failure in failures):
        error = "nothing of this request was taken, as the API is not set up to put it anywhere; tell its owner"
        return _answer(HTTPStatus.INTERNAL_SERVER_ERROR, {"error": error, **body})
    error = "nothing of this request was taken; send it again later"
    return _answer(HTTPStatus.SERVICE_UNAVAILABLE, {"error": error, **body}, retry)


def _answer(status: HTTPStatus, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Answer:
    return {
        "statusCode": int(status),
        "headers": {"content-type": "application/json", **(headers or {})},
        "body": _ENCODER.encode(body),
    }


def _deadline(context: Any) -> float:
    """When an answer must be under way, by `time.monotonic`; never where there is no Lambda to end."""
    if context is None:
        return math.inf
    seconds: float = context.get_remaining_time_in_millis() / 1000
    return time.monotonic() + seconds - _MARGIN_SECONDS
