"""What every benchmark of the Batch API needs: texts, a batch from them, its processes and its answers.

run = BatchRun(Settings())
batch = run.create(new_texts(1_000, words=60))
run.replica(WORKERS)                            # the process that runs the job of the batch
"""

import json
import os
import random
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pydoc_data.topics import topics
from typing import Any

import httpx
import psutil
from openai import APIError, OpenAI
from openai.types import Batch

from cluster.local.addresses import api_url
from cluster.settings import Settings

MODEL = "all-MiniLM-L6-v2"
#: Names of the Serve applications (cluster/deploy/serve.yaml).
ENDPOINT, WORKERS = "embedding-cluster", "workers"
POLL_S = 0.2
ENDED = {"completed", "failed", "expired", "cancelled"}
#: Within this time, the endpoint answers again after a fault.
BACK_S = 240.0
MIB = 2**20


def new_texts(count: int, *, words: int) -> list[str]:
    """Return texts that no earlier call returned, so that no vector of them is known already."""
    vocabulary = " ".join(topics.values()).split()
    return [" ".join(random.choices(vocabulary, k=words)) for _ in range(count)]


@dataclass(frozen=True)
class BatchRun:
    """Creates batches on the running cluster, as a client does, and looks at the processes that run them."""

    settings: Settings

    @cached_property
    def client(self) -> OpenAI:
        """The unmodified client."""
        return OpenAI(base_url=f"{api_url(self.settings)}/v1", api_key=os.environ.get("CLUSTER_KEY", "none"))

    def create(self, texts: Iterable[str]) -> Batch:
        """Create a batch with one request for each text. The number of the text is its ``custom_id``."""
        lines = (
            json.dumps(
                {
                    "custom_id": str(number),
                    "method": "POST",
                    "url": "/v1/embeddings",
                    "body": {"model": MODEL, "input": text},
                }
            )
            for number, text in enumerate(texts)
        )
        file = self.client.files.create(file=("texts.jsonl", "\n".join(lines).encode()), purpose="batch")
        return self.client.batches.create(
            input_file_id=file.id, endpoint="/v1/embeddings", completion_window="24h"
        )

    def now(self, batch: Batch) -> Batch:
        """Return the batch as it is now. While the cluster is down, this asks again for ``BACK_S``."""
        ends = time.monotonic() + BACK_S
        while True:
            try:
                return self.client.batches.retrieve(batch.id)
            except APIError:
                if time.monotonic() > ends:
                    raise
                time.sleep(POLL_S)

    def lines(self, file: str | None) -> list[dict[str, Any]]:
        """Return the lines of an output file or of an error file."""
        if file is None:
            return []
        return [json.loads(line) for line in self.client.files.content(file).text.splitlines()]

    def replica(self, application: str) -> psutil.Process | None:
        """Return a process of the application, ``ENDPOINT`` or ``WORKERS``; None while none runs."""
        address = f"http://127.0.0.1:{self.settings.dashboard_port}/api/serve/applications/"
        try:
            described = httpx.get(address, timeout=30).raise_for_status().json()
            deployments = described["applications"][application]["deployments"].values()
            running = [
                replica["pid"]
                for deployment in deployments
                for replica in deployment["replicas"]
                if replica["state"] == "RUNNING"
            ]
            return psutil.Process(running[0]) if running else None
        except (httpx.HTTPError, KeyError, psutil.NoSuchProcess):
            return None


def done(batch: Batch) -> int:
    """Return the number of requests that have an answer."""
    return batch.request_counts.completed + batch.request_counts.failed if batch.request_counts else 0
