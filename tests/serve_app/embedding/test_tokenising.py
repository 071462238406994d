"""Too long texts are refused early; long ones give the same tokens in slices, and end with their caller."""

import json
import random
import re
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from cluster.engines import Registry
from cluster.engines.tokens.tokeniser import LocalTokeniser
from cluster.engines.weights import open_model_folder
from cluster.settings import MIB, Settings
from serve_app.embedding import tokenising
from serve_app.embedding.tokenising import GROUP_CHARACTERS, LONGEST_SLICE, MAX_BYTES, groups, slices
from tests.serve_app.conftest import MODEL, Server
from tests.serve_app.raw_requests import connect
from tests.waiting import Stopwatch, until

EIGHT_MB = 8_000_000
RANDOM = random.Random(11)
NOISE = bytes(RANDOM.randrange(256) for _ in range(100_000)).decode("latin-1") * 30
HUGE = {
    "dots": "." * EIGHT_MB,
    "spaces": " " * EIGHT_MB,
    "one letter": "a" * EIGHT_MB,
    "emoji": "🐦" * (EIGHT_MB // 4),
    "Chinese": "鷺" * (EIGHT_MB // 3),
    "bytes as text": NOISE[: EIGHT_MB // 2],
    "words": "a heron stands " * (EIGHT_MB // 15),
    "texts of 4 KB": ["heron " * 650] * 2_048,
    "token ids": [7] * (EIGHT_MB // 2 - 100),
    "arrays of token ids": [[7] * 2_000] * 2_000,
    "empty arrays": [[]] * (EIGHT_MB // 3),
    "numbers": [1.5] * (EIGHT_MB // 4 - 100),
}


def most_memory() -> int:
    """Peak memory of this process since ``forget``, in bytes."""
    (line,) = [
        line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")
    ]
    return int(line.split()[1]) * 1024


def forget() -> int:
    """Reset the peak; returns the current memory."""
    Path("/proc/self/clear_refs").write_text("5")
    return most_memory()


#: For each path, the field with the texts, and its other required fields.
PATHS: dict[str, tuple[str, dict[str, object]]] = {
    "/v1/embeddings": ("input", {"model": MODEL}),
    "/v1/tokenize": ("input", {"model": MODEL}),
    "/embed": ("inputs", {}),
    "/v2/embed": ("texts", {"model": MODEL, "input_type": "search_document"}),
    "/v1/rerank": ("documents", {"query": "a heron"}),
    "/v1/vector_stores/none/search": ("query", {}),
}


OTHERS = [(kind, path) for kind in ("dots", "emoji", "numbers") for path in PATHS if path != "/v1/embeddings"]


@pytest.mark.parametrize(("kind", "path"), [*((kind, "/v1/embeddings") for kind in HUGE), *OTHERS])
def test_eight_megabytes_of_anything_are_refused_at_once_and_cost_no_memory(
    http: httpx.Client, kind: str, path: str
) -> None:
    field, beside = PATHS[path]
    texts = HUGE[kind] if isinstance(HUGE[kind], list) else [HUGE[kind]]
    refuse({field: texts, **beside}, http, path)


@pytest.mark.parametrize("field", ["unknown", "metadata", "rank_fields", "file_ids"])
def test_eight_megabytes_of_unread_text_are_refused_as_cheaply(http: httpx.Client, field: str) -> None:
    many: dict[str, object] = {f"{number:x}": 1.5 for number in range(620_000)}
    wrong: dict[str, tuple[str, dict[str, object]]] = {
        "unknown": ("/v1/tokenize", {"model": MODEL, "input": "a", **many}),
        "metadata": ("/v1/vector_stores", {"name": "a", "metadata": many}),
        "rank_fields": ("/v1/rerank", {"query": "a", "documents": ["a"], "rank_fields": [1.5] * 1_900_000}),
        "file_ids": ("/v1/vector_stores/none/file_batches", {"file_ids": [1.5] * 1_900_000}),
    }
    path, request = wrong[field]
    refuse(request, http, path)


def refuse(request: dict[str, object], http: httpx.Client, path: str) -> None:
    """Check that the request is refused within the time and the memory."""
    body = json.dumps(request, ensure_ascii=False, separators=(",", ":")).encode()
    assert len(body) > 6_000_000
    http.get("/healthz")
    before, began, began_on_processor = forget(), Stopwatch(), time.process_time()

    refused = http.post(path, content=body, headers={"content-type": "application/json"})

    took, held = began.seconds(), most_memory() - before
    assert 400 <= refused.status_code < 500, refused.text[:300]
    # One second on an idle machine.
    assert time.process_time() - began_on_processor < 3
    assert took < 15
    assert held < 200 * MIB


@pytest.mark.parametrize(("overflow", "repeated"), [("truncate", 40_000), ("mean", 40_000)])
def test_a_long_text_within_the_limits_is_read_as_before(
    http: httpx.Client, server: Server, overflow: str, repeated: int
) -> None:
    text = "The heron stands still, isn't it? " * repeated
    ids = server.service.models.default.engine.tokeniser.ids([text[: 34 * 500]])[0]
    whole = len(ids) // 500 * repeated
    assert len(text) > 10 * LONGEST_SLICE
    if whole > 300_000:
        text, whole = text[: 34 * 20_000], len(ids) // 500 * 20_000

    answer = http.post("/v1/embeddings", json={"model": MODEL, "input": text, "overflow": overflow}).json()

    assert answer["data"][0].get("truncated_tokens", 0) == (whole - 254 if overflow == "truncate" else 0)
    assert (answer["usage"]["prompt_tokens"] == 256) == (overflow == "truncate")


#: Tokenisers that treat the start of a text specially, as RoBERTa's and XLM-R's do, and the packaged one.
LINES = [
    "Only the shift supervisor may stop the pump. Valve 17 is closed first.",
    "ein Reiher, naïve café — 日本語。 हिन्दी",
    "a  b\tc",
] * 5


def byte_level(*, prefix: bool) -> Tokenizer:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        LINES, trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    )
    return made


def unigram() -> Tokenizer:
    made = Tokenizer(models.Unigram())
    made.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.train_from_iterator(
        LINES, trainers.UnigramTrainer(vocab_size=150, unk_token="<unk>", show_progress=False)
    )
    return made


@pytest.fixture(scope="module")
def tokenisers() -> dict[str, Tokenizer]:
    bert = LocalTokeniser(open_model_folder(Registry(Settings()).default))._tokenizer
    return {
        "bert": bert,
        "roberta": byte_level(prefix=False),
        "with a space": byte_level(prefix=True),
        "xlm-r": unigram(),
    }


PIECES = [
    *"ab c. ,-[]",
    "  ",
    "é",
    "e\u0301",
    "日",
    "\u3000",
    "\u00a0",
    "हि",
    "🐦",
    "\u200b",
    "'s",
    "don't",
    "17",
]


@given(
    st.lists(st.sampled_from(PIECES), min_size=20, max_size=120).map("".join),
    st.integers(1, 6),
    st.integers(12, 40),
)
def test_tokens_of_slices_are_those_of_the_text(
    tokenisers: dict[str, Tokenizer], text: str, least: int, most: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokenising, "SLICE_CHARACTERS", least)
        patch.setattr(tokenising, "LONGEST_SLICE", most)
        found = list(slices(text))
    assert "".join(found) == text
    assert max(map(len, found)) <= most
    if all(
        re.search(r"\S\0 \S", f"{before}\0{after}") for before, after in pairwise(found)
    ):  # otherwise a slice had to end within a word
        for name, one in tokenisers.items():
            whole = one.encode(text, add_special_tokens=False).ids
            assert [id for part in found for id in one.encode(part, add_special_tokens=False).ids] == whole, (
                name
            )


@given(st.lists(st.integers(0, 3 * LONGEST_SLICE), max_size=12))
def test_every_text_is_tokenised_once_and_never_much_at_once(lengths: list[int]) -> None:
    texts = ["heron " * (length // 6) + "x" * (length % 6) for length in lengths]
    together = list(groups(texts))
    assert all(group and sum(len(part.text) for part in group) <= GROUP_CHARACTERS for group in together)
    found = [""] * len(texts)
    for part in (part for group in together for part in group):
        found[part.of] += part.text
    assert found == texts
    assert [part.of for group in together for part in group if part.last] == list(range(len(texts)))


class Counted(LocalTokeniser):
    """The real tokeniser; it counts the characters that it gets."""

    characters = 0

    def ids(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """Count the characters, then tokenise."""
        self.characters += sum(map(len, texts))
        return super().ids(texts)


@pytest.fixture
def counted(server: Server, monkeypatch: pytest.MonkeyPatch) -> Counted:
    """The tokeniser of the server, counting."""
    counted = Counted(open_model_folder(Registry(Settings()).default))
    monkeypatch.setattr(server.service.models.default._tokenising, "_tokeniser", counted)
    return counted


@pytest.mark.parametrize(
    ("texts", "overflow", "characters", "said"),
    [
        (["." * 20_000], "error", 0, "more than fit into the 254 tokens"),
        (["a " * 20_000], "error", 0, "more than fit into the 254 tokens"),
        (
            ["heron. " * 1_000, *["heron " * 600] * 200],
            "error",
            GROUP_CHARACTERS,
            "input[0] has 2,000 tokens; this model reads 254",
        ),
        (["." * MAX_BYTES], "truncate", 3 * GROUP_CHARACTERS, "over 300,000 tokens in all"),
        ([" " * 3_000_000, "x" * 2_000_000], "mean", 0, "5,000,000 bytes of text in all; at most 4,800,000"),
    ],
)
def test_tokenising_ends_as_soon_as_a_text_is_refused(
    http: httpx.Client, counted: Counted, texts: list[str], overflow: str, characters: int, said: str
) -> None:
    refused = http.post("/v1/embeddings", json={"model": MODEL, "input": texts, "overflow": overflow})
    assert refused.status_code == 400
    assert said in refused.json()["error"]["message"]
    assert counted.characters <= characters


def test_white_space_does_not_count_towards_the_limit(http: httpx.Client) -> None:
    padded = http.post(
        "/v1/embeddings", json={"model": MODEL, "input": f"{' ' * 100_000}a heron{chr(10) * 9_000}"}
    )
    plain = http.post("/v1/embeddings", json={"model": MODEL, "input": "a heron"})
    assert padded.json()["data"] == plain.json()["data"]


def test_tokenising_ends_when_the_request_is_cancelled(server: Server, counted: Counted) -> None:
    body = json.dumps(
        {"model": MODEL, "input": "." * 299_000 + "a heron " * 500_000, "overflow": "truncate"}
    ).encode()
    head = b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    with connect(server) as connection:
        connection.sendall(head + body)
        until(lambda: counted.characters)
    left_at = counted.characters
    time.sleep(1)
    before = counted.characters
    time.sleep(0.5)
    assert counted.characters == before
    assert before <= left_at + 2 * GROUP_CHARACTERS
