"""Replicas behind HAProxy start, stop, are replaced and are killed under load, and no request is lost."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import pytest
from openai import OpenAI

from cluster.local.addresses import ports_of
from cluster.settings.chat import ChatModelSetting
from cluster.settings.values import Table
from serve_app.embedding.inputs import MAX_INPUTS
from tests.cluster.deploy.test_dashboard import DASHBOARD, DASHBOARDS, PROMETHEUS, metrics_asked_for
from tests.conftest import NewHome
from tests.launch.embedding_load import MODEL, Load
from tests.launch.production_cluster import Production, production
from tests.simulators.chat_server import ChatFault, ChatServerSimulator, chat_server
from tests.waiting import LONGEST_WAIT_S, Stopwatch, until

pytestmark = pytest.mark.launch

SHARE = 0.5
MOST = 2
CLIENTS = 10
#: The largest message of gRPC unless ``ray.env`` says otherwise.
GRPC_DEFAULT_BYTES = 4 * 1024 * 1024
#: Metrics that have series only after a job.
OF_JOBS = {
    f"ray_embedding_{name}"
    for name in ("jobs", "jobs_ended_lately", "job_attempts_lately", "dead_letters", "job_stage_seconds")
}


@pytest.fixture(scope="module")
def chat() -> Iterator[ChatServerSimulator]:
    with chat_server() as chat:
        yield chat


@pytest.fixture(scope="module")
def cluster(new_home: NewHome, chat: ChatServerSimulator) -> Iterator[Production]:
    """One or two replicas on half a GPU each, depending on the load; the engines compute on the CPU."""
    changed = {
        "device": "cpu",
        "gpus_per_engine_process": SHARE,
        "engine_threads": 1,
        "min_replicas": 1,
        "max_replicas": MOST,
        "target_ongoing_requests": 3.0,
        "upscale_delay_s": 1.0,
        "downscale_delay_s": 2.0,
        "update_surge_percent": 100,
        "worker_max_jobs": 1,
        "chat_models": Table(
            {"simulated": ChatModelSetting(model="m-1", base_url=chat.url, context_tokens=4_096)}
        ),
    }
    with production(new_home("production").model_copy(update=changed)) as cluster:
        yield cluster


def test_a_replica_requests_its_share_of_a_gpu_and_computes_on_the_device_of_the_settings(
    cluster: Production,
) -> None:
    assert cluster.deployment()["required_resources"] == {"CPU": 1, "GPU": SHARE}
    with Load(cluster.api, clients=1) as load:
        until(lambda: load.answered > 2, what="answers")
    assert load.failures == []


def asked_to_chat(cluster: Production) -> AbstractContextManager[httpx.Response]:
    """Ask the chat model, and stream its answer."""
    body = {"model": "simulated", "stream": True, "messages": [{"role": "user", "content": "How are you?"}]}
    return httpx.stream("POST", f"{cluster.api}/v1/chat/completions", json=body, timeout=LONGEST_WAIT_S)


def test_an_answer_is_streamed_through_the_ingress_and_a_client_that_leaves_cancels_it(
    cluster: Production, chat: ChatServerSimulator
) -> None:
    with asked_to_chat(cluster) as answer:  # so that each metric of chat servers has a value
        assert answer.read().endswith(b"data: [DONE]\n\n")
    chat.faults.append(ChatFault.SLOW_TOKENS)
    with asked_to_chat(cluster) as answer:
        for line in answer.iter_lines():
            if '"content":"You ' in line:
                break
    left = Stopwatch()
    assert left.seconds(until(lambda: chat.calls[-1].left_at, what="the end of the request")) < 1.0


def ask(cluster: Production, *texts: str) -> int:
    """Embed the texts and return how many tokens they had."""
    body = {"model": MODEL, "input": texts, "overflow": "truncate"}
    answer = httpx.post(f"{cluster.api}/v1/embeddings", json=body, timeout=LONGEST_WAIT_S)
    assert answer.status_code == httpx.codes.OK, answer.text
    return int(answer.json()["usage"]["total_tokens"])


def test_metrics_that_prometheus_reads_count_each_request(cluster: Production) -> None:
    until(lambda: "ray_embedding_batches_total" in cluster.metrics(), what="the first report")
    before = cluster.metrics()

    computed = ask(cluster, "a short text", "another one") + ask(cluster, "too long " * 2_000)
    again = ask(cluster, "another one")

    expected = {
        "batches": 2,
        "batch_inputs": 3,
        "batch_tokens": computed,
        "cache_misses": 3,
        "cache_hits": 1,
        "truncated_inputs": 1,
        "organisation_tokens": computed + again,
        "refused_requests": 0,
        "dropped_inputs": 0,
    }

    def counted() -> dict[str, float]:
        now = cluster.metrics()
        return {
            name: now[metric] - before[metric]
            for name in expected
            if (metric := f"ray_embedding_{name}_total") in now
        }

    until(lambda: counted() == expected, what=f"{expected}")
    now = cluster.metrics()
    assert now["ray_embedding_padding_ratio"] == 1.0
    assert now["ray_embedding_queue_tokens"] == 0
    assert 0 <= now["ray_embedding_engine_busy_share"] < 1


def test_every_metric_of_the_dashboard_exists(cluster: Production) -> None:
    names = metrics_asked_for(DASHBOARD) | metrics_asked_for(DASHBOARDS["jobs"]) - OF_JOBS
    assert len(names) > 15
    until(lambda: names <= set(cluster.metrics()), what=f"all of {sorted(names)}")


def test_the_configuration_of_prometheus_finds_this_node(cluster: Production) -> None:
    (target_file,) = {
        file
        for job in PROMETHEUS["scrape_configs"]
        for one in job["file_sd_configs"]
        for file in one["files"]
    }
    groups = json.loads((cluster.folder / Path(target_file).name).read_text())

    assert f"127.0.0.1:{ports_of(cluster.settings)['metrics_export']}" in groups[0]["targets"]


def job_of_file(http: httpx.Client, text: str) -> str:
    """Upload the text, attach it to a new vector store, and return the id of the job that indexes it."""
    uploaded = http.post("files", files={"file": ("note.txt", text)}, data={"purpose": "assistants"})
    file = uploaded.json()["id"]
    http.post("vector_stores", json={"file_ids": [file]})
    (job,) = http.get("jobs", params={"subject": file}).json()["data"]
    return str(job["id"])


def test_serve_replaces_a_worker_that_ran_its_number_of_jobs(cluster: Production) -> None:
    def worker_of_a_job(text: str) -> str:
        job = job_of_file(http, text)
        ended = until(lambda: http.get(f"jobs/{job}").json(), lambda job: job["state"] == "succeeded")
        return str(ended["attempts"][-1]["worker"])

    with httpx.Client(base_url=f"{cluster.api}/v1/", timeout=LONGEST_WAIT_S) as http:
        workers = [worker_of_a_job(f"Note {number}.") for number in range(3)]
    assert len(set(workers)) == len(workers)


def test_a_suspended_worker_does_not_stop_the_endpoint(cluster: Production) -> None:
    text = " ".join(f"Note {number} of a long list." for number in range(4_000))
    with httpx.Client(base_url=f"{cluster.api}/v1/", timeout=LONGEST_WAIT_S) as http:
        job = job_of_file(http, text)
        until(lambda: http.get(f"jobs/{job}").json(), lambda job: job["stage"] == "embed")
        suspended = list(cluster.workers().values())
        for pid in suspended:
            os.kill(pid, signal.SIGSTOP)
        try:
            for number in range(300):  # the calls of the worker end in the meantime
                asked = Stopwatch()
                ask(cluster, f"question {number}")
                assert asked.seconds() < 10
        finally:
            for pid in suspended:
                os.kill(pid, signal.SIGCONT)
        until(lambda: http.get(f"jobs/{job}").json(), lambda job: job["state"] == "succeeded")


def test_the_answer_to_a_line_of_a_batch_may_have_many_megabytes(cluster: Production) -> None:
    client = OpenAI(base_url=f"{cluster.api}/v1", api_key="unused", timeout=LONGEST_WAIT_S)
    body = {"model": MODEL, "input": [f"word {number}" for number in range(MAX_INPUTS)]}
    line = {"custom_id": "large", "method": "POST", "url": "/v1/embeddings", "body": body}
    file = client.files.create(file=("lines.jsonl", json.dumps(line).encode()), purpose="batch")
    batch = client.batches.create(input_file_id=file.id, endpoint="/v1/embeddings", completion_window="24h")
    ended = until(lambda: client.batches.retrieve(batch.id), lambda batch: batch.status == "completed")
    answer = client.files.content(ended.output_file_id).content
    assert len(answer) > GRPC_DEFAULT_BYTES
    assert len(json.loads(answer)["response"]["body"]["data"]) == MAX_INPUTS


def test_load_starts_another_replica(cluster: Production) -> None:
    until(lambda: len(cluster.replicas()) == 1, what="one replica to remain")

    with Load(cluster.api, clients=CLIENTS) as load:
        until(lambda: len(cluster.replicas()) == MOST, what="replicas to be added")

    assert load.failures == []


def test_a_new_release_replaces_the_replicas_under_load(cluster: Production) -> None:
    with Load(cluster.api, clients=CLIENTS) as load:
        until(lambda: len(cluster.replicas()) == MOST, what="replicas to be added")
        old = set(cluster.replicas())
        cluster.deploy("second")
        until(lambda: len(new := set(cluster.replicas())) == MOST and not new & old, what="the new release")

    assert load.failures == []


def test_a_killed_replica_costs_no_request(cluster: Production) -> None:
    with Load(cluster.api, clients=CLIENTS) as load:
        until(lambda: len(cluster.replicas()) == MOST and load.answered > CLIENTS, what="replicas at work")
        victim, pid = next(iter(cluster.replicas().items()))
        os.kill(pid, signal.SIGKILL)
        until(
            lambda: victim not in (now := cluster.replicas()) and len(now) == MOST,
            what="another in its place",
        )

    assert load.failures == []


def test_without_load_a_replica_finishes_its_requests_and_stops(cluster: Production) -> None:
    with Load(cluster.api, clients=CLIENTS):
        until(lambda: len(cluster.replicas()) == MOST, what="replicas to be added")
    with Load(cluster.api, clients=1) as load:
        urls = {id: cluster.url_of(pid) for id, pid in cluster.replicas().items()}
        assert {httpx.get(f"{url}/readyz", timeout=LONGEST_WAIT_S).status_code for url in urls.values()} == {
            httpx.codes.OK
        }
        until(lambda: bool(urls.keys() & cluster.replicas("STOPPING")), what="a replica to be stopped")
        stopping = urls[next(iter(urls.keys() & cluster.replicas("STOPPING")))]

        ready, alive = (
            httpx.get(f"{stopping}/readyz", timeout=LONGEST_WAIT_S),
            httpx.get(f"{stopping}/healthz", timeout=LONGEST_WAIT_S),
        )

        assert (ready.status_code, ready.json()["status"], alive.status_code) == (503, "stopping", 200)
        until(
            lambda: len(cluster.replicas()) == 1 and not cluster.replicas("STOPPING"),
            what="one replica to remain",
        )
    assert load.failures == []
