"""A server on a loopback address that answers as a test says, with TLS where the test asks for it."""

import datetime
import ipaddress
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from cluster.settings import Settings
from tests.simulators.http_server import SimulatorHandler, SimulatorServer, running

#: The only inner address that settings of ``reaching`` permit. "localhost" is another one.
PERMITTED = "127.0.0.9"
Answer = Callable[["OutsideHandler"], None]


class OutsideServer(SimulatorServer):
    """Keeps the requests that it got: method, path, headers, body."""

    def __init__(self, host: str) -> None:
        self.address_family = ipaddress_family(host)
        super().__init__((host, 0), OutsideHandler)
        self.answers: dict[str, Answer] = {}
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        #: Host names that clients sent in TLS.
        self.names: list[str | None] = []

    def url(self, path: str = "/") -> str:
        """The URL of a path."""
        return f"http://{self.server_address[0]!s}:{self.port}{path}"

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class OutsideHandler(SimulatorHandler):
    """Answers with what the test stored for the path."""

    server: OutsideServer

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.requests.append((self.command, self.path, headers, body))
        self.close_connection = True
        self.server.answers[self.path](self)

    do_GET = do_POST = _any

    def answer(self, status: int = 200, body: bytes = b"", **headers: str) -> None:
        """Send a whole answer. An underscore in the name of a header stands for a hyphen."""
        self.send_response(status)
        for name, value in {"content_length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)


def ipaddress_family(host: str) -> int:
    return socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET


def answering(status: int = 200, body: bytes = b"", **headers: str) -> Answer:
    """An answer that is the same each time."""
    return lambda handler: handler.answer(status, body, **headers)


@contextmanager
def outside(host: str = PERMITTED, certificate: Path | None = None) -> Iterator[OutsideServer]:
    """Run a server in the block; with a certificate it speaks TLS."""
    server = OutsideServer(host)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        context.sni_callback = lambda _socket, name, _context: server.names.append(name)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    with running(server):
        yield server


def self_signed(folder: Path, name: str) -> Path:
    """Write a certificate for this host name, with its key, into one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = folder / f"{name}.pem"
    file.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return file


def addresses(*of_each_time: str | list[str]) -> Callable[[str, int], list[str]]:
    """A resolver: its first call returns the first item, and so on; the last item is repeated."""
    left: list[Any] = list(of_each_time)

    def resolve(host: str, port: int) -> list[str]:
        found = left.pop(0) if len(left) > 1 else left[0]
        return found if isinstance(found, list) else [found]

    return resolve


def reaching(port: int, **more: Any) -> Settings:
    """Settings with which requests may reach ``PERMITTED`` on this port, and no other inner address."""
    return Settings(**{"outbound_allow_cidrs": (f"{PERMITTED}/32",), "outbound_ports": (port,), **more})
