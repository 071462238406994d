"""Keep the answer of a tool within a number of tokens, so that it fits into the context of a language model.

Tokens are counted with OpenAI's vocabulary cl100k, because the server does not know the caller's model.

    budget = TokenBudget(tokeniser, 4_000)
    budget.take("a text")              # True, and 2 tokens fewer are left
"""

from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import Field

from cluster.engines.tokens.cl100k import Cl100kTokeniser, require_file
from cluster.settings import Settings
from serve_app.edge.request_model import Whole

#: Limits of the number of tokens that a caller may ask for.
MIN_TOKENS, MAX_TOKENS = 500, 50_000
#: The number of tokens that a caller asks for.
Tokens = Annotated[Whole, Field(ge=MIN_TOKENS, le=MAX_TOKENS)]

#: Number of characters of the longest token of the vocabulary, 128 spaces.
MAX_TOKEN_CHARACTERS = 128


class TokenBudget:
    """A number of tokens that texts use up.

    Args:
        tokeniser: counts the tokens.
        tokens: number of tokens of all texts together.
    """

    def __init__(self, tokeniser: Cl100kTokeniser, tokens: int) -> None:
        self._tokeniser = tokeniser
        #: Number of tokens that are left.
        self.left = tokens

    def take(self, text: str) -> bool:
        """Use up the tokens of the text. If too few tokens are left, use up nothing and return False."""
        # No token of the vocabulary has more than 128 characters, so a text above this length does not fit.
        if len(text) > self.left * MAX_TOKEN_CHARACTERS:
            return False
        tokens = int(self._tokeniser.count([text])[0])
        if tokens > self.left:
            return False
        self.left -= tokens
        return True

    def cut(self, text: str) -> str:
        """Use up all tokens that are left, and return the beginning of the text that has at most this number
        of tokens.
        """
        ends = self._tokeniser.tokenise([text[: self.left * MAX_TOKEN_CHARACTERS]])[0].offsets[: self.left, 1]
        self.left = 0
        return text[: int(ends[-1])] if len(ends) else ""


def open_budget(settings: Settings, tokens: int) -> TokenBudget:
    """Return a budget with this number of tokens. The first call of a process takes half a second.

    Raises:
        Misconfigured: the file with the vocabulary is missing.
    """
    return TokenBudget(_tokeniser(require_file(settings.openai_tokens_file)), tokens)


@cache
def _tokeniser(file: Path) -> Cl100kTokeniser:
    return Cl100kTokeniser(file, max_content_tokens=MAX_TOKENS)
