"""The emulated services over HTTP, for boto3 in whatever process."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from datalake_assets_tests.runners.fake_aws import FakeAws
from datalake_assets_tests.runners.fake_jobs import Refused

_SERVICES = {"AWSGlue": "glue", "ElasticMapReduce": "emr", "Logs_20140328": "logs"}


@contextmanager
def serving(fake: FakeAws) -> Iterator[FakeAws]:
    """The services at a free port, until the block ends; jobs end with it."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or "{}")
            service, operation, request = self._asked(body)
            try:
                status, headers, told = 200, {}, fake.answer(service, operation, request)
            except Refused as refused:
                status, headers = refused.status, {"x-amzn-errortype": refused.code}
                told = {"__type": refused.code, "message": str(refused)}
            data = json.dumps(told).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_DELETE = _answer  # noqa: N815

        def _asked(self, body: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
            if target := self.headers.get("X-Amz-Target"):
                prefix, _, operation = target.partition(".")
                return _SERVICES[prefix], operation, body
            _, _, application, *rest = self.path.partition("?")[0].split("/")
            body["applicationId"] = application
            if rest[1:]:
                body["jobRunId"] = rest[1]
                return "emr-serverless", "CancelJobRun" if self.command == "DELETE" else "GetJobRun", body
            return "emr-serverless", "StartJobRun" if self.command == "POST" else "ListJobRuns", body

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        fake.port = server.server_port
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield fake
        finally:
            server.shutdown()
            fake.end()
