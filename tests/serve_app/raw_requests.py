"""Uploads and requests written by hand, such as forms that no client would send."""

import os
import socket
from hashlib import sha256
from typing import Any
from uuid import uuid4

import httpx

from tests.serve_app.conftest import Server
from tests.waiting import LONGEST_WAIT_S

TEXT = b"Herons stand still for hours before they strike.\n"
PURPOSE = 'content-disposition: form-data; name="purpose"\r\n\r\nassistants'
FILE = 'content-disposition: form-data; name="file"; filename="a.txt"\r\n\r\n'


def new_bytes(text: bytes = TEXT) -> bytes:
    """Bytes that were never uploaded before."""
    return text + uuid4().hex.encode()


def upload(http: httpx.Client, content: bytes, name: str = "heron.txt", **fields: Any) -> httpx.Response:
    """Upload a file, with the file before the fields of the form."""
    return http.post("/v1/files", files={"file": (name, content)}, data={"purpose": "assistants", **fields})


def blob_exists(server: Server, content: bytes) -> bool:
    """True if the blob store has these bytes."""
    return server.service.blobs.exists(server.service.settings.organisation, sha256(content).hexdigest())


def unfinished_blobs(server: Server) -> list[str]:
    """Names of the blobs that are being written."""
    folder = server.service.settings.home / "blobs" / server.service.settings.organisation / "incoming"
    return os.listdir(folder) if folder.is_dir() else []


def raw_form(content: bytes, *parts: str) -> tuple[bytes, dict[str, str]]:
    """The body and the headers of a form with these part heads; the last part has the content."""
    body = b"".join(b"--B\r\n" + part.encode() + b"\r\n" for part in parts[:-1])
    return body + b"--B\r\n" + parts[-1].encode() + content + b"\r\n--B--\r\n", {
        "content-type": "multipart/form-data; boundary=B"
    }


def form_head(length: int) -> bytes:
    """The head of a request whose form has this many bytes."""
    return (
        "POST /v1/files HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=B\r\n"
        f"Content-Length: {length}\r\n\r\n"
    ).encode()


def connect(server: Server) -> socket.socket:
    """A plain socket, for requests that no HTTP client would send."""
    host, port = server.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=LONGEST_WAIT_S)
