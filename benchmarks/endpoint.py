"""Compare our endpoint with infinity and with FastAPI that calls ``encode``, on the same weights and cores.

    python -m benchmarks.endpoint --rounds 5

A party is one of the servers compared. In every round each party is started, warmed up, measured, and stopped
before the next one starts; the order rotates from round to round. All have the same OpenMP settings and
truncate long texts. All get the same texts in the same order, each text once, so that no cache can answer.
The client is a process of its own on the same cores; its cost is printed.

- sentences: 16 clients, one sentence a request;
- passages: 4 clients, 64 texts of mixed lengths a request;
- question: one client, one question a request, beside the engine called directly;
- mixed: one question a second beside passages without pause, against one question a second alone;
- flood: 32 clients of one organisation send eight sentences a request, another organisation sends one
  question a second.

Processor time is that of all processes of a party; for Ray Serve, that of the whole cluster. "engine alone"
is our engine in a process without a server, called with the same texts by one thread per client. bfloat16 is
omitted if the processor would only emulate it.
"""

import argparse
import statistics
import sys
from base64 import b64decode
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

from benchmarks.peers import report
from benchmarks.peers.servers import (
    INFINITY,
    MODEL,
    NAIVE,
    OURS,
    OURS_BF16,
    OURS_UNCACHED,
    PRODUCTION,
    CommandedProcess,
    Server,
    ServerParty,
    client,
    running,
)
from benchmarks.peers.texts import Texts
from cluster.engines.choice.processor import multiplies_bf16
from cluster.logs import configure
from cluster.settings import Settings

WORKLOADS = ("sentences", "passages", "question", "mixed", "flood")
PRECISIONS = ("float32", "bfloat16") if multiplies_bf16() else ("float32",)
PARTIES = (OURS, *([OURS_BF16] if multiplies_bf16() else []), OURS_UNCACHED, PRODUCTION, INFINITY, NAIVE)
#: Workloads without a row for a party, because it has no organisations, or because another row says the same.
EXCLUDED_WORKLOADS = {
    OURS_UNCACHED.name: {"question", "mixed", "flood"},
    PRODUCTION.name: {"flood"},
    INFINITY.name: {"flood"},
    NAIVE.name: {"mixed", "flood"},
}
CLIENTS = {"sentences": 16, "passages": 4, "question": 1}
#: Requests prepared for each workload: more than any party answers in the time, except for questions.
REQUESTS = {"sentences": 8_000, "passages": 60, "question": 60}
#: Texts of a request with passages.
PASSAGES = 64
FLOOD = {"clients": 32, "texts": 8, "requests": 1_000}
#: Interval between the questions of the workloads that measure one question a second.
PACE_S = 1.0
LEAST_COSINE = 0.999
PROBES = ("How long is the notice period of the contract?", "Only the shift supervisor may stop the pump.")

RoundResults = dict[str, dict[str, Any]]


