"""Uploads by hand: bytes nobody sent before, forms that no client would write, and what became of them."""

import os
import time
from collections.abc import Callable
from hashlib import sha256
from typing import Any
from uuid import uuid4

import httpx

from tests.serve_app.conftest import Server

TEXT = b"Herons stand still for hours before they strike.\n"
PURPOSE = 'content-disposition: form-data; name="purpose"\r\n\r\nassistants'
FILE = 'content-disposition: form-data; name="file"; filename="a.txt"\r\n\r\n'


def fresh(text: bytes = TEXT) -> bytes:
    """Bytes nobody uploaded before."""
    return text + uuid4().hex.encode()


def upload(http: httpx.Client, content: bytes, name: str = "heron.txt", **fields: Any) -> httpx.Response:
    """One upload, the file first."""
    return http.post("/v1/files", files={"file": (name, content)}, data={"purpose": "assistants", **fields})


def kept(server: Server, content: bytes) -> bool:
    """True when a blob with these bytes is there."""
    return server.service.blobs.exists(server.service.settings.organisation, sha256(content).hexdigest())


def unfinished(server: Server) -> list[str]:
    """Files of writers."""
    folder = server.service.settings.home / "blobs" / server.service.settings.organisation / "incoming"
    return os.listdir(folder) if folder.is_dir() else []


def raw_form(content: bytes, *parts: str) -> tuple[bytes, dict[str, str]]:
    """A form's body and its header, part heads as given, the content in the last."""
    body = b"".join(b"--B\r\n" + part.encode() + b"\r\n" for part in parts[:-1])
    return body + b"--B\r\n" + parts[-1].encode() + content + b"\r\n--B--\r\n", {
        "content-type": "multipart/form-data; boundary=B"
    }


def head_of(length: int) -> bytes:
    """Of a request whose body, a form, has this many bytes."""
    return f"POST /v1/files HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=B\r\nContent-Length: {length}\r\n\r\n".encode()


def wait_until(condition: Callable[[], bool]) -> None:
    """Fail if it does not come about."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
