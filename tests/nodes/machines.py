"""Machines of a test: namespaces of Linux, each with an address of its own, on one bridge. Root only.

A program of a machine sees only the network, the processes and the folder of its machine, so that every node
of Ray listens on the usual ports. ``cut`` is a partition of the network, and ``lose_power`` is the loss of a
machine.

    with network(folder) as made:
        machine = made.add("gpu")
        machine.start(["ray", "start", "--block", ...], environment, log)
        machine.cut()
"""

import contextlib
import os
import random
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from cluster.local.processes import wait_gone

#: Private addresses 10.A.B.0/24 of the bridges. The numbers are drawn, because several test runs may share a
#: machine.
SECOND_BYTES, THIRD_BYTES = range(128, 255), range(1, 255)
GONE_S = 20.0
#: The first process of a machine. It reaps orphans, and the whole machine ends with it.
INIT = 'mount --bind "$0/$1" "$0" && echo ready && while :; do sleep 3600 & wait $!; done'


class NoNamespaces(Exception):
    """Raised if this user or this kernel cannot make network namespaces."""


@dataclass
class Machine:
    """A network namespace with an address, and a namespace of processes as long as a program runs in it."""

    name: str
    namespace: str
    address: str
    #: The end of the machine's network cable on the bridge.
    cable: str
    #: A path at which each machine sees another folder: the folder of this path with the machine's name.
    folder: Path
    #: The parent of the first process; None before the first start.
    init: psutil.Popen | None = None
    #: The programs that ``start`` started since the machine was last off.
    programs: list[psutil.Popen] = field(default_factory=list)

    def start(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> psutil.Popen:
        """Start a program on this machine. Its output is added to the log."""
        with log.open("ab") as output:
            program = psutil.Popen(
                self.command(command),
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.programs.append(program)
        return program

    def command(self, command: Sequence[str]) -> list[str]:
        """Return the command that runs another command on this machine, which is started if it is off."""
        if self.init is None or self.init.poll() is not None:
            self.init = self._boot()
        (first,) = self.init.children()
        return ["nsenter", f"--target={first.pid}", "--net", "--pid", "--mount", *command]

    def _boot(self) -> psutil.Popen:
        inside = ["unshare", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc"]
        first = ["bash", "-c", INIT, str(self.folder), self.name]
        init = psutil.Popen(
            ["ip", "netns", "exec", self.namespace, *inside, *first],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        assert init.stdout is not None
        assert init.stdout.readline() == b"ready\n"
        return init

    def processes(self) -> list[psutil.Process]:
        """Return the live processes of this machine."""
        found = []
        for pid in ip("netns", "pids", self.namespace).split():
            with contextlib.suppress(psutil.NoSuchProcess):
                process = psutil.Process(int(pid))
                if process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def cut(self) -> None:
        """Cut the machine off the network. Its programs run on, and no packet reaches or leaves them."""
        ip("link", "set", self.cable, "down")

    def heal(self) -> None:
        """Connect the machine to the network again."""
        ip("link", "set", self.cable, "up")

    def lose_power(self) -> None:
        """End every program at once, after the network, so that no connection is closed."""
        self.cut()
        self.kill()

    def kill(self) -> None:
        """Send SIGKILL to every program of this machine until none is left."""
        while processes := self.processes():
            self.signal(signal.SIGKILL)
            assert wait_gone(processes, GONE_S) == []
        for program in self.programs:
            program.wait()  # reaps it
        self.programs.clear()
        if self.init is not None:
            self.init.wait()
            if self.init.stdout is not None:
                self.init.stdout.close()
            self.init = None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to every program of this machine."""
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)


@dataclass
class Network:
    """A bridge and the machines on it."""

    bridge: str
    #: The first three numbers of every address.
    prefix: str
    #: See ``Machine.folder``.
    folder: Path
    machines: list[Machine] = field(default_factory=list)

    @property
    def address(self) -> str:
        """The address of this machine, on which Postgres and the servers of the tests listen."""
        return f"{self.prefix}.1"

    def add(self, name: str) -> Machine:
        """Add a machine to the network."""
        number = len(self.machines) + 2
        id = f"{self.bridge}-{number}"
        machine = Machine(
            name, namespace=id, address=f"{self.prefix}.{number}", cable=f"{id}-h", folder=self.folder
        )
        (self.folder / name).mkdir(exist_ok=True)
        self.machines.append(machine)
        ip("netns", "add", id)
        ip("link", "add", machine.cable, "type", "veth", "peer", "name", "eth0", "netns", id)
        ip("link", "set", machine.cable, "master", self.bridge, "up")
        ip("-n", id, "address", "add", f"{machine.address}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            ip("-n", id, "link", "set", device, "up")
        ip("-n", id, "route", "add", "default", "via", self.address)
        return machine

    def remove(self) -> None:
        """End all programs of all machines, and remove the machines and the bridge."""
        for machine in self.machines:
            with contextlib.suppress(subprocess.CalledProcessError):
                machine.signal(signal.SIGCONT)
                machine.kill()
                ip("netns", "delete", machine.namespace)  # removes both ends of the cable
        ip("link", "delete", self.bridge)


@contextmanager
def network(folder: Path) -> Iterator[Network]:
    """Make a network without machines, and remove it with all its machines at the end.

    Args:
        folder: see ``Machine.folder``.

    Raises:
        NoNamespaces: this user or this kernel cannot make network namespaces.
    """
    if os.geteuid() != 0 or shutil.which("ip") is None:
        raise NoNamespaces("network namespaces need root and the program ip (package iproute2)")
    second, third = random.choice(SECOND_BYTES), random.choice(THIRD_BYTES)
    made = Network(bridge=f"ec{second}{third}", prefix=f"10.{second}.{third}", folder=folder)
    try:
        ip("link", "add", made.bridge, "type", "bridge")
    except subprocess.CalledProcessError as exc:
        raise NoNamespaces(f"this machine makes no network bridge: {exc.stderr.strip()}") from exc
    try:
        ip("address", "add", f"{made.address}/24", "dev", made.bridge)
        ip("link", "set", made.bridge, "up")
        yield made
    finally:
        made.remove()


def ip(*arguments: str) -> str:
    """Run the program ip, and return its output."""
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=True)
    return done.stdout
