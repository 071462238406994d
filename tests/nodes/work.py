"""All kinds of work on a cluster of several nodes at the same time, and what must hold after it.

with work(cluster, home, tmp_path) as doing:
    doing.until_under_way()
    ...                          # a fault
doing.check(expected)            # nothing is lost, and nothing is done twice
"""

import json
import random
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from openai import OpenAI

from cluster.documents.chunks.chunk_indexes import ChunkIndexes
from cluster.documents.vector_stores.stores import find_store
from tests.faults.accepted_files import (
    Contents,
    Home,
    await_end,
    check,
    contents,
    documents,
    leaseless,
)
from tests.faults.uploading_clients import Uploads
from tests.launch.embedding_load import Load
from tests.nodes.node_cluster import GCS_PORT, Node, NodeCluster
from tests.waiting import LONGEST_COMMAND_S

#: Number of clients that send embedding requests.
CLIENTS = 4
#: Retries of a request whose connection broke, as the ``openai`` clients make. A node may fail in the middle
#: of an answer, and HAProxy cannot repeat such a request.
RETRIES = 2
#: Documents of the bulk ingest, and words in each.
DOCUMENTS, WORDS = 48, 300
#: Requests of the batch.
REQUESTS = 400
#: Time in which all work ends after a fault, on a slow machine, too. Ray notices the loss of a machine after
#: about a minute, and a bulk ingest that had tasks there took five minutes.
ENDS_S = LONGEST_COMMAND_S
STORE = "bulk"
#: An answer to the request of a batch: its id, and the beginning of its vector.
Answers = Counter[tuple[str, tuple[float, ...]]]


@dataclass(frozen=True)
class Done:
    """What all the work leaves in the cluster."""

    uploaded: Contents
    #: Texts of the chunks of the bulk ingest, with the number of their vectors.
    ingested: Counter[str]
    answers: Answers


