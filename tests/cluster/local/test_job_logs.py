"""``make logs JOB=...`` prints everything about one job from every process, in the order of time."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from psycopg_pool import ConnectionPool

from cluster.jobs import attempts, progress, queue
from cluster.jobs.jobs import Job, PriorityClass
from cluster.jobs.kinds import kind_named
from cluster.local.environment import settings_variables
from cluster.local.job_logs.__main__ import main
from cluster.local.job_logs.log_entries import matching
from cluster.settings import Settings
from cluster.tracing import TraceContext, in_trace
from tests.cluster.jobs.turns import take

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
JOB = "job_00000000000000000000000000000001"


def test_lines_of_a_job_and_of_its_trace_are_kept_with_their_tracebacks() -> None:
    lines = [
        json.dumps({"timestamp": "2026-01-01T00:00:00Z", "level": "info", "event": "other", "job": "job_2"}),
        "  a line of the other job",
        json.dumps(
            {
                "timestamp": "2026-01-01T00:00:01.5Z",
                "level": "error",
                "event": "job_broke",
                "job": JOB,
                "process": "worker",
                "pid": 7,
                "exception": "Traceback\nKeyError",
            }
        ),
        f'{{"timestamp": "2026-01-01T00:00:02Z", "event": "cut short", "job": "{JOB}"',
        f"\x1b[2m2026-01-01T00:00:03.25Z\x1b[0m [warning  ] stage_retried   [a] job={JOB} process=worker",
        "Traceback (most recent call last):",
        "ValueError",
        "2026-01-01T00:00:04Z [info     ] request        [b] trace=other",
        f"2026-01-01T00:00:05Z [info     ] request        [b] trace={TRACE} process=endpoint",
    ]

    broke, retried, request = matching(lines, [JOB, TRACE], source="worker-1.err")

    assert (broke.process, broke.event, broke.fields) == ("worker 7", "job_broke", {"job": JOB})
    assert broke.more == ("Traceback", "KeyError", lines[3])
    assert broke.shown().splitlines()[0] == (
        f"2026-01-01 00:00:01.500  worker 7         error    job_broke  job={JOB}"
    )
    assert (retried.process, retried.level, retried.event) == ("worker", "warning", "stage_retried")
    assert retried.more == ("Traceback (most recent call last):", "ValueError")
    assert (request.process, request.more) == ("endpoint", ())


def test_text_of_a_document_in_a_log_does_not_control_the_terminal_or_forge_lines() -> None:
    told = {"timestamp": "2026-01-01T00:00:01", "event": "read", "job": JOB, "exception": "at \x1b[2J\u202e"}
    lines = [
        json.dumps({**told, "file": "a\x1b]0;x\x07\n2026-01-01 00:00:09.000  worker"}),
        f"2026-01-01T77:00:00Z [info     ] no time  job={JOB}",
    ]
    (entry,) = matching(lines, [JOB], source="w")
    first, more, last = entry.shown().splitlines()
    assert first.endswith(r"file=a\x1b]0;x\x07\n2026-01-01 00:00:09.000  worker")
    assert more == r"    at \x1b[2J\u202e"
    assert last.strip() == lines[1]


@pytest.fixture
def job(pool: ConnectionPool, organisation: str) -> Job:
    """A job that failed in its first stage, submitted in a trace."""
    with in_trace(TraceContext(TRACE, "00f067aa0ba902b7")), pool.connection() as connection:
        queue.submit(
            connection, organisation, kind_named("index_file"), {}, priority_class=PriorityClass.HIGH
        )
    with pool.connection() as connection:
        turn = take(connection, organisation)
        assert turn is not None
        job = attempts.claim(connection, turn, worker="test-worker", kinds=["index_file"])
        assert job is not None
        progress.begin_stage(connection, job, "parse")
        progress.end_stage(connection, job, "parse", error="no pages")
        attempts.fail(connection, job, "parse: no pages", code="refused")
    return job


def logged(capsys: pytest.CaptureFixture[str], settings: Settings, *arguments: str) -> tuple[int, list[Any]]:
    """Exit code of the command, and the entries that it prints."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings_variables(settings).items():
            patch.setenv(name, value)
        code = main([*arguments, "--json"])
    return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def line_of(job: str, second: int, **fields: Any) -> str:
    at = f"2020-01-01T00:00:{second:02}Z"
    return json.dumps({"timestamp": at, "level": "info", "event": "seen", "job": job, **fields}) + "\n"


def test_the_history_and_the_files_are_merged_in_the_order_of_time(
    settings: Settings, job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = settings.home / "logs" / "ray"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "worker-b.err").write_text(line_of(job.id, 1, process="worker", pid=7))
    (folder / "worker-a.err").write_text(line_of("job_other", 1) + line_of("", 2, trace=TRACE))

    code, entries = logged(capsys, settings, job.id)

    assert code == 0
    assert [(one["process"], one["event"]) for one in entries[:2]] == [
        ("worker 7", "seen"),
        ("worker-a.err", "seen"),
    ]
    events = [one["event"] for one in entries if one["process"] == "database"]
    assert sorted(events) == sorted(
        ["job queued", "job started", "job stage", "stage ended", "attempt ended", "job failed"]
    )
    failed = next(one for one in entries if one["event"] == "attempt ended")
    assert (failed["fields"]["outcome"], failed["fields"]["error"]) == ("failed", "parse: no pages")


def test_a_job_that_nothing_names_is_a_failure(
    settings: Settings, pool: ConnectionPool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert logged(capsys, settings, "job_unknown") == (1, [])


@pytest.fixture
def dashboard(tmp_path: Path) -> Iterator[str]:
    """Answers as the State API of Ray 2.60 does (``ray.dashboard.modules.state``)."""
    files = {"worker-1.err": line_of(JOB, 1), "worker-2.err": line_of("job_other", 1)}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(url.query).items()}
            if url.path == "/api/v0/nodes":
                nodes = [{"node_id": "n1", "node_ip": "10.0.0.1", "state": "ALIVE"}]
                nodes.append({"node_id": "n2", "node_ip": "10.0.0.2", "state": "DEAD"})
                text = json.dumps({"data": {"result": {"result": nodes}}})
            elif url.path == "/api/v0/logs":
                assert query["node_id"] == "n1"
                found = sorted(files) if query["glob"].startswith("worker") else []
                text = json.dumps({"data": {"result": {"worker_err": found}}})
            else:
                text = files[query["filename"]]
            self.send_response(200)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_files_of_all_live_nodes_are_read_over_the_dashboard(
    settings: Settings, pool: ConnectionPool, dashboard: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, entries = logged(capsys, settings, JOB, "--dashboard", dashboard)

    assert (code, [one["process"] for one in entries]) == (0, ["10.0.0.1 worker-1.err"])


def test_a_dashboard_that_does_not_answer_is_named(
    settings: Settings, pool: ConnectionPool, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings_variables(settings).items():
            patch.setenv(name, value)
        assert main([JOB, "--dashboard", "http://127.0.0.1:9"]) == 1
    assert "check --dashboard" in capsys.readouterr().err
