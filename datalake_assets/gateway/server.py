"""The ingest API on this machine: HTTP in the place of API Gateway, and the same handler behind it.

Belongs here: from an HTTP request to API Gateway's event, and from the handler's answer back. Where records go is
`spool.py`'s affair.
"""

import base64
import errno
import socket
import threading
from collections.abc import Mapping
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from datalake_assets.gateway.spool import Spool, SpoolSink
from datalake_assets.ingest.body import MOST_BYTES
from datalake_assets.ingest.handler import Handler, build_handler
from datalake_assets.ingest.sources import Source

_METHODS = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"]
_LOOK_SECONDS = 0.2
_GRACE_SECONDS = 5


class PortError(OSError):
    """An address that can't be listened on: says why, and what to do."""


def application(sources: Mapping[str, Source], spool: Spool) -> Starlette:
    """The API over some sources, as an ASGI application."""
    handler = build_handler(sources, {name: SpoolSink(spool, source) for name, source in sources.items()})
    return Starlette(routes=[Route("/{path:path}", _endpoint(handler), methods=_METHODS)])


def listen(host: str, port: int) -> socket.socket:
    """A socket that nobody else listens on; port 0 is any free one. Raises `PortError`."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, port))
            listening.listen(2048)
        except OSError:
            listening.close()
            raise
    except (OSError, OverflowError) as error:
        number = getattr(error, "errno", None)
        reason = getattr(error, "strerror", None) or str(error)
        remedy = "stop what listens there, or give another --port" if number == errno.EADDRINUSE else "give another"
        raise PortError(f"{host}:{port} can't be listened on: {reason}; {remedy}") from None
    return listening


def serve(app: Starlette, listening: socket.socket, *, stop: threading.Event) -> None:
    """Serve until `stop` is set, and answer what is under way."""
    config = uvicorn.Config(
        app,
        access_log=False,
        lifespan="off",
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    server = uvicorn.Server(config)
    # In a thread of its own uvicorn leaves the process' signals alone.
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="ingest-server")
    thread.start()
    while thread.is_alive() and not stop.wait(_LOOK_SECONDS):
        pass
    server.should_exit = True
    thread.join()


def _endpoint(handler: Handler) -> Any:
    async def endpoint(request: Request) -> Response:
        try:
            body = await _body(request)
        except ClientDisconnect:
            return Response(status_code=400)
        answer = await handler(_event(request, body), None)
        content = b"" if request.method == "HEAD" else answer["body"].encode("utf-8", "replace")
        return Response(content, status_code=answer["statusCode"], headers=answer["headers"])

    return endpoint


async def _body(request: Request) -> bytes:
    """The body; of one that is too large as much as shows that."""
    pieces: list[bytes] = []
    size = 0
    async for piece in request.stream():
        pieces.append(piece)
        size += len(piece)
        if size > MOST_BYTES:
            break
    return b"".join(pieces)


def _event(request: Request, body: bytes) -> dict[str, Any]:
    """The request as API Gateway's HTTP API tells it (payload 2.0), as far as the handler looks."""
    try:
        text, is_base64 = body.decode(), False
    except UnicodeDecodeError:
        text, is_base64 = base64.b64encode(body).decode(), True
    return {
        "version": "2.0",
        "rawPath": request.scope["path"],
        "headers": {name.decode("latin-1"): value.decode("latin-1") for name, value in request.scope["headers"]},
        "requestContext": {"http": {"method": request.method}, "stage": "$default"},
        "body": text,
        "isBase64Encoded": is_base64,
    }
