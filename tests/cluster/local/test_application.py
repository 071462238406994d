"""``up`` sends the configuration to Serve until Serve accepts it, and says why if Serve refuses it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from cluster.errors import Unavailable
from cluster.local import application
from cluster.local.addresses import NO_ANSWER
from cluster.settings import Settings


@contextmanager
def serve_api(tmp_path: Path, statuses: list[int]) -> Iterator[Settings]:
    """An HTTP server in place of Serve's REST API, which answers with these statuses in turn, or closes the
    connection for the status 0.
    """

    class Answers(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            status = statuses.pop(0)
            if status == NO_ANSWER:
                return
            self.send_response(status)
            self.end_headers()
            self.wfile.write(b"the reason")

        def log_message(self, format: str, *arguments: object) -> None:
            del format, arguments

    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield Settings(home=tmp_path, dashboard_port=server.server_port)
        finally:
            server.shutdown()
            thread.join()


def test_an_internal_error_or_no_answer_of_serve_is_followed_by_another_request(tmp_path: Path) -> None:
    statuses = [500, NO_ANSWER, 500, 200]
    with serve_api(tmp_path, statuses) as settings:
        application._send({}, settings)
    assert statuses == []


def test_a_refused_configuration_is_not_sent_again(tmp_path: Path) -> None:
    statuses = [400, 200]
    with serve_api(tmp_path, statuses) as settings, pytest.raises(Unavailable, match=r"400.*the reason"):
        application._send({}, settings)
    assert statuses == [200]


@pytest.mark.parametrize(
    ("status", "error"), [(500, "500.*the reason"), (NO_ANSWER, "gave no answer in 0 s")]
)
def test_an_error_that_lasts_is_reported(
    status: int, error: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(application, "SERVE_ERROR_LASTS_S", 0.0)
    with serve_api(tmp_path, [status]) as settings, pytest.raises(Unavailable, match=error):
        application._send({}, settings)
