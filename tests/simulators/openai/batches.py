"""The simulator's files and batches: ``/v1/files`` and ``/v1/batches``, checked against OpenAI's description.

service = BatchService(provider)
service.endings.append(Ending("expired", done=0.5))     # the next batch expires when half of it is done
service.refused.add("a text that is never embedded")
"""

import json
import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import message_from_bytes
from email.policy import HTTP
from threading import Lock
from typing import Any
from urllib.parse import parse_qs, urlsplit

from jsonschema import Draft202012Validator

from tests.openai_contract import FILE, document
from tests.simulators.openai.answers import embeddings
from tests.simulators.openai.provider import Provider, Refused

MAX_LINES, MAX_INPUTS, MAX_BYTES = 50_000, 50_000, 200_000_000


@dataclass(frozen=True)
class Ending:
    """How a batch ends."""

    status: str = "completed"
    #: Share of its lines that is computed before the batch ends.
    done: float = 1.0
    #: Code of the error that refuses the whole batch, if it fails.
    code: str = "invalid_request"


@dataclass
class BatchService:
    """Files and batches of one provider. The server calls it from several threads."""

    provider: Provider
    #: How the next batches end. When this is empty, all batches are completed.
    endings: deque[Ending] = field(default_factory=deque)
    #: ``refused``: texts that are refused with 400. ``unlucky``: for each text, how many more times it fails
    #: with 500.
    refused: set[str] = field(default_factory=set)
    unlucky: Counter[str] = field(default_factory=Counter)
    #: Number of requests for the state of a batch before the batch has ended.
    looks: int = 1
    #: Texts that were computed and billed, and the number of their tokens.
    billed: Counter[str] = field(default_factory=Counter)
    billed_tokens: int = 0
    files: dict[str, bytes] = field(default_factory=dict)
    #: The description of each file, by id.
    described: dict[str, dict[str, Any]] = field(default_factory=dict)
    #: Every batch, in the order of creation.
    batches: dict[str, dict[str, Any]] = field(default_factory=dict)
    _looks: Counter[str] = field(default_factory=Counter)
    _numbers: Iterator[int] = field(default_factory=lambda: iter(range(1, 1_000_000)))
    _lock: Lock = field(default_factory=Lock)

    def answer(self, method: str, url: str, content_type: str, body: bytes) -> dict[str, Any] | bytes:
        """Return the answer to one request."""
        parts = urlsplit(url)
        path = parts.path.removeprefix("/v1/").split("/")
        with self._lock:
            match method, path:
                case "POST", ["files"]:
                    return self._checked("OpenAIFile", self._upload(content_type, body))
                case "GET", ["files"]:
                    found = [self.described[id] for id in self.files]
                    return {"object": "list", "data": found, "has_more": False}
                case "GET", ["files", id, "content"] if id in self.files:
                    return self.files[id]
                case "DELETE", ["files", id] if id in self.files:
                    del self.files[id]
                    return {"id": id, "object": "file", "deleted": True}
                case "POST", ["batches"]:
                    return self._checked("Batch", self._create(json.loads(body)))
                case "GET", ["batches"]:
                    return self._list(parse_qs(parts.query))
                case "GET", ["batches", id] if id in self.batches:
                    return self._checked("Batch", self._look(id))
                case "POST", ["batches", id, "cancel"] if id in self.batches:
                    self.batches[id]["status"] = "cancelled"
                    return self._checked("Batch", self.batches[id])
        raise Refused(404, f"No such thing: {method} {url}", type="invalid_request_error", code=None)

    def _checked(self, schema: str, value: dict[str, Any]) -> dict[str, Any]:
        if FILE.exists():
            reference = {"$ref": f"#/components/schemas/{schema}", "components": document()["components"]}
            self.provider.complaints += [
                f"{schema}: {error.message}" for error in Draft202012Validator(reference).iter_errors(value)
            ]
        return value

    def _upload(self, content_type: str, body: bytes) -> dict[str, Any]:
        message = message_from_bytes(
            b"content-type: " + content_type.encode() + b"\r\n\r\n" + body, policy=HTTP
        )
        parts = {part.get_param("name", header="content-disposition"): part for part in message.iter_parts()}
        content = parts["file"].get_payload(decode=True)
        return self._file(content, parts["file"].get_filename(), parts["purpose"].get_content().strip())

    def _file(self, content: bytes, name: str, purpose: str) -> dict[str, Any]:
        id = f"file-{next(self._numbers)}"
        self.files[id] = content
        self.described[id] = {
            "id": id,
            "object": "file",
            "bytes": len(content),
            "created_at": int(time.time()),
            "filename": name,
            "purpose": purpose,
            "status": "processed",
        }
        return self.described[id]

    def _create(self, asked: dict[str, Any]) -> dict[str, Any]:
        self._checked("CreateBatchRequest", asked)
        if asked["input_file_id"] not in self.files:
            raise Refused(400, "No such file", type="invalid_request_error", code=None)
        lines = [json.loads(line) for line in self.files[asked["input_file_id"]].splitlines()]
        id = f"batch_{next(self._numbers)}"
        self.batches[id] = {
            **asked,
            "id": id,
            "object": "batch",
            "status": "validating",
            "created_at": int(time.time()),
            "request_counts": {"total": len(lines), "completed": 0, "failed": 0},
        }
        return self.batches[id]

    def _list(self, query: dict[str, list[str]]) -> dict[str, Any]:
        """Return a page of the batches, the newest first."""
        ids = list(reversed(self.batches))
        start = ids.index(query["after"][0]) + 1 if "after" in query else 0
        page = ids[start : start + int(query.get("limit", ["20"])[0])]
        return {
            "object": "list",
            "data": [self._checked("Batch", self.batches[id]) for id in page],
            "first_id": page[0] if page else None,
            "last_id": page[-1] if page else None,
            "has_more": bool(page) and page[-1] != ids[-1],
        }

    def _look(self, id: str) -> dict[str, Any]:
        batch = self.batches[id]
        if batch["status"] in ("validating", "in_progress"):
            self._looks[id] += 1
            batch["status"] = "in_progress"
            if self._looks[id] > self.looks:
                self._end(batch, self.endings.popleft() if self.endings else Ending())
        return batch

    def _end(self, batch: dict[str, Any], ending: Ending) -> None:
        content = self.files[batch["input_file_id"]]
        lines = [json.loads(line) for line in content.splitlines()]
        ids = {line["custom_id"] for line in lines}
        wrong = len(lines) > MAX_LINES or len(content) > MAX_BYTES or len(ids) < len(lines)
        batch["status"] = "failed" if wrong else ending.status
        if batch["status"] == "failed":
            error = {"code": ending.code, "message": "The batch is refused.", "line": None, "param": None}
            batch["errors"] = {"object": "list", "data": [error]}
            return
        answers, errors = [], []
        for number, line in enumerate(lines):
            answered = self._run(line, begun=number < ending.done * len(lines))
            (answers if (answered["response"] or {}).get("status_code") == 200 else errors).append(answered)
        counts = {"completed": len(answers), "failed": len(errors)}
        batch["request_counts"] = {"total": len(lines), **counts}
        # The lines of an output file may have another order than the input (OpenAI, "Batch API").
        for name, found in (("output_file_id", reversed(answers)), ("error_file_id", errors)):
            content = b"".join(json.dumps(one).encode() + b"\n" for one in found)
            if content:
                batch[name] = self._file(content, f"{name}.jsonl", "batch_output")["id"]

    def _run(self, line: dict[str, Any], *, begun: bool) -> dict[str, Any]:
        answer = {"id": f"batch_req_{next(self._numbers)}", "custom_id": line["custom_id"]}
        if not begun:
            expired = {"code": "batch_expired", "message": "This request could not be executed in time."}
            return {**answer, "response": None, "error": expired}
        body = line["body"]
        try:
            texts, dim, tokens = self.provider.read(body)
            if self.refused & set(texts):
                raise Refused(400, "The input is refused.", type="invalid_request_error", code=None)
            if self.unlucky[texts[0]] > 0:
                self.unlucky[texts[0]] -= 1
                raise Refused(500, "The server had an error.", type="server_error", code=None)
        except Refused as exc:
            return {**answer, "response": {"status_code": exc.status, "body": exc.body}, "error": None}
        self.billed.update(texts)
        self.billed_tokens += tokens
        floats = body.get("encoding_format") != "base64"
        found = embeddings(texts, dim, tokens, None, body["model"], floats=floats)
        return {**answer, "response": {"status_code": 200, "request_id": "r", "body": found}, "error": None}
