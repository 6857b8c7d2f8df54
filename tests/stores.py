"""An S3 of our own on loopback, by moto, and what may go wrong with one."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

BUCKET = "shelf"
Fault = Callable[[Mapping[str, Any]], str]
"""Takes a request, as WSGI tells it; returns what becomes of it.

"" is nothing; "500": refused; "reset": the connection breaks before; "lost": after it was done, the
connection breaks; "deaf": conditions are not minded.
"""


@dataclass
class Store:
    """The server, the requests it got, and how to fail them."""

    endpoint: str = ""
    fault: Fault = lambda request: ""
    requests: list[str] = field(default_factory=list)

    @property
    def variables(self) -> dict[str, str]:
        """What a process needs in its environment to find it."""
        return {
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_ACCESS_KEY_ID": "who",
            "AWS_SECRET_ACCESS_KEY": "what",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_MAX_ATTEMPTS": "2",
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
        }

    def contents(self, prefix: str = "") -> list[str]:
        """What is in the bucket."""
        from metasearch.search.bucket import Bucket

        return sorted(Bucket(BUCKET).entries(prefix))


@contextlib.contextmanager
def serving() -> Iterator[Store]:
    """Serve an empty bucket until the body ends."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from moto.server import DomainDispatcherApplication, create_backend_app
        from werkzeug.serving import make_server
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    store = Store()
    inner = DomainDispatcherApplication(create_backend_app)

    def outer(request: dict[str, Any], start: Any) -> Any:
        store.requests.append(f"{request['REQUEST_METHOD']} {request['PATH_INFO']}")
        fate = store.fault(request)
        if fate == "deaf":
            for name in ("HTTP_IF_NONE_MATCH", "HTTP_IF_MATCH"):
                request.pop(name, None)
        if fate == "500":
            request["wsgi.input"].read(int(request.get("CONTENT_LENGTH") or 0))
            start("500 Internal Server Error", [("Content-Type", "application/xml")])
            return [b"<Error><Code>InternalError</Code><Message>planted</Message></Error>"]
        if fate == "reset":
            return _cut(request)
        answer = inner(request, start)
        if fate == "lost":
            b"".join(answer)
            return _cut(request)
        return answer

    server = make_server("127.0.0.1", 0, outer, threaded=True)
    store.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield store
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _cut(request: Mapping[str, Any]) -> list[bytes]:
    """Break the connection as a network does that fails."""
    line: socket.socket = request["werkzeug.socket"]
    line.shutdown(socket.SHUT_RDWR)
    raise ConnectionResetError


@contextlib.contextmanager
def reached(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have this process, and those that it starts, use a store with an empty bucket in it."""
    from metasearch.search import bucket, home

    for name, value in store.variables.items():
        monkeypatch.setenv(name, value)
    bucket._client.cache_clear()
    home._copy.cache_clear()
    bucket._client().create_bucket(Bucket=BUCKET)
    bucket.Bucket(BUCKET).drop(store.contents())  # moto has one memory for all its servers
    yield
    bucket._client.cache_clear()
    home._copy.cache_clear()
