"""The application in a real HTTP server, with the real model and the real Postgres, without Ray."""

import json
import shutil
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from openai import OpenAI
from psycopg_pool import ConnectionPool
from pydantic import SecretStr

from cluster.deploy.http_server import WithoutUpgrade
from cluster.documents.chunks.chunk_indexes import open_chunk_index
from cluster.documents.chunks.chunk_rows import ChunkRecord
from cluster.documents.vector_stores.stores import VectorStore, ensure_store
from cluster.engines import Registry
from cluster.engines.weights import PROMPTS_FILE, open_model_folder
from cluster.keys.known_keys import KnownKeys
from cluster.settings import MIB, Settings
from cluster.settings.indexes import IndexSource
from cluster.settings.models import ModelSetting
from cluster.settings.values import Table
from serve_app.api import build_api
from serve_app.embedding.remote_model import CallReplica
from serve_app.service import Service
from serve_app.usage.usage_recorder import UsageRecorder
from tests import folder_index
from tests.cluster.oidc.issuer import AUDIENCE, Issuer, running_issuer
from tests.cluster.outbound.outside import OutsideServer, outside, reaching
from tests.keys_in_output import marked_fernet_key
from tests.own_database import own_database
from tests.waiting import LONGEST_WAIT_S

MODEL = "all-MiniLM-L6-v2"
PROMPTED = "prompted"
OPERATOR_KEY = "sk-of-the-operator"
PROMPTS = {"query": "query: ", "document": "passage: ", "clustering": "topic: "}


@dataclass(frozen=True, kw_only=True)
class Server:
    """A running endpoint."""

    url: str
    service: Service
    app: FastAPI


@contextmanager
def serving(settings: Settings, remote: Mapping[str, CallReplica] | None = None) -> Iterator[Server]:
    """The endpoint on its own port; ``remote`` calls the models that have deployments of their own."""
    service = Service(settings, remote)
    app = build_api(service)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        # Keep idle connections as long as Serve does; with uvicorn's default they end just when httpx reuses
        # them.
        config = uvicorn.Config(
            app, http=WithoutUpgrade, log_config=None, timeout_graceful_shutdown=5, timeout_keep_alive=90
        )
        serving = uvicorn.Server(config)
        thread = threading.Thread(target=serving.run, kwargs={"sockets": [listener]})
        thread.start()
        while not serving.started:
            time.sleep(0.02)
        try:
            yield Server(url=url, service=service, app=app)
        finally:
            serving.should_exit = True
            thread.join()
            service.close()


@pytest.fixture(scope="session")
def prompted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packaged model's folder, with prompts and Matryoshka dimensions added."""
    folder = tmp_path_factory.mktemp("models") / PROMPTED
    shutil.copytree(open_model_folder(Registry(Settings()).default).path, folder)
    (folder / PROMPTS_FILE).write_text(json.dumps({"prompts": PROMPTS}))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "matryoshka_dimensions": [64, 128, 384]}))
    return folder


@pytest.fixture(scope="session")
def receiver() -> Iterator[OutsideServer]:
    """A server at the only private address that URLs of callers may name. It plays the part of a webhook
    endpoint.
    """
    with outside() as server:
        yield server


@pytest.fixture(scope="session")
def server(
    settings: Settings, pool: ConnectionPool, prompted: Path, receiver: OutsideServer
) -> Iterator[Server]:
    """A server with two models (the packaged one, and one with prompts) and two vector indexes."""
    permitted = reaching(receiver.port)
    changes = {
        "outbound_allow_cidrs": permitted.outbound_allow_cidrs,
        "outbound_ports": permitted.outbound_ports,
        "webhook_endpoints": 3,
        "models": Table({PROMPTED: ModelSetting(source=str(prompted))}),
        "indexes": Table({"folder": IndexSource(kind=folder_index.NAME)}),
        "secret_key": SecretStr(marked_fernet_key()),
    }
    with serving(settings.model_copy(update=changes)) as server:
        yield server


@pytest.fixture
def known_keys(settings: Settings, pool: ConnectionPool) -> Iterator[KnownKeys]:
    """The keys of the shared cluster, which has none."""
    del pool  # it has migrated the database
    keys = KnownKeys(settings, open_database=lambda: None)
    yield keys
    keys.close()


@pytest.fixture
def usage_recorder(tmp_path: Path) -> Iterator[UsageRecorder]:
    """Records the usage of requests in files of its own, and sends it nowhere."""
    recorder = UsageRecorder(lambda events: None, tmp_path / "usage", max_bytes=MIB)
    yield recorder
    recorder.close()


