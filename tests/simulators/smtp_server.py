"""A small SMTP server (RFC 5321) with STARTTLS (RFC 3207) and AUTH PLAIN (RFC 4616) that keeps its mails."""

import base64
import contextlib
import email
import email.policy
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Any, cast


@dataclass(frozen=True, slots=True)
class ReceivedMail:
    """A mail, and how it arrived."""

    message: EmailMessage
    receivers: tuple[str, ...]
    encrypted: bool
    #: User and password; empty if the client did not log in.
    login: tuple[str, ...]


class SmtpSimulator(socketserver.ThreadingTCPServer):
    """Listens on a free port of 127.0.0.1.

    Args:
        certificate: a PEM file with certificate and key, for STARTTLS; None: no encryption.
    """

    allow_reuse_address, daemon_threads = True, True

    def __init__(self, certificate: Path | None) -> None:
        super().__init__(("127.0.0.1", 0), _Session)
        self.context: ssl.SSLContext | None = None
        if certificate is not None:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(certificate)
        self.mails: list[ReceivedMail] = []
        #: The answer to the next mails, in place of taking them.
        self.refusal: str | None = None

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Session(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        with contextlib.suppress(OSError):  # the client does not trust the certificate
            self._serve()

    def finish(self) -> None:
        with contextlib.suppress(OSError):
            super().finish()
        self.request.close()

    def _serve(self) -> None:
        server = cast(SmtpSimulator, self.server)
        encrypted, login, receivers = False, tuple[str, ...](), list[str]()
        self._say("220 simulator")
        while line := self.rfile.readline().decode().strip():
            verb, _, rest = line.partition(" ")
            match verb.upper():
                case "EHLO":
                    offers = ["AUTH PLAIN"] if encrypted else ["STARTTLS"] * (server.context is not None)
                    lines = ["simulator", *offers]
                    self._say(*(f"250-{offer}" for offer in lines[:-1]), f"250 {lines[-1]}")
                case "STARTTLS":
                    self._say("220 go ahead")
                    assert server.context is not None
                    self._encrypt(server.context)
                    encrypted = True
                case "AUTH":
                    login = tuple(base64.b64decode(rest.split()[-1]).decode().split("\0")[1:])
                    self._say("235 welcome")
                case "MAIL" if server.refusal is not None:
                    self._say(server.refusal)
                case "RCPT":
                    receivers.append(rest.partition("<")[2].partition(">")[0])
                    self._say("250 ok")
                case "DATA":
                    self._say("354 go ahead")
                    message = self._read_message()
                    server.mails.append(ReceivedMail(message, tuple(receivers), encrypted, login))
                    self._say("250 taken")
                case "QUIT":
                    self._say("221 bye")
                    return
                case _:
                    self._say("250 ok")

    def _read_message(self) -> EmailMessage:
        lines = list[bytes]()
        while (line := self.rfile.readline()) != b".\r\n":
            lines.append(line.removeprefix(b"."))
        found: Any = email.message_from_bytes(b"".join(lines), policy=email.policy.default)
        return cast(EmailMessage, found)

    def _encrypt(self, context: ssl.SSLContext) -> None:
        self.rfile.close()
        self.request = context.wrap_socket(self.request, server_side=True)
        self.rfile, self.wfile = self.request.makefile("rb"), self.request.makefile("wb", buffering=0)

    def _say(self, *lines: str) -> None:
        self.wfile.write("".join(f"{line}\r\n" for line in lines).encode())


@contextmanager
def smtp_server(certificate: Path | None = None) -> Iterator[SmtpSimulator]:
    """Run the server in the block."""
    with SmtpSimulator(certificate) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
