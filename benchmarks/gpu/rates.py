"""Step 4: tokens a second on token ids, and the share of the peak, beside sentence-transformers.

All inputs of a batch have the same length, so that sentence-transformers pads nothing. Both run in bfloat16
in the same process, in turns; the rates of both are those of their best batch size.
"""

import statistics
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.gpu.step import Step, encoder_of, flops_per_token, model_of, packed, random_ids
from benchmarks.peers.shapes import MINILM
from cluster.engines.bert.forward import BertEncoder
from cluster.engines.weights import ModelFolder

MODELS = (MINILM, "base", "large", "deep")
LENGTHS = (128, 512, 16)
#: Tokens of a batch: ours, and those of sentence-transformers.
OURS, THEIRS = (4_096, 16_384, 65_536, 131_072), (4_096, 16_384, 65_536)
ROUNDS = 3


def run(step: Step) -> None:
    """Measure each model at each length."""
    for name in ("tiny",) if step.rehearsal else MODELS:
        with step.part(name):
            folder = model_of(name)
            ours, theirs = encoder_of(step, folder), _sentence_transformers(step, folder)
            for length in (16,) if step.rehearsal else LENGTHS:
                _compare(step, name, folder, length, ours, theirs)
            del ours, theirs
            if step.device.type == "cuda":
                torch.cuda.empty_cache()


def _sentence_transformers(step: Step, folder: ModelFolder) -> Any:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(
        str(folder.path), device=step.device.type, local_files_only=True, model_kwargs={"dtype": step.half}
    ).eval()


def _compare(step: Step, name: str, folder: ModelFolder, length: int, ours: BertEncoder, theirs: Any) -> None:
    """Measure the batch sizes of both once, then the best of each in turns."""
    budgets = (256,) if step.rehearsal else OURS
    their_budgets = (256,) if step.rehearsal else THEIRS
    with torch.inference_mode():
        our_ways = {tokens: _our_pass(step, ours, length, tokens) for tokens in budgets}
        their_ways = {tokens: _their_pass(step, theirs, length, tokens) for tokens in their_budgets}
        our_rates = {tokens: tokens / step.seconds(way) for tokens, way in our_ways.items()}
        their_rates = {tokens: tokens / step.seconds(way) for tokens, way in their_ways.items()}
        best, their_best = (
            max(our_rates, key=our_rates.__getitem__),
            max(their_rates, key=their_rates.__getitem__),
        )
        rounds = [
            (best / step.seconds(our_ways[best]), their_best / step.seconds(their_ways[their_best]))
            for _ in range(ROUNDS)
        ]
    rate, their_rate = (statistics.median(one[side] for one in rounds) for side in (0, 1))
    step.row(
        "tokens a second on ids",
        model=name,
        length=length,
        million_a_second=round(rate / 1e6, 3),
        share_of_peak=step.share(rate * flops_per_token(folder, length)),
        over_theirs=round(statistics.median(a / b for a, b in rounds), 2),
        batch=best,
        their_million=round(their_rate / 1e6, 3),
        their_batch=their_best,
    )
    for tokens, one in our_rates.items():
        step.row(
            "batch sizes",
            model=name,
            length=length,
            batch=tokens,
            million_a_second=round(one / 1e6, 3),
            share_of_peak=step.share(one * flops_per_token(folder, length)),
        )


def _our_pass(step: Step, encoder: BertEncoder, length: int, tokens: int) -> Callable[[], object]:
    ids = random_ids([length] * (tokens // length))
    batch = packed(step, ids)
    return lambda: encoder.vectors(batch)


def _their_pass(step: Step, model: Any, length: int, tokens: int) -> Callable[[], object]:
    ids = torch.randint(1_000, 30_000, (tokens // length, length), device=step.device)
    features = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "token_type_ids": torch.zeros_like(ids),
    }
    return lambda: model(dict(features))