@dataclass
class Work:
    """The work of one test, from its beginning to its end."""

    cluster: NodeCluster
    home: Home
    folder: Path
    #: The node on which the command of the bulk ingest runs.
    driver_node: Node
    #: The nodes to which the clients send their requests.
    doors: Sequence[Node]
    #: True if the fault ended the command of the bulk ingest, which was then run again.
    repeated: bool = False
    store: str = field(default_factory=lambda: f"{STORE}-{random.randrange(10**9)}")

    def __post_init__(self) -> None:
        self.online = Load(
            *(node.api for node in self.doors),
            clients=CLIENTS,
            model=self.cluster.settings.model,
            key=self.key,
            retries=RETRIES,
        )
        self.uploads = Uploads(self.home, self.client)
        self.batch = ""
        self.texts = _texts()
        self.ingest = self._start_ingest()
        self.senders: list[threading.Thread] = []

    @property
    def key(self) -> str:
        """Key of the endpoint."""
        assert self.cluster.settings.api_key is not None
        return self.cluster.settings.api_key.get_secret_value()

    def client(self) -> OpenAI:
        """The unmodified client with its default of two retries."""
        return OpenAI(base_url=f"{self.doors[0].api}/v1", api_key=self.key, timeout=90)

    def until_under_way(self) -> None:
        """Wait until the bulk ingest has written documents; then create the batch, and start the uploads."""
        self.home.until(self._ingest_begun, "the bulk ingest to write", within_s=ENDS_S)
        self.batch = self._create_batch()
        self.senders = self.uploads.start()

    def end(self) -> Done:
        """Wait until all work has ended, and return what it left."""
        for sender in self.senders:
            sender.join()
        self._end_ingest()
        home = self.home
        home.until(lambda: leaseless(home) == [], "jobs without a live worker to start again")
        await_end(home, self.uploads.accepted(), within_s=ENDS_S)
        home.until(lambda: self._batch().status == "completed", "the batch to end", within_s=ENDS_S)
        return Done(contents(home, self.uploads.accepted()), self._ingested(), self._answers())

    def check(self, found: Done, expected: Done) -> None:
        """Check that nothing is lost, and that nothing is done or billed twice."""
        assert self.online.failures == [], self.online.failures[:5]
        assert self.uploads.errors == [], self.uploads.errors[:5]
        accepted = self.uploads.accepted()
        assert len(accepted) == len(documents())
        check(self.home, accepted, expected.uploaded)
        assert found.ingested == expected.ingested
        assert found.answers == expected.answers
        assert self._usage() == {"embedding": self._batch_tokens(), "request": REQUESTS}

    def _create_batch(self) -> str:
        lines = [
            {
                "custom_id": f"{number}",
                "method": "POST",
                "url": "/v1/embeddings",
                "body": {"model": self.cluster.settings.model, "input": f"text {number} " + "word " * 20},
            }
            for number in range(REQUESTS)
        ]
        data = "\n".join(map(json.dumps, lines)).encode()
        file = self.client().files.create(file=("requests.jsonl", data), purpose="batch")
        made = self.client().batches.create(
            input_file_id=file.id, endpoint="/v1/embeddings", completion_window="24h"
        )
        return made.id

    def _batch(self) -> Any:
        return self.client().batches.retrieve(self.batch)

    def _answers(self) -> Answers:
        output = self.client().files.content(self._batch().output_file_id).text
        answers = [json.loads(line) for line in output.splitlines()]
        return Counter(
            (
                one["custom_id"],
                tuple(round(x, 5) for x in one["response"]["body"]["data"][0]["embedding"][:4]),
            )
            for one in answers
        )

    def _batch_tokens(self) -> int:
        return REQUESTS * (2 + 20 + 2)

    def _usage(self) -> Mapping[str, int]:
        rows = self.home.ask(
            "SELECT kind, sum(quantity)::int FROM usage_events"
            " WHERE job = (SELECT job FROM batches WHERE id = %s) GROUP BY kind",
            self.batch,
        )
        return dict(rows)

    def _start_ingest(self) -> psutil.Popen:
        folder = self.folder / "documents"
        folder.mkdir(parents=True)
        for name, text in self.texts.items():
            (folder / name).write_text(text)
        return self._run_ingest()

    def _run_ingest(self) -> psutil.Popen:
        head = f"{self.cluster.head.machine.address}:{GCS_PORT}"
        return self.driver_node.machine.start(
            [
                "python",
                "-m",
                "data_jobs.ingest",
                str(self.folder / "documents"),
                "--vector-store",
                self.store,
            ],
            self.cluster.environment({"RAY_ADDRESS": head, "CLUSTER_BULK_ENGINES": "2"}),
            self.folder / "ingest.log",
        )

    def _ingest_begun(self) -> bool:
        assert self.ingest.poll() is None, (self.folder / "ingest.log").read_text()[-3_000:]
        return self._written() > 0

    def _written(self) -> int:
        ((count,),) = self.home.ask(
            "SELECT count(*) FROM documents JOIN vector_stores AS stores"
            " ON (stores.organisation, stores.id) = (documents.organisation, documents.vector_store)"
            " WHERE stores.name = %s",
            self.store,
        )
        return int(count)

    def _end_ingest(self) -> None:
        """Wait for the command. If the fault ended the command, run it again, as its message says."""
        try:
            code = self.ingest.wait(ENDS_S)
        except psutil.TimeoutExpired:
            raise AssertionError((self.folder / "ingest.log").read_text()[-3_000:]) from None
        if code != 0:
            self.repeated = True
            again = self._run_ingest()
            code = again.wait(ENDS_S)
        assert code == 0, (self.folder / "ingest.log").read_text()[-3_000:]

    def _ingested(self) -> Counter[str]:
        with self.home.pool.connection() as connection:
            store = find_store(connection, self.home.settings.organisation, self.store)
        index = ChunkIndexes(self.home.settings, self.home.pool).of(store)
        rows = index.scan(store.organisation, store.id, collection=store.collection)
        return Counter(row.text for row in rows if row.vector is not None)


def _texts() -> dict[str, str]:
    draw = random.Random(5)
    words = Path(random.__file__).read_text(encoding="utf-8").split()
    return {f"{number:02}.txt": " ".join(draw.choices(words, k=WORDS)) for number in range(DOCUMENTS)}


@contextmanager
def work(
    cluster: NodeCluster, home: Home, folder: Path, *, doors: Sequence[str], driver: str
) -> Iterator[Work]:
    """Run all kinds of work; the clients stop at the end of the block.

    Args:
        doors: names of the nodes whose HAProxy the clients use.
        driver: name of the node on which the command of the bulk ingest runs.
    """
    made = Work(cluster, home, folder, cluster.node(driver), [cluster.node(name) for name in doors])
    with made.online:
        yield made
