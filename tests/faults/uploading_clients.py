"""Clients that upload documents over HTTP and attach them, while a test disturbs the cluster.

load = Load(home, client)
load.send()
check(home, load.accepted(), expected)
"""

import threading
import time
from collections.abc import Callable

from openai import APIConnectionError, InternalServerError, OpenAI

from cluster.documents.files import get_file
from cluster.documents.vector_stores.stores import get_store
from tests.faults.accepted_files import Accepted, Home, documents

CLIENTS = 2
#: Pause between two files of one client.
PAUSE_S = 0.3


class Uploads:
    """Clients that together upload every document and attach it to a new vector store.

    Args:
        home: the database of the cluster.
        client: makes a client of the endpoint.
    """

    def __init__(self, home: Home, client: Callable[[], OpenAI]) -> None:
        self._home, self._client = home, client
        self.store = client().vector_stores.create(name="faults").id
        self.jobs: dict[str, tuple[str, str]] = {}
        self.remaining = list(documents().items())
        self.errors: list[Exception] = []

    def start(self) -> list[threading.Thread]:
        """Start the clients and return their threads."""
        share = [self.remaining[number::CLIENTS] for number in range(CLIENTS)]
        clients = [threading.Thread(target=self._send, args=[part]) for part in share]
        for client in clients:
            client.start()
        return clients

    def send(self) -> None:
        """Send all remaining documents."""
        for client in self.start():
            client.join()

    def accepted(self) -> list[Accepted]:
        """Files for which a client has received the id of a job."""
        home, organisation = self._home, self._home.settings.organisation
        known = documents()
        with home.pool.connection() as connection:
            store = get_store(connection, organisation, self.store)
            files = {name: get_file(connection, organisation, file) for name, (file, _) in self.jobs.items()}
        return [Accepted(store, files[name], job, known[name][1]) for name, (_, job) in self.jobs.items()]

    def _send(self, part: list[tuple[str, tuple[bytes, str]]]) -> None:
        client = self._client()
        for name, (data, state) in part:
            try:
                file = client.files.create(file=(name, data), purpose="assistants")
                attached = client.vector_stores.files.create(self.store, file_id=file.id).to_dict()
            except (APIConnectionError, InternalServerError) as exc:
                self.errors.append(exc)
                return
            self.jobs[name] = (file.id, str(attached["job_id"]))
            self.remaining.remove((name, (data, state)))
            time.sleep(PAUSE_S)
