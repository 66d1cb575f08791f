"""A bucket over HTTP that answers listings as S3 does (ListObjectsV2), for keys that no client library here can put."""

import json
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape

from obstore.store import S3Store

from datalake_assets.lake.store.key_scan import PAGE
from datalake_assets.lake.store.objects import RemoteObjects

FACTS = "<LastModified>2026-01-05T09:00:00.000Z</LastModified><ETag>&quot;1&quot;</ETag>"


@dataclass
class Bucket:
    """The keys that it holds, in the order of UTF-8 (a marker `a/` is empty), and the listings it was asked for."""

    keys: list[str]
    port: int = 0
    requests: list[dict[str, str]] = field(default_factory=list)

    def objects(self, *, page: int = PAGE) -> RemoteObjects:
        endpoint = f"http://127.0.0.1:{self.port}"
        store = S3Store(
            "b", endpoint=endpoint, region="eu-west-1", skip_signature=True, client_options={"allow_http": True}
        )
        return RemoteObjects(store, page)

    def answer(self, query: dict[str, str]) -> str:
        """Up to a thousand keys and folders behind a key, and where to go on."""
        self.requests.append(query)
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter")
        after = json.loads(query["continuation-token"]) if "continuation-token" in query else query.get("start-after")
        told: list[str] = []
        at = bisect_right(self.keys, after or "")
        while at < len(self.keys) and len(told) < PAGE:
            key = self.keys[at]
            at += 1
            if not key.startswith(prefix):
                continue
            folder, slash, _ = key[len(prefix) :].partition("/")
            if delimiter and slash:
                at = bisect_right(self.keys, f"{prefix}{folder}/\U0010ffff")
                name = escape(f"{prefix}{folder}/")
                told.append(f"<CommonPrefixes><Prefix>{name}</Prefix></CommonPrefixes>")
            else:
                size = 0 if key.endswith("/") else 1
                told.append(f"<Contents><Key>{escape(key)}</Key>{FACTS}<Size>{size}</Size></Contents>")
        more = escape(json.dumps(self.keys[at - 1])) if any(k.startswith(prefix) for k in self.keys[at:]) else None
        onward = f"<NextContinuationToken>{more}</NextContinuationToken>" if more else ""
        return f"<ListBucketResult>{onward}{''.join(told)}</ListBucketResult>"


@contextmanager
def bucket(*keys: str) -> Iterator[Bucket]:
    held = Bucket(sorted(keys))

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            body = held.answer({name: values[0] for name, values in query.items()}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        held.port = server.server_port
        yield held
        server.shutdown()
