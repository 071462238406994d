"""Step 2: every path of the GPU gives the vectors of float32 on the CPU.

A row has the least cosine of its inputs, and the aim of the path: 0.9999 in bfloat16, 0.99999 in float32.
"""

import json
import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.gpu.step import MODELS, Ids, Step, encoder_of, engine_of, model_of, packed, random_ids
from benchmarks.peers.texts import Texts
from cluster.engines import Registry
from cluster.engines.bert.forward import BertEncoder
from cluster.engines.bert.gpu import SIZES, Replays, recorded, to_host
from cluster.engines.tokens.tokeniser import LocalTokeniser
from cluster.engines.weights import ModelFolder, open_model_folder
from cluster.settings import Settings

AIM_HALF, AIM_FLOAT32 = 0.9999, 0.99999
CPU = torch.device("cpu")
#: Lengths in tokens that are easy to get wrong: the shortest, those around the kernels' tiles, the longest.
LENGTHS = (1, 2, 3, 15, 16, 17, 63, 64, 65, 127, 128, 129, 200, 255, 256)
TEXTS, BATCHES = 200, 200


def run(step: Step) -> None:
    """Check every path."""
    folder = model_of(step.small)
    with step.part("references"):
        ids = _texts(folder, step.sized(TEXTS, 10))
        expected = _reference(folder, ids)
    with step.part("bfloat16, mean"):
        _report(
            step, f"{step.small}, mean", _vectors(step, encoder_of(step, folder), [ids]), expected, AIM_HALF
        )
    with step.part("float32"):
        found = _vectors(step, encoder_of(step, folder, torch.float32), [ids])
        _report(step, f"{step.small}, float32", found, expected, AIM_FLOAT32)
    with step.part("cls"):
        _cls(step, folder, ids)
    with step.part("lengths"):
        _lengths(step, folder)
    with step.part("recorded sizes"):
        _recorded(step, folder)
    with step.part("a bias by distance"):
        _distances(step)
    with step.part("batch independence"):
        _independence(step, folder, ids, expected)
    with step.part("two lanes at once"):
        _lanes(step, ids, expected)


def _texts(folder: ModelFolder, count: int) -> Ids:
    """Token ids of real texts with special tokens, the longest first."""
    tokeniser = LocalTokeniser(folder)
    whole = [
        np.array([*tokeniser.prefix, *one[: tokeniser.max_content_tokens], *tokeniser.suffix], np.int32)
        for one in tokeniser.ids(Texts(seed=1).passages(count))
    ]
    return sorted(whole, key=len, reverse=True)


def _reference(folder: ModelFolder, ids: Ids, pooling: str | None = None) -> NDArray[np.float32]:
    encoder = BertEncoder(folder, device=CPU, dtype=torch.float32)
    encoder.pooling = encoder.pooling if pooling is None else pooling
    with torch.inference_mode():
        return np.concatenate([encoder([one]).numpy() for one in ids])


def _vectors(step: Step, encoder: BertEncoder, batches: Sequence[Ids]) -> NDArray[np.float32]:
    """Compute each batch on the device."""
    compute: Callable[[Ids], torch.Tensor] = encoder
    if step.rehearsal and encoder.has_kernel:
        compute = lambda ids: encoder.vectors(packed(step, ids))  # noqa: E731
    with torch.inference_mode():
        return np.concatenate([compute(batch).cpu().numpy() for batch in batches])


def _report(
    step: Step, path: str, found: NDArray[np.float32], expected: NDArray[np.float32], aim: float
) -> None:
    cosines = (found * expected).sum(axis=1)
    least = float(cosines.min()) if np.isfinite(cosines).all() else float("nan")
    step.row(
        "correctness", path=path, inputs=len(found), least_cosine=round(least, 7), aim=aim, holds=least >= aim
    )


def _cls(step: Step, folder: ModelFolder, ids: Ids) -> None:
    encoder = encoder_of(step, folder)
    encoder.pooling = "cls"
    _report(
        step, f"{step.small}, cls", _vectors(step, encoder, [ids]), _reference(folder, ids, "cls"), AIM_HALF
    )


