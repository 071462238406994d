"""The base class of all concerns, and the types of values that several of them share."""

import re
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict
from pydantic_settings import NoDecode

Value = TypeVar("Value")

MIB = 1024 * 1024
#: A web page's origin as a browser sends it, extensions' and desktop shells' included.
ORIGIN = re.compile(r"\*|[a-z][a-z0-9+.-]*://[^/\s,]+")


def absolute(path: Path) -> Path:
    """The same path from wherever it is read: a replica's and a job's current directory is Ray's."""
    return path.expanduser().absolute()


def absolute_folder(where: str) -> str:
    """The same for what is a folder or a URL."""
    return where if "://" in where else str(absolute(Path(where)))


def origins(listed: object) -> object:
    """A text with commas as the origins in it.

    Raises:
        ValueError: something in it is no origin.
    """
    parts = [part.strip() for part in listed.split(",")] if isinstance(listed, str) else listed
    if not isinstance(parts, list | tuple):
        return parts
    found = tuple(part for part in parts if part)
    for one in found:
        if not ORIGIN.fullmatch(one):
            raise ValueError(
                f"{one!r} is no origin: write it as a browser sends it, https://app.example.com, without a path; or * for all"
            )
    return found


AbsolutePath = Annotated[Path, AfterValidator(absolute)]
FolderOrUrl = Annotated[str, AfterValidator(absolute_folder)]
Origins = Annotated[tuple[str, ...], NoDecode, BeforeValidator(origins)]


class Table(dict[str, Value]):
    """A dictionary that nobody changes, so that settings can be keys of a cache."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))


class Concern(BaseModel):
    """Base class of the settings of one concern; ``Settings`` inherits them all and fills them."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)
