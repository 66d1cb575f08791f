"""A proxy in front of an S3 server that does to requests what networks and S3 do to them, and counts them.

Real sockets: clients meet a reset connection, an answer that never came, an error of the server, a header that is
ignored. What happens to which request is told by a `Plan`; `random_faults` is one that is seeded.
"""

import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

_DELAY_SECONDS = 0.2
_NOT_PASSED_ON = {"connection", "host", "transfer-encoding", "content-length"}
_ERROR = b'<?xml version="1.0"?><Error><Code>%s</Code><Message>a fault of the test</Message></Error>'


class Fault(Enum):
    """What becomes of a request; those named `..._AFTER` have reached the server all the same."""

    ERROR_500 = "500 before it is passed on"
    ERROR_503 = "503 before it is passed on"
    ERROR_403 = "403, which is not tried again"
    RESET = "reset before it is passed on"
    ERROR_500_AFTER = "500 after it was passed on"
    RESET_AFTER = "reset after it was passed on"
    CUT_AFTER = "half of the answer, then a reset"
    DELAY = "delayed"


_STATUS = {Fault.ERROR_403: 403, Fault.ERROR_500: 500, Fault.ERROR_503: 503}
_CODES = {403: b"AccessDenied", 500: b"InternalError", 503: b"SlowDown"}
PASSING = tuple(fault for fault in Fault if fault is not Fault.ERROR_403)
"""The faults that are over when a request is made again."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request: its method, and its key and query without escapes; `number` counts from 1."""

    method: str
    path: str
    query: str
    number: int

    @property
    def kind(self) -> str:
        """What it asks for: `LIST`, `HEAD`, `GET`, `PUT`, `POST` or `DELETE`."""
        return "LIST" if "list-type=2" in self.query else self.method


Plan = Callable[[Request], Fault | None]


def no_faults(request: Request) -> None:
    """Pass all requests on as they are."""


def random_faults(seed: int, share: float, faults: tuple[Fault, ...] = PASSING) -> Plan:
    """Let a share of all requests meet one of some faults, the same ones for the same seed and order of requests."""
    print(f"faults of {share:.0%} of all requests, seed {seed}")  # noqa: T201 (shown by a test that fails)

    def plan(request: Request) -> Fault | None:
        dice = random.Random(f"{seed}/{request.number}")
        return dice.choice(faults) if dice.random() < share else None

    return plan


@dataclass
class Proxy:
    """A running proxy: its endpoint, what it was asked, the faults it made, and how it goes on."""

    endpoint: str
    plan: Plan = no_faults
    ignored_headers: frozenset[str] = frozenset()
    requests: list[Request] = field(default_factory=list)
    faults: list[tuple[Request, Fault]] = field(default_factory=list)

    @property
    def kinds(self) -> Counter[str]:
        """How many requests of each kind there were."""
        return Counter(request.kind for request in self.requests)


@contextmanager
def s3_proxy(server: str) -> Iterator[Proxy]:
    """A proxy in front of the server at an endpoint, at a free port, until the block ends."""
    with _Server(urlsplit(server).netloc) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield running.proxy
        finally:
            running.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: "_Server"
    protocol_version = "HTTP/1.1"

    def handle_request(self) -> None:
        path, _, query = self.path.partition("?")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.server.noted(self.command, path, query)
        if fault is Fault.DELAY:
            time.sleep(_DELAY_SECONDS)
        elif fault in _STATUS:
            self._fail(_STATUS[fault])
            return
        elif fault is Fault.RESET:
            self._reset()
            return
        answer, content = self._pass_on(body)
        if fault is Fault.ERROR_500_AFTER:
            self._fail(500)
        elif fault is Fault.RESET_AFTER:
            self._reset()
        else:
            self._answer(answer, content, cut=fault is Fault.CUT_AFTER)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_request  # noqa: N815 (as http.server names them)

    def _pass_on(self, body: bytes) -> tuple[HTTPResponse, bytes]:
        dropped = _NOT_PASSED_ON | self.server.proxy.ignored_headers
        headers = {name: value for name, value in self.headers.items() if name.lower() not in dropped}
        connection = HTTPConnection(self.server.upstream, timeout=60)
        try:
            connection.request(self.command, self.path, body=body, headers=headers)
            answer = connection.getresponse()
            return answer, answer.read()
        finally:
            connection.close()

    def _answer(self, answer: HTTPResponse, content: bytes, *, cut: bool) -> None:
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in _NOT_PASSED_ON:
                self.send_header(name, value)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(content))
        if length is not None:
            self.send_header("Content-Length", length)
        self.end_headers()
        if cut:
            self.wfile.write(content[: len(content) // 2])
            self._reset()
        elif self.command != "HEAD":
            self.wfile.write(content)

    def _fail(self, status: int) -> None:
        content = _ERROR % _CODES[status]
        self.send_response_only(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _reset(self) -> None:
        """Close the connection by an RST, as a firewall or a dying host does."""
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Write nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = upstream
        self.proxy = Proxy(f"http://127.0.0.1:{self.server_port}")
        self._lock = threading.Lock()

    def noted(self, method: str, path: str, query: str) -> Fault | None:
        """Note a request, and say what becomes of it."""
        with self._lock:
            request = Request(method, unquote(path), unquote(query), len(self.proxy.requests) + 1)
            self.proxy.requests.append(request)
            fault = self.proxy.plan(request)
            if fault is not None:
                self.proxy.faults.append((request, fault))
            return fault

    def shutdown_request(self, request: Any) -> None:
        self.close_request(request)  # without the shutdown, which would come before the RST

    def handle_error(self, *_: Any) -> None:
        """Let clients go away as they like."""