def main() -> int:
    """Run the rounds, and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = "; ".join(party.name for party in PARTIES)
    parser.add_argument(
        "--rounds", type=int, default=5, help="interleaved rounds; medians are printed (default: %(default)s)"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=8.0,
        help="time of a workload, after which no request begins (default: %(default)s)",
    )
    parser.add_argument(
        "--workloads",
        nargs="+",
        choices=WORKLOADS,
        default=WORKLOADS,
        help="measure only these (default: all)",
    )
    parser.add_argument(
        "--parties", nargs="+", default=[""], help=f"measure only these, by name or by a word of it: {names}"
    )
    arguments = parser.parse_args()
    configure(Settings(log_level="WARNING"))
    whole = {party.name for party in PARTIES}
    parties = [
        party
        for party in PARTIES
        if any(word == party.name or (word in party.name and word not in whole) for word in arguments.parties)
    ]
    rounds = []
    with client() as load:
        benchmark = EndpointBenchmark(load, set(arguments.workloads), arguments.seconds)
        for number in range(arguments.rounds):
            rounds.append(benchmark.round(number, parties))
    report.show(rounds, baseline=INFINITY.name)
    return 0


class EndpointBenchmark:
    """Measures the parties with one client process."""

    def __init__(self, load: CommandedProcess, workloads: set[str], seconds: float) -> None:
        self._load = load
        self._seconds = seconds
        self._workloads = workloads
        self._reference: NDArray[np.float32] | None = None

    def round(self, number: int, parties: list[ServerParty]) -> RoundResults:
        """Results of one round, by party and by workload; all parties get the same texts."""
        seen: RoundResults = {
            f"engine alone, {precision}": self._direct(number, precision) for precision in PRECISIONS
        }
        turn = number % len(parties)
        for party in parties[turn:] + parties[:turn]:
            print(f"round {number + 1}: {party.name}", file=sys.stderr)
            wanted = self._workloads - EXCLUDED_WORKLOADS.get(party.name, set())
            with running(party) as server:
                self._warm_up(server)
                seen[party.name] = self._party(server, Texts(number), wanted)
            if "flood" in wanted:
                with running(party, options=["--organisations"]) as server:
                    self._warm_up(server)
                    seen[party.name]["flood"] = self._flood(server, Texts(1_000 + number))
        return seen

    def _direct(self, number: int, precision: str) -> dict[str, Any]:
        texts, seen = Texts(number), {}
        with closing(CommandedProcess("direct", {"CLUSTER_PRECISION": precision})) as engine:
            for workload in CLIENTS:
                calls = [[text] if isinstance(text, str) else text for text in inputs(workload, texts)]
                if workload in self._workloads:
                    answer = engine.ask(
                        {"clients": CLIENTS[workload], "requests": calls, "seconds": self._seconds}
                    )
                    seen[workload] = measured(
                        answer, answer["latencies_s"], answer["texts"], answer["processor_s"]
                    )
        return seen

    def _party(self, server: Server, texts: Texts, wanted: set[str]) -> dict[str, Any]:
        seen = {}
        for workload in CLIENTS:
            requests = [server.request(one) for one in inputs(workload, texts)]
            if workload in wanted:
                seen[workload] = self._busy(server, requests, CLIENTS[workload])
        if "mixed" in wanted:
            seen["mixed"] = self._mixed(server, texts)
        return seen

    def _busy(self, server: Server, requests: list[Any], clients: int, **more: Any) -> dict[str, Any]:
        before = server.processor_s()
        answer = self._ask(
            server,
            busy={"clients": clients, "requests": requests, "headers": {}, "seconds": self._seconds},
            **more,
        )
        seen = measured(
            answer, answer["busy"]["latencies_s"], answer["busy"]["vectors"], server.processor_s() - before
        )
        return {
            **seen,
            "client": answer["processor_s"] / answer["seconds"],
            "paced": answer["paced"]["latencies_s"],
        }

    def _mixed(self, server: Server, texts: Texts) -> dict[str, Any]:
        idle = self._idle(server, texts)
        requests = [server.request(one) for one in inputs("passages", texts)]
        busy = self._busy(server, requests, CLIENTS["passages"], **self._paced(server, texts))
        return {"idle": idle, "busy": busy["paced"], "texts_per_s": busy["texts_per_s"]}

    def _flood(self, server: Server, texts: Texts) -> dict[str, Any]:
        idle = self._idle(server, texts)
        requests = [
            server.request([texts.sentence() for _ in range(FLOOD["texts"])])
            for _ in range(FLOOD["requests"])
        ]
        busy = {
            "clients": FLOOD["clients"],
            "requests": requests,
            "headers": {"x-organisation": "flood"},
            "seconds": self._seconds,
        }
        answer = self._ask(server, busy=busy, **self._paced(server, texts))
        return {
            "idle": idle,
            "busy": answer["paced"]["latencies_s"],
            "texts_per_s": answer["busy"]["vectors"] / answer["seconds"],
        }

    def _idle(self, server: Server, texts: Texts) -> list[float]:
        return self._ask(server, **self._paced(server, texts, round(self._seconds / PACE_S)))["paced"][
            "latencies_s"
        ]

    def _paced(self, server: Server, texts: Texts, count: int = 600) -> dict[str, Any]:
        requests = [server.request(texts.question()) for _ in range(count)]
        return {"paced": {"requests": requests, "headers": {"x-organisation": "other"}, "every_s": PACE_S}}

    def _ask(self, server: Server, **command: Any) -> dict[str, Any]:
        answer = self._load.ask({"url": server.url, **command})
        if errors := answer["busy"]["errors"] + answer["paced"]["errors"]:
            raise SystemExit(f"{server.party.name}: {len(errors)} errors, the first: {errors[0]}")
        return answer

    def _warm_up(self, server: Server) -> None:
        """Compare the vectors with those of the first party, and let the server allocate its memory."""
        vectors = embedded_by(server, PROBES)
        self._reference = vectors if self._reference is None else self._reference
        cosine = np.einsum("nd,nd->n", vectors, self._reference).min()
        if cosine < LEAST_COSINE:
            raise SystemExit(
                f"{server.party.name}: its vectors differ from the first party's (cosine {cosine:.4f})"
            )
        texts = Texts(1_000_000)
        self._busy(server, [server.request(texts.passages(20)) for _ in range(4)], 4)
        self._busy(server, [server.request(texts.sentence()) for _ in range(48)], 16)


def inputs(workload: str, texts: Texts) -> list[Any]:
    """The inputs of the requests of a workload."""
    make = {
        "sentences": texts.sentence,
        "passages": lambda: texts.passages(PASSAGES),
        "question": texts.question,
    }[workload]
    return [make() for _ in range(REQUESTS[workload])]


def measured(
    answer: dict[str, Any], latencies_s: list[float], texts: int, processor_s: float
) -> dict[str, Any]:
    """Throughput, latencies and processor time of one workload."""
    p50, p95 = statistics.median(latencies_s), float(np.quantile(latencies_s, 0.95))
    return {
        "texts_per_s": texts / answer["seconds"],
        "p50_s": p50,
        "p95_s": p95,
        "processor_s": processor_s / texts,
    }


def embedded_by(
    server: Server, texts: Sequence[str], headers: Mapping[str, str] | None = None
) -> NDArray[np.float32]:
    """(n, dim) float32: the vectors that the server sends, scaled to unit length."""
    body = {"model": MODEL, "input": texts, **server.party.fields}
    answer = httpx.post(server.url, json=body, headers=headers, timeout=120).raise_for_status().json()
    sent = [item["embedding"] for item in answer["data"]]
    vectors = np.array(
        [np.frombuffer(b64decode(one), "<f4") if isinstance(one, str) else one for one in sent],
        dtype=np.float32,
    )
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


if __name__ == "__main__":
    sys.exit(main())
