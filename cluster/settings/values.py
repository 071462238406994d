"""The base class of all concerns, and the types of their values."""

import re
from pathlib import Path
from typing import Annotated, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, ConfigDict
from pydantic_settings import NoDecode

from cluster.described_model import DescribedModel

Value = TypeVar("Value")

MIB = 1024 * 1024
#: Prefix of a model's source that names the kind of engine, as in ``local:/models/x``.
MODEL_KIND = re.compile(r"[a-z][a-z0-9-]*:")
#: An origin in the form that browsers send, or ``*``. Browser extensions and desktop applications have
#: origins, too.
ORIGIN = re.compile(r"\*|[a-z][a-z0-9+.-]*://[^/\s,]+")


def absolute(path: Path) -> Path:
    """Return the path as an absolute path, because Ray chooses the current directory of replicas and jobs."""
    return path.expanduser().absolute()


def absolute_folder(where: str) -> str:
    """Return a folder as an absolute path, and a URL unchanged."""
    return where if "://" in where else str(absolute(Path(where)))


def model_source(where: object) -> object:
    """Return the source of a model: ``kind:source`` unchanged, and a folder as an absolute path."""
    text = str(where) if isinstance(where, Path) else where
    return str(absolute(Path(text))) if isinstance(text, str) and not MODEL_KIND.match(text) else text


def origins(listed: object) -> object:
    """Split a text at its commas into origins, and check each origin. A list is only checked.

    Raises:
        ValueError: an entry is not an origin.
    """
    parts = [part.strip() for part in listed.split(",")] if isinstance(listed, str) else listed
    if not isinstance(parts, list | tuple):
        return parts
    found = tuple(part for part in parts if part)
    for one in found:
        if not ORIGIN.fullmatch(one):
            raise ValueError(
                f"{one!r} is not an origin: write scheme and host without a path, such as "
                "https://app.example.com, or * for all origins"
            )
    return found


def provider_url(url: str) -> str:
    """Return the URL without a slash at its end.

    Raises:
        ValueError: the URL is not http or https, or has a part that could contain a key.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be a URL with http or https, such as https://api.openai.com/v1")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise ValueError("must have no user, password, query or fragment; name the key's variable in key_env")
    return url.rstrip("/")


def key_variable(name: str) -> str:
    """Return the name of an environment variable that holds a key.

    Raises:
        ValueError: the text is not a name in capitals. Names of variables are written in capitals, and a key
            almost never has capitals only. So this check finds a key that was written in place of a name. The
            error does not show the text, because it may be a key.
    """
    if not re.fullmatch(r"[A-Z][A-Z0-9_]*", name):
        raise ValueError(
            "must be the name of the environment variable that holds the key, in capitals, such as "
            "OPENAI_API_KEY, and never the key"
        )
    return name


AbsolutePath = Annotated[Path, AfterValidator(absolute)]
FolderOrUrl = Annotated[str, AfterValidator(absolute_folder)]
ModelSource = Annotated[str, BeforeValidator(model_source)]
ProviderUrl = Annotated[str, AfterValidator(provider_url)]
KeyVariable = Annotated[str, AfterValidator(key_variable)]
Origins = Annotated[tuple[str, ...], NoDecode, BeforeValidator(origins)]


class Table(dict[str, Value]):
    """A dictionary with a hash, so that settings can be keys of a cache. Never change a table."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))


class Concern(DescribedModel):
    """Base class of the settings of one concern. ``Settings`` inherits from all of these classes."""

    model_config = ConfigDict(frozen=True)
