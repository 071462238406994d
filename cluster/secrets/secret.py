"""Define a type for a secret text, such as a provider's key, that no log line, error or pickle can show.

key = Secret("sk-...")
print(key)                   # Secret(***)
Client(api_key=key.reveal())
"""

from typing import Any, NoReturn


class Secret:
    """Holds a secret text. ``repr``, ``str`` and formatting show stars; pickling is refused."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text. Call this method only to pass the text to the code that needs it."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __bool__(self) -> bool:
        return bool(self._text)

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError("a Secret is not pickled: look the key up in the process that uses it")
