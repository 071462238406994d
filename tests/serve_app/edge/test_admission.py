"""Every request, and every text that a model reads for it, passes the gates before it costs anything."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from cluster.engines import open_reranker
from cluster.errors import Throttled
from cluster.organisations.caller import Caller
from cluster.settings import Settings
from cluster.usage.events import EMBEDDING, RERANKING, UsageSource
from serve_app.embedding.admission import REQUEST, Admission, CostlyWork
from serve_app.embedding.ranking import by_cross_encoder
from serve_app.embedding.served_model import RequestContext
from tests.serve_app.conftest import MODEL, Server

EMBEDS: list[tuple[str, dict[str, Any]]] = [
    ("/v1/embeddings", {"model": MODEL, "input": ["a text", "another"]}),
    (f"/openai/deployments/{MODEL}/embeddings", {"input": "a text"}),
    ("/embed", {"inputs": "a text"}),
    ("/v2/embed", {"model": MODEL, "texts": ["a text"]}),
    ("/v1/rerank", {"query": "who", "documents": ["a text"]}),
    ("/rerank", {"query": "who", "texts": ["a text"]}),
]


@dataclass
class Recorder:
    """A gate that records work, and refuses kinds of work."""

    refuses: str = ""
    admitted: list[CostlyWork] = field(default_factory=list)
    ended: list[tuple[str, int | None]] = field(default_factory=list)

    def concerns(self, caller: Caller) -> bool:
        return True

    async def admit(self, work: CostlyWork) -> "_Recorded":
        if work.kind == self.refuses:
            raise Throttled(f"no more {work.kind}", retry_after_s=7.5)
        self.admitted.append(work)
        return _Recorded(self, work)


@dataclass
class _Recorded:
    gate: Recorder
    work: CostlyWork

    def end(self, *, tokens: int | None) -> None:
        self.gate.ended.append((self.work.kind, tokens))


@pytest.mark.parametrize(("path", "body"), EMBEDS, ids=[path for path, _ in EMBEDS])
def test_each_route_that_reads_texts_passes_the_gates(
    server: Server, http: httpx.Client, monkeypatch: pytest.MonkeyPatch, path: str, body: dict[str, Any]
) -> None:
    gate = Recorder()
    monkeypatch.setattr(server.service.admission, "gates", (gate,))
    assert http.post(path, json=body).status_code == 200
    request, *texts = gate.admitted
    assert (request.kind, request.tokens, request.model) == (REQUEST, 0, None)
    assert {(work.kind, work.model, work.organisation) for work in texts} == {(EMBEDDING, MODEL, "default")}
    assert all(work.tokens > 2 for work in texts)
    for _ in range(500):  # the request ends shortly after its answer
        if len(gate.ended) == len(gate.admitted):
            break
        time.sleep(0.01)
    assert gate.ended == [*((EMBEDDING, work.tokens) for work in texts), (REQUEST, 0)]


async def test_the_cross_encoder_reads_as_many_tokens_as_were_admitted(
    settings: Settings, cross_encoder: Path
) -> None:
    gate = Recorder()
    models: Any = SimpleNamespace(
        reranker=open_reranker(settings.model_copy(update={"reranker_path": cross_encoder})),
        admission=Admission([gate]),
        usage=SimpleNamespace(add=lambda *_, **__: None),
    )
    context = RequestContext(organisation="acme", source=UsageSource.SEARCH)
    texts = ["a text", "many words " * 200]
    for most in (None, 5):
        scored = await by_cross_encoder(models, "who", texts, context, most=most)
        work = gate.admitted.pop()
        assert (work.kind, work.source, work.tokens) == (RERANKING, UsageSource.SEARCH, scored.tokens)
        assert gate.ended.pop() == (RERANKING, scored.tokens)


@pytest.mark.parametrize("kind", [REQUEST, EMBEDDING])
def test_refused_work_reaches_no_model(
    server: Server, http: httpx.Client, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    first, second = Recorder(), Recorder(refuses=kind)
    monkeypatch.setattr(server.service.admission, "gates", (first, second))
    read = server.service.models.default.batcher.stats.cache_misses
    response = http.post("/v1/embeddings", json={"model": MODEL, "input": "never read 4711"})
    assert (response.status_code, response.headers["retry-after"]) == (429, "8")
    assert response.json()["error"]["code"] == "rate_limit_exceeded"
    assert server.service.models.default.batcher.stats.cache_misses == read
    assert (kind, None) in first.ended, "the gate that admitted the refused work is told that it failed"
