"""A party of ``benchmarks.engine``: one process with one engine, which reads commands from standard input.

    python -m benchmarks.peers.encode "ours bfloat16"

Commands and answers are JSON lines. In a process of its own, each party has the OpenMP settings, the imports
and the threads that it would have in production. Heavy modules are imported only when they are needed,
because the time to the first vector is measured.
"""

import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

Encode = Callable[[Sequence[str]], Any]

SINGLE_QUERIES = 15
PEAK_S = 0.5
#: Shapes of the matrix products that measure the peak: the up-projections of the three sizes of BERT, and a
#: square.
PEAK_SHAPES = ((2048, 384, 1536), (2048, 768, 3072), (1024, 1024, 4096), (2048, 2048, 2048))
PEAK_SHAPES_CUDA = ((8192, 8192, 8192), (16384, 4096, 4096))


def main(party: str) -> None:
    """Load the engine, embed one text, then run the commands."""
    encode = (
        _ours(party.removeprefix("ours "))
        if party.startswith("ours ")
        else _sentence_transformers(*party.split()[2:4])
    )
    encode(["How long is the notice period?"])
    _answer(ready=True)
    for line in sys.stdin:
        command = json.loads(line)
        if command["do"] == "peak":
            _answer(flops_per_s=peak(command["dtype"]))
        elif command["do"] == "query":
            _answer(
                seconds=statistics.median(_timed(encode, [command["text"]])[0] for _ in range(SINGLE_QUERIES))
            )
        else:
            processor_s = time.process_time()
            seconds, vectors = _timed(encode, command["texts"])
            processor_s = time.process_time() - processor_s
            if command["save"]:
                import numpy as np

                np.save(command["save"], vectors)
            _answer(seconds=seconds, processor_s=processor_s)


def _ours(precision: str) -> Encode:
    from cluster.engines import Registry, open_engine
    from cluster.settings import Settings

    engine = open_engine(Registry(Settings.model_validate({"precision": precision})).default)
    return lambda texts: engine.embed(texts).vectors


def _sentence_transformers(batch_size: str, dtype: str = "float32") -> Encode:
    import torch
    from sentence_transformers import SentenceTransformer

    from cluster.engines import Registry
    from cluster.engines.weights import open_model_folder
    from cluster.settings import Settings

    kwargs = {"dtype": torch.bfloat16} if dtype == "bfloat16" else {}
    model = SentenceTransformer(
        str(open_model_folder(Registry(Settings()).default).path), local_files_only=True, model_kwargs=kwargs
    )
    return lambda texts: model.encode(list(texts), batch_size=int(batch_size), normalize_embeddings=True)


def peak(dtype: str) -> float:
    """The highest FLOP/s of matrix products on this machine: on all cores at once, or on the GPU."""
    import torch

    if torch.cuda.is_available():
        return max(_products(torch, dtype, "cuda", shape, packed=False) for shape in PEAK_SHAPES_CUDA)
    cores = len(os.sched_getaffinity(0))
    ways = [(shape, packed) for shape in PEAK_SHAPES for packed in (True, False)]
    with ThreadPoolExecutor(cores, initializer=torch.set_num_threads, initargs=(1,)) as workers:
        return max(
            sum(workers.map(lambda _, w=way: _products(torch, dtype, "cpu", w[0], packed=w[1]), range(cores)))
            for way in ways
        )


def _products(torch: Any, dtype: str, device: str, shape: tuple[int, int, int], *, packed: bool) -> float:
    """FLOP/s of one shape, by oneDNN on a packed weight or by the library that torch chooses."""
    from cluster.engines.bert.linear import Linear

    rows, width, out = shape
    weight, bias, x = (
        torch.randn(*size).to(device, getattr(torch, dtype)) for size in ((out, width), (out,), (rows, width))
    )
    layer = Linear(weight, bias) if packed else lambda x: torch.nn.functional.linear(x, weight, bias)
    with torch.inference_mode():
        layer(x)
        times = 0
        started = time.perf_counter()
        while (passed := time.perf_counter() - started) < PEAK_S:
            layer(x)
            if device == "cuda":
                torch.cuda.synchronize()
            times += 1
    return 2.0 * rows * width * out * times / passed


def _timed(encode: Encode, texts: Sequence[str]) -> tuple[float, Any]:
    started = time.perf_counter()
    vectors = encode(texts)
    return time.perf_counter() - started, vectors


def _answer(**values: Any) -> None:
    print(json.dumps(values), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
