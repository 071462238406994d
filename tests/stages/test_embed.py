"""The embed stage on the real model, with a prompt before each document as models with prompts were trained."""

import json
import shutil
from pathlib import Path

import numpy as np

from cluster.engines import describe, open_engine
from cluster.engines.weights import PROMPTS_FILE, open_model_folder
from cluster.settings import Settings
from data_jobs.stages.embed import Embed
from data_jobs.stages.prepare import Chunk
from data_jobs.stages.row import new_row, to_rows, to_table, unpack

TEXT = "Herons stand still for hours before they strike. " * 60


def test_documents_are_embedded_behind_the_models_prompt_and_chunks_leave_room_for_it(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(open_model_folder(Settings()).path, folder)
    (folder / PROMPTS_FILE).write_text(json.dumps({"prompts": {"query": "query: ", "passage": "passage: "}}))
    settings = Settings(model_path=folder)
    row = {**new_row("doc_1", "file:///birds.txt", ""), "page_texts": [TEXT]}
    chunked = Chunk(settings, describe(settings).id)(row)  # type: ignore[arg-type]
    (embedded,) = to_rows(Embed(settings)(to_table([chunked])))
    chunks = unpack(chunked)
    vectors = np.frombuffer(embedded["vectors"], np.float32).reshape(len(chunks), -1)
    expected = open_engine(settings).embed([f"passage: {text}" for text in chunks["text"].to_pylist()])
    assert len(chunks) > 1
    assert expected.truncated.sum() == 0
    assert np.allclose(vectors, expected.vectors, atol=1e-5)
    assert describe(settings).id != describe(Settings()).id
