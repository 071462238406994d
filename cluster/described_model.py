"""The base class of Pydantic models whose fields are described by the docstrings below them.

    class FileObject(DescribedModel):
        id: str
        '''Id of the file.'''

Pydantic's ``use_attribute_docstrings`` does the same, but searches all imported modules for each class. For
the models of the endpoint, this search took three seconds of each process that imports them.
"""

import ast
import inspect
import sys
from functools import lru_cache
from typing import Annotated, Any

from pydantic import BaseModel, Field
from pydantic.fields import FieldInfo


class DescribedModel(BaseModel):
    """Takes the description of a field from the docstring below the field, unless ``Field`` has one."""

    def __init_subclass__(cls, **options: Any) -> None:
        """Add the descriptions to the annotations, before Pydantic reads them."""
        super().__init_subclass__(**options)
        if not (annotations := cls.__annotations__):
            return
        for name, text in _docstrings(cls.__module__).get(cls.__qualname__, {}).items():
            given = cls.__dict__.get(name)
            if not (isinstance(given, FieldInfo) and given.description is not None):
                annotations[name] = Annotated[annotations[name], Field(description=text)]


# The modules of models import each other, so several modules are in progress at the same time.
@lru_cache(maxsize=16)
def _docstrings(module: str) -> dict[str, dict[str, str]]:
    """Return the docstrings of attributes in a module: name of the class -> name of the attribute -> text."""
    try:
        tree = ast.parse(inspect.getsource(sys.modules[module]))
    except (KeyError, OSError, TypeError):
        return {}  # without a source there are no descriptions
    return {
        statement.name: _of_attributes(statement)
        for statement in tree.body
        if isinstance(statement, ast.ClassDef)
    }


def _of_attributes(definition: ast.ClassDef) -> dict[str, str]:
    found = {}
    for attribute, below in zip(definition.body, definition.body[1:], strict=False):
        if (
            isinstance(attribute, ast.AnnAssign)
            and isinstance(attribute.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
            and isinstance(below.value.value, str)
        ):
            found[attribute.target.id] = inspect.cleandoc(below.value.value)
    return found
