"""Count the tokens of prompts with the model's own tokeniser, or with OpenAI's vocabulary cl100k.

``cluster.chat.openai_server`` calls this module.

    counter = open_counter(setting.tokenizer_path, settings.openai_tokens_file)
    counter.messages([ChatMessage("user", "Hello")])
"""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

from tokenizers import Tokenizer

from cluster.chat.contract import ChatMessage
from cluster.engines.tokens.cl100k import encoding, require_file
from cluster.engines.tokens.tokeniser import without_surrogates
from cluster.errors import Misconfigured

#: Tokens that the chat template adds for each message, and before the answer. OpenAI's models add 4 and 3
#: (OpenAI Cookbook, "How to count tokens with tiktoken"). Templates of Llama 3 and Qwen 3 add 4 or 5 and 3 or
#: 4. The numbers here are larger, so that a prompt which fits by this count also fits at the server.
MESSAGE_TOKENS, ANSWER_TOKENS = 6, 6
#: Number of texts whose counts a counter remembers, and maximum number of characters of such a text. Passages
#: of documents are in many prompts.
REMEMBERED_TEXTS, REMEMBERED_CHARACTERS = 2_048, 4_000


class PromptTokens:
    """Counts tokens of texts and of messages.

    Args:
        count: returns the number of tokens of a text.
        by_bytes: True if each token has at least one byte of the text.
    """

    def __init__(self, count: Callable[[str], int], *, by_bytes: bool = False) -> None:
        self._count, self._by_bytes = count, by_bytes
        self._remembered = lru_cache(REMEMBERED_TEXTS)(count)

    def text(self, text: str) -> int:
        """Return the number of tokens of a text alone."""
        count = self._remembered if len(text) <= REMEMBERED_CHARACTERS else self._count
        return count(without_surrogates(text))

    def messages(self, messages: Sequence[ChatMessage]) -> int:
        """Return the number of tokens of a prompt with these messages."""
        return ANSWER_TOKENS + sum(
            MESSAGE_TOKENS + self._count(without_surrogates(message.content)) for message in messages
        )

    def at_most(self, messages: Sequence[ChatMessage]) -> float:
        """Return a number that ``messages`` does not exceed, without counting; infinite if there is none."""
        if not self._by_bytes:
            return math.inf
        return ANSWER_TOKENS + sum(
            MESSAGE_TOKENS + len(without_surrogates(message.content).encode()) for message in messages
        )


def open_counter(folder: Path | None, vocabulary: Path | None) -> PromptTokens:
    """Open a counter.

    Args:
        folder: has the ``tokenizer.json`` of the model; None: count with cl100k.
        vocabulary: the file of cl100k; None: the packaged file.

    Raises:
        Misconfigured: a file is missing or cannot be read.
    """
    if folder is None:
        cl100k = encoding(require_file(vocabulary))
        return PromptTokens(
            lambda text: len(cl100k.encode_to_numpy(text, disallowed_special=())), by_bytes=True
        )
    file = folder / "tokenizer.json"
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as exc:  # the package tokenizers raises no narrower class
        raise Misconfigured(
            f"{file} cannot be read ({exc}); correct tokenizer_path in CLUSTER_CHAT_MODELS"
        ) from exc
    return PromptTokens(lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids))
