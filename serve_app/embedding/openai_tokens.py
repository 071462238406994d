"""Decode token arrays of OpenAI's clients to texts.

Clients that count tokens themselves (LangChain by default) send ids of OpenAI's vocabulary cl100k_base for
every model. If the model read these ids as its own, the vectors would be meaningless. So the ids are decoded,
or refused if the file with the vocabulary is missing (``cluster.engines.tokens.cl100k``).

    decode = open_openai_tokens(settings)
    decode([64, 1495])                       # "a text"
"""

from collections.abc import Callable
from pathlib import Path

from cluster.engines.tokens.cl100k import PACKAGE, encoding, packaged_file
from cluster.errors import InvalidInput
from cluster.settings import Settings

Decode = Callable[[list[int]], str]


def open_openai_tokens(settings: Settings) -> Decode:
    """Return the decoder. At its first use, the decoder reads the file with the vocabulary, which takes half
    a second.

    The decoder raises InvalidInput for ids that are not in the vocabulary, and for all ids if there is no
    file. The caller must put the name of the input before the error message.
    """
    file = settings.openai_tokens_file or packaged_file()
    return lambda ids: _decoded(ids, file)


def _decoded(ids: list[int], file: Path | None) -> str:
    if file is None:
        raise InvalidInput(
            "holds token ids, which mean other words to this model, and this server has no file to decode "
            f"OpenAI's ids (pip install {PACKAGE}). Send text (LangChain: "
            "check_embedding_ctx_length=False), or set "
            'token_ids="model" if the ids are this model\'s own'
        )
    vocabulary = encoding(file)
    tokens = []
    for id in ids:
        try:
            tokens.append(vocabulary.decode_single_token_bytes(id))
        except (KeyError, OverflowError) as exc:
            raise InvalidInput(f"holds the token id {id}, which cl100k_base does not have") from exc
    return b"".join(tokens).decode("utf-8", errors="replace")