@pytest.fixture(scope="session")
def issuer() -> Iterator[Issuer]:
    """An issuer of tokens."""
    with running_issuer() as issuer:
        yield issuer


@pytest.fixture(scope="session")
def keyed_server(settings: Settings, database_url: str, prompted: Path, issuer: Issuer) -> Iterator[Server]:
    """A server with two models, an operator's key, an issuer of tokens, and a database of its own, for tests
    that make keys.
    """
    changes = {
        "oidc_issuer": issuer.url,
        "oidc_audience": AUDIENCE,
        "api_key": SecretStr(OPERATOR_KEY),
        "secret_key": SecretStr(marked_fernet_key()),
        "models": Table({PROMPTED: ModelSetting(source=str(prompted))}),
    }
    with own_database(settings, database_url) as own, serving(own.model_copy(update=changes)) as server:
        yield server


@pytest.fixture(scope="session")
def operator(keyed_server: Server) -> Iterator[httpx.Client]:
    """Requests of the operator to that server."""
    with httpx.Client(
        base_url=keyed_server.url, timeout=LONGEST_WAIT_S, headers=bearer(OPERATOR_KEY)
    ) as client:
        yield client


def bearer(key: str) -> dict[str, str]:
    """The header with this key."""
    return {"authorization": f"Bearer {key}"}


@pytest.fixture(scope="session")
def openai_client(server: Server) -> Iterator[OpenAI]:
    """OpenAI's unmodified client."""
    with OpenAI(base_url=f"{server.url}/v1", api_key="none needed", max_retries=0) as client:
        yield client


@pytest.fixture(scope="session")
def http(server: Server) -> Iterator[httpx.Client]:
    """A plain HTTP client of the server."""
    with httpx.Client(base_url=server.url, timeout=LONGEST_WAIT_S) as client:
        yield client


BIRDS = {
    "heron": ("Herons stand still for hours before they strike.", 1),
    "swift": ("Swifts sleep on the wing and land only to nest.", 2),
    "pump": ("Only the operator on duty may stop the pump.", 3),
}


@pytest.fixture(scope="session")
def birds(settings: Settings, pool: ConnectionPool, server: Server) -> VectorStore:
    """A vector store with three chunks."""
    engine, index = server.service.models.default.engine, open_chunk_index(settings, pool)
    with pool.connection() as connection:
        store = ensure_store(connection, settings.organisation, "birds", fingerprint=engine.fingerprint)
    index.ensure(store.collection, dim=store.fingerprint.dim)
    vectors = engine.embed([text for text, _ in BIRDS.values()]).vectors
    rows = [
        ChunkRecord(
            id=id,
            document="doc_1",
            text=text,
            attributes={"page": page, "filename": "birds.pdf", "keywords": [id]},
            vector=vector,
        )
        for (id, (text, page)), vector in zip(BIRDS.items(), vectors, strict=True)
    ]
    index.upsert(store.organisation, store.id, rows, collection=store.collection)
    return store


@pytest.fixture(scope="session")
def cross_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT with one output. Its scores mean nothing; tests only compare them."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    folder = tmp_path_factory.mktemp("models") / "tiny-reranker"
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    BertForSequenceClassification(
        BertConfig(num_labels=1, max_position_embeddings=64, initializer_range=0.5, **shape)
    ).save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(open_model_folder(Registry(Settings()).default).path)
    tokenizer.model_max_length = 64
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def reranking_server(settings: Settings, pool: ConnectionPool, cross_encoder: Path) -> Iterator[Server]:
    """A server with the cross-encoder."""
    with serving(settings.model_copy(update={"reranker_path": cross_encoder})) as server:
        yield server


@pytest.fixture(scope="session")
def reranking(reranking_server: Server) -> Iterator[httpx.Client]:
    """A client of a server with the cross-encoder."""
    with httpx.Client(base_url=reranking_server.url, timeout=LONGEST_WAIT_S) as client:
        yield client


@pytest.fixture(scope="module")
def small(settings: Settings, pool: ConnectionPool) -> Iterator[Server]:
    """A server with narrow limits and its own organisation."""
    limits = {
        "max_file_bytes": 3 * MIB,
        "organisation": f"small-{uuid4().hex[:8]}",
        "organisation_files": 4,
        "organisation_bytes": 5 * MIB,
    }
    with serving(settings.model_copy(update={**limits, "body_timeout_s": 0.5})) as server:
        yield server
