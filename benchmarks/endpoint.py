"""Our endpoint beside infinity and beside FastAPI with ``encode`` in its handler, on the same weights, texts and cores, in one run.

    python -m benchmarks.endpoint --rounds 5

In every round each party is started anew, warmed up, asked, and stopped before the next one starts; the order turns from
round to round. All have the same OpenMP settings and truncate what is too long. Texts come in the same order to all, each once,
so that no cache can answer. The client is a process of its own on the same cores; what it cost is printed.

- sentences: 16 clients, one sentence a request;
- passages: 4 clients, 64 texts of mixed lengths a request;
- question: one client, one question a request, beside the engine called directly;
- mixed: passages without pause, and beside them one question a second, against the same without the passages;
- flood: one organisation's 32 clients send eight sentences a request, another asks one question a second.

Processor time is that of all processes of a party, for Ray Serve those of the whole cluster. "engine alone" is our engine
in a process without a server, called with the same texts by as many threads as there are clients. bfloat16 is left out where the
processor would only emulate it.
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
    Obedient,
    Party,
    Server,
    client,
    running,
)
from benchmarks.peers.texts import Texts
from cluster.engines.choice.processor import multiplies_bf16
from cluster.logs import configure
from cluster.settings import Settings

WORKLOADS = ("sentences", "passages", "question", "mixed", "flood")
PRECISIONS = ("float32", "bfloat16") if multiplies_bf16() else ("float32",)
ALL = (OURS, *([OURS_BF16] if multiplies_bf16() else []), OURS_UNCACHED, PRODUCTION, INFINITY, NAIVE)
#: What a party is not asked for: organisations it cannot tell apart, or what another row says already.
LEFT_OUT = {
    OURS_UNCACHED.name: {"question", "mixed", "flood"},
    PRODUCTION.name: {"flood"},
    INFINITY.name: {"flood"},
    NAIVE.name: {"mixed", "flood"},
}
CLIENTS = {"sentences": 16, "passages": 4, "question": 1}
#: More than anybody answers in the time there is, except questions.
REQUESTS = {"sentences": 8_000, "passages": 60, "question": 60}
PASSAGES = 64
FLOOD = {"clients": 32, "texts": 8, "requests": 1_000}
EVERY_S = 1.0
LEAST_COSINE = 0.999
PROBES = ("How long is the notice period of the contract?", "Only the shift supervisor may stop the pump.")

Seen = dict[str, dict[str, Any]]


def main() -> int:
    """Run the rounds, print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = "; ".join(party.name for party in ALL)
    parser.add_argument(
        "--rounds", type=int, default=5, help="interleaved rounds; medians are printed (default: %(default)s)"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=8.0,
        help="after which a workload begins no request (default: %(default)s)",
    )
    parser.add_argument(
        "--workloads", nargs="+", choices=WORKLOADS, default=WORKLOADS, help="only these (default: all)"
    )
    parser.add_argument(
        "--parties", nargs="+", default=[""], help=f"only these, by name or by a word of it: {names}"
    )
    arguments = parser.parse_args()
    configure(Settings(log_level="WARNING"))
    whole = {party.name for party in ALL}
    parties = [
        party
        for party in ALL
        if any(word == party.name or (word in party.name and word not in whole) for word in arguments.parties)
    ]
    rounds = []
    with client() as load:
        bench = Bench(load, set(arguments.workloads), arguments.seconds)
        for number in range(arguments.rounds):
            rounds.append(bench.round(number, parties))
    report.show(rounds, baseline=INFINITY.name)
    return 0


class Bench:
    """The rounds, on one client."""

    def __init__(self, load: Obedient, workloads: set[str], seconds: float) -> None:
        self._load = load
        self._seconds = seconds
        self._workloads = workloads
        self._reference: NDArray[np.float32] | None = None

    def round(self, number: int, parties: list[Party]) -> Seen:
        """What each party did, by its name and by workload; all get the same texts."""
        seen: Seen = {
            f"engine alone, {precision}": self._direct(number, precision) for precision in PRECISIONS
        }
        turn = number % len(parties)
        for party in parties[turn:] + parties[:turn]:
            print(f"round {number + 1}: {party.name}", file=sys.stderr)
            wanted = self._workloads - LEFT_OUT.get(party.name, set())
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
        with closing(Obedient("direct", {"CLUSTER_PRECISION": precision})) as engine:
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
        return self._ask(server, **self._paced(server, texts, round(self._seconds / EVERY_S)))["paced"][
            "latencies_s"
        ]

    def _paced(self, server: Server, texts: Texts, count: int = 600) -> dict[str, Any]:
        requests = [server.request(texts.question()) for _ in range(count)]
        return {"paced": {"requests": requests, "headers": {"x-organisation": "other"}, "every_s": EVERY_S}}

    def _ask(self, server: Server, **order: Any) -> dict[str, Any]:
        answer = self._load.ask({"url": server.url, **order})
        if errors := answer["busy"]["errors"] + answer["paced"]["errors"]:
            raise SystemExit(f"{server.party.name}: {len(errors)} errors, the first: {errors[0]}")
        return answer

    def _warm_up(self, server: Server) -> None:
        """Compare its vectors with those of the first party, and let it lay out its memory."""
        vectors = embedded_by(server, PROBES)
        self._reference = vectors if self._reference is None else self._reference
        cosine = np.einsum("nd,nd->n", vectors, self._reference).min()
        if cosine < LEAST_COSINE:
            raise SystemExit(f"{server.party.name}: its vectors are others (cosine {cosine:.4f})")
        texts = Texts(1_000_000)
        self._busy(server, [server.request(texts.passages(20)) for _ in range(4)], 4)
        self._busy(server, [server.request(texts.sentence()) for _ in range(48)], 16)


def inputs(workload: str, texts: Texts) -> list[Any]:
    """What the requests of a workload hold."""
    make = {
        "sentences": texts.sentence,
        "passages": lambda: texts.passages(PASSAGES),
        "question": texts.question,
    }[workload]
    return [make() for _ in range(REQUESTS[workload])]


def measured(
    answer: dict[str, Any], latencies_s: list[float], texts: int, processor_s: float
) -> dict[str, Any]:
    """Throughput, latencies and cost of one workload."""
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
    """(n, dim) float32 as the server sends them, brought to unit length."""
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
