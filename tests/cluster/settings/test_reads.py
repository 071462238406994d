"""Every setting is read."""

import ast

from cluster.settings import Settings
from tests.conftest import ROOT

#: Decides, in ``Settings`` itself, which other settings are refused.
READ_BY_SETTINGS = {"environment"}


def test_every_setting_is_read_outside_the_settings_package() -> None:
    package = ROOT / "cluster" / "settings"
    read = {
        name
        for folder in ("cluster", "data_jobs", "serve_app")
        for path in (ROOT / folder).rglob("*.py")
        if not path.is_relative_to(package)
        for name in attributes_of(ast.parse(path.read_text()), "settings", "_settings")
    }
    for path in package.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name in read:
                read |= attributes_of(node, "self")

    assert set(Settings.model_fields) - read == READ_BY_SETTINGS


def attributes_of(tree: ast.AST, *owners: str) -> set[str]:
    """Names of the attributes read of a variable or an attribute with one of these names."""
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and (
            (isinstance(node.value, ast.Name) and node.value.id in owners)
            or (isinstance(node.value, ast.Attribute) and node.value.attr in owners)
        )
    }
