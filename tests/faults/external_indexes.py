"""The indexes outside Postgres that the fault tests write to. Each kills workers in the middle of a write.

outside.kill_at("upsert")        # the worker that sends the next upsert
"""

import os
from itertools import count

import psutil

from tests import folder_index
from tests.faults.accepted_files import Home
from tests.faults.worker_processes import Workers
from tests.simulators.pinecone.faults import IndexFaults
from tests.simulators.pinecone.refusal import Refusal
from tests.simulators.pinecone.server import PineconeServer
from tests.simulators.pinecone.service import Body

#: Name of the simulated Pinecone in the settings.
SIMULATED = "simulated"


class InFolder:
    """The index in files under the home."""

    name = folder_index.NAME

    def __init__(self, home: Home) -> None:
        self._settings = home.settings
        self.recover()

    def kill_at(self, operation: str) -> None:
        """Kill the next worker that upserts or deletes; see ``folder_index.Behaviour``."""
        folder_index.behave(self._settings, killed_at=operation)

    def at_rest(self) -> bool:
        """True once the worker was killed."""
        return folder_index.at_rest(self._settings)

    def recover(self) -> None:
        """Carry out every operation from now on, without killing a worker."""
        folder_index.behave(self._settings)


class OnPinecone:
    """Pinecone on a simulator.

    An upsert of a killed worker is carried out all the same, and its delete is not.
    """

    name = SIMULATED

    def __init__(self, server: PineconeServer, workers: Workers) -> None:
        self._server = server
        self._workers = workers
        #: Process ids of the killed workers.
        self.killed: list[int] = []
        self._asked = 0

    def kill_at(self, operation: str, number: int = 1) -> None:
        """Kill the worker that sends the request with this number, of those of this operation from now on."""
        numbers = count(1)
        self._asked += 1

        def before(arrived: str, body: Body, port: int) -> None:
            del body
            if arrived != operation or next(numbers) != number:
                return
            worker = self._sender(port)
            worker.kill()
            self.killed.append(worker.pid)
            if operation == "delete":
                raise Refusal(503, "the client was killed")

        self._server.before = before

    def at_rest(self) -> bool:
        """True once as many workers were killed as the test asked for."""
        return len(self.killed) == self._asked

    def recover(self) -> None:
        """Carry out every request from now on."""
        self._server.before = None
        self._server.faults = IndexFaults()

    def _sender(self, port: int) -> psutil.Process:
        """The worker that sends from this port."""
        connections = {
            connection.laddr.port: process
            for process in self._workers.alive()
            for connection in process.net_connections("tcp")
        }
        assert connections[port].pid != os.getpid()
        return connections[port]
