"""Requests as API Gateway tells them, sources of two kinds, and a sink that remembers."""

import asyncio
import base64
import json
from collections.abc import Sequence
from typing import Any

from datalake_assets.ingest.handler import Handler, build_handler
from datalake_assets.ingest.sink import Failure
from datalake_assets.ingest.sources import Source, sources_of

DECLARED: dict[str, dict[str, Any]] = {
    "clicks": {
        "schema": {
            "type": "object",
            "required": ["id", "at"],
            "properties": {
                "id": {"type": "string", "minLength": 1},
                "at": {"type": "integer"},
                "amount": {"type": "number", "minimum": 0},
            },
        },
        "needed": ["at", "id"],
        "unknown_fields": "keep",
        "envelope": None,
        "prefix": "firehose/clicks",
        "stream": "clicks",
    },
    "readings": {
        "schema": {"type": "object", "properties": {"at": {"type": "integer"}}},
        "needed": ["at"],
        "unknown_fields": "reject",
        "envelope": None,
        "prefix": "api/readings",
        "stream": None,
    },
    "logs": {
        "schema": {"type": "object", "properties": {"at": {"type": "integer"}}},
        "needed": ["at"],
        "unknown_fields": "keep",
        "envelope": "Records",
        "prefix": "firehose/logs",
        "stream": "logs",
    },
}


def sources() -> dict[str, Source]:
    """The sources: `clicks` has a stream, `readings` has none, `logs` has an envelope."""
    return sources_of(DECLARED)


def click(n: int, **fields: Any) -> dict[str, Any]:
    """A record that the contract of `clicks` accepts."""
    return {"id": f"c{n}", "at": 1_767_225_600 + n, **fields}


class Remembering:
    """A sink that keeps what it is given, but for records that `fails` has a failure for, by their order."""

    def __init__(self, **fails: Failure) -> None:
        self.records: list[bytes] = []
        self.fails = {int(n[1:]): failure for n, failure in fails.items()}

    async def put(self, records: Sequence[bytes], *, deadline: float) -> Sequence[Failure | None]:  # noqa: ARG002
        outcomes = [self.fails.get(n) for n in range(len(records))]
        self.records += [r for r, failure in zip(records, outcomes, strict=True) if failure is None]
        return outcomes


class Context:
    """Lambda's context: how many milliseconds are left."""

    def __init__(self, milliseconds: int = 30_000) -> None:
        self.milliseconds = milliseconds

    def get_remaining_time_in_millis(self) -> int:
        return self.milliseconds


def event(
    body: str | bytes | None = None,
    *,
    path: str = "/ingest/clicks",
    method: str = "POST",
    stage: str = "$default",
    **headers: str,
) -> dict[str, Any]:
    """A request; bytes are sent as the gateway sends them, in Base64. Headers as keywords, `_` for `-`."""
    told = {"content-type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
    is_bytes = isinstance(body, bytes)
    return {
        "version": "2.0",
        "rawPath": path,
        "headers": {name: value for name, value in told.items() if value},
        "requestContext": {"http": {"method": method, "path": path}, "stage": stage},
        **({} if body is None else {"body": base64.b64encode(body).decode() if isinstance(body, bytes) else body}),
        "isBase64Encoded": is_bytes,
    }


def api(sink: Remembering | None = None) -> Handler:
    """The handler over both sources, with one sink for both."""
    kept = sink or Remembering()
    return build_handler(sources(), dict.fromkeys(DECLARED, kept))


def answer(handler: Handler, request: dict[str, Any], context: Any = None) -> tuple[int, dict[str, Any]]:
    """The status and the body that the handler answers with."""

    async def ask() -> Any:
        return await handler(request, context)

    told = asyncio.run(ask())
    assert told["headers"]["content-type"] == "application/json"
    return told["statusCode"], {
        **json.loads(told["body"]),
        **{k: v for k, v in told["headers"].items() if k != "content-type"},
    }