def _lengths(step: Step, folder: ModelFolder) -> None:
    encoder = encoder_of(step, folder)
    ids = random_ids(LENGTHS)
    expected = _reference(folder, ids)
    _report(step, "all lengths in one batch", _vectors(step, encoder, [ids]), expected, AIM_HALF)
    _report(
        step,
        "each length in its own batch",
        _vectors(step, encoder, [[one] for one in ids]),
        expected,
        AIM_HALF,
    )
    for dtype, aim in ((None, AIM_HALF), (torch.float32, AIM_FLOAT32)):
        longest = random_ids([len(encoder._positions)] * 2)
        found = _vectors(step, encoder_of(step, folder, dtype), [longest])
        _report(step, f"as long as the positions, {dtype or 'half'}", found, _reference(folder, longest), aim)


def _recorded(step: Step, folder: ModelFolder) -> None:
    encoder, record, fetch = encoder_of(step, folder), recorded, to_host
    if step.rehearsal:
        from tests.cluster.engines.test_gpu import fetch
        from tests.cluster.engines.test_gpu import run_again as record
    with torch.inference_mode():
        replays = Replays(encoder.vectors, device=step.device, most_tokens=folder.max_tokens, record=record)
        for size in SIZES[: step.sized(len(SIZES), 1)]:
            for tokens in (size - 1, size, size + 1):
                ids = random_ids(_split(tokens, folder.max_tokens), seed=tokens)
                found = replays(ids, fetch)
                name = f"recorded, {tokens} tokens in {len(ids)} inputs"
                if found is None:
                    found, name = _vectors(step, encoder, [ids]), f"not recorded, {tokens} tokens"
                _report(step, name, found, _reference(folder, ids), AIM_HALF)


def _split(tokens: int, most: int) -> list[int]:
    """Divide the tokens into at most 16 inputs of different lengths."""
    draw = random.Random(tokens)
    lengths = [draw.randint(1, min(most, max(1, tokens // 4))) for _ in range(8)]
    while sum(lengths) > tokens - 4:
        lengths.pop()
    rest = tokens - sum(lengths)
    return [*lengths, *[min(most, rest - at) for at in range(0, rest, most)]]


def _distances(step: Step) -> None:
    from transformers import MPNetConfig, MPNetModel

    folder = Path(os.environ[MODELS]) / "mpnet"
    if not folder.exists():
        sizes = {
            "hidden_size": 128,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "intermediate_size": 256,
        }
        torch.manual_seed(0)
        MPNetModel(MPNetConfig(max_position_embeddings=514, **sizes)).save_pretrained(folder)
        packaged = model_of(step.small).path
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (folder / name).write_bytes((packaged / name).read_bytes())
        (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 512}))
    mpnet = open_model_folder(Registry(Settings(model_path=folder)).default)
    ids = random_ids([*LENGTHS, 300, 512])
    expected = _reference(mpnet, ids)
    for dtype, aim in ((step.half, AIM_HALF), (torch.float32, AIM_FLOAT32)):
        _report(step, f"MPNet, {dtype}", _vectors(step, encoder_of(step, mpnet, dtype), [ids]), expected, aim)


def _independence(step: Step, folder: ModelFolder, ids: Ids, expected: NDArray[np.float32]) -> None:
    """Report whether an input has the same bits in every batch."""
    encoder = encoder_of(step, folder)
    together = _vectors(step, encoder, [ids])
    apart = _vectors(step, encoder, [[one] for one in ids])
    again = _vectors(step, encoder, [ids])
    step.row(
        "batch independence",
        inputs=len(ids),
        largest_difference_alone=float(np.abs(together - apart).max()),
        largest_difference_again=float(np.abs(together - again).max()),
    )
    _report(step, "one by one", apart, expected, AIM_HALF)


def _lanes(step: Step, ids: Ids, expected: NDArray[np.float32]) -> None:
    """Submit random batches to both lanes of the engine at once."""
    engine = engine_of(step, step.small)
    around = len(engine.tokeniser.prefix), len(engine.tokeniser.suffix)
    content = [one[around[0] : len(one) - around[1]] for one in ids]
    draw = random.Random(0)
    picked = [
        draw.sample(range(len(ids)), draw.randint(1, min(40, len(ids))))
        for _ in range(step.sized(BATCHES, 4))
    ]
    waiting = [engine.submit([content[i] for i in some], urgent=draw.random() < 0.5) for some in picked]
    found = np.concatenate([one.result() for one in waiting])
    _report(step, "both lanes of the engine at once", found, expected[np.concatenate(picked)], AIM_HALF)
