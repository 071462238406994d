"""Prints the software bill of materials of this environment: each package that the cluster needs, with the
version, the licence and the dependencies of the package, as JSON in the format CycloneDX 1.6.

``make sbom`` calls this module. The module also runs in the image, because it reads only the metadata of
installed packages:

    python -m cluster.local.sbom
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = "embedding-cluster"
#: Classifiers of licences begin with this text.
LICENCE_CLASSIFIER = "License ::"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the bill of materials, and return the exit code of the process."""
    parser = argparse.ArgumentParser(
        prog="python -m cluster.local.sbom",
        description="Print the software bill of materials of this environment as JSON (CycloneDX 1.6): every "
        "package that the cluster needs, with version, licence and dependencies.",
    )
    parser.parse_args(arguments)
    print(json.dumps(bill_of_materials(), indent=2))
    return 0


def bill_of_materials() -> dict[str, Any]:
    """Return the bill of materials of this environment. The same packages give the same document."""
    found = _needed()
    parts = {name: _component(one) for name, (one, _) in sorted(found.items())}
    project = parts.pop(PROJECT) | {"type": "application"}
    references = [project["bom-ref"], *(part["bom-ref"] for part in parts.values())]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid5(NAMESPACE_URL, ' '.join(references))}",
        "version": 1,
        "metadata": {"component": project},
        "components": list(parts.values()),
        "dependencies": [
            {"ref": _reference(one), "dependsOn": sorted(_reference(found[name][0]) for name in needs)}
            for _, (one, needs) in sorted(found.items())
        ],
    }


def _needed() -> Mapping[str, tuple[Distribution, set[str]]]:
    """Return the project and the installed packages that it needs, each with the names of its dependencies.

    The packages of the project's extras are included only if they are installed.
    """
    found: dict[str, tuple[Distribution, set[str]]] = {}
    waiting = [(PROJECT, extra) for extra in ("", *_extras(distribution(PROJECT)))]
    seen: set[tuple[str, str]] = set()
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        try:
            package = distribution(name)
        except PackageNotFoundError:
            continue
        _, needs = found.setdefault(name, (package, set()))
        for requirement in _requirements(package, extra):
            needs.add(canonicalize_name(requirement.name))
            waiting += [(canonicalize_name(requirement.name), one) for one in ("", *requirement.extras)]
    return {name: (one, {need for need in needs if need in found}) for name, (one, needs) in found.items()}


def _extras(package: Distribution) -> list[str]:
    return package.metadata.get_all("Provides-Extra") or []


def _requirements(package: Distribution, extra: str) -> Iterator[Requirement]:
    """Yield the requirements of a package that apply to this machine.

    Args:
        extra: also yield the requirements of this extra of the package; "" for none.
    """
    for line in package.requires or []:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            yield requirement


def _reference(package: Distribution) -> str:
    """Return the package URL (https://github.com/package-url/purl-spec) of a package."""
    return f"pkg:pypi/{canonicalize_name(package.name)}@{package.version.replace('+', '%2B')}"


def _component(package: Distribution) -> dict[str, Any]:
    reference = _reference(package)
    licences = _licences(package)
    return {
        "type": "library",
        "bom-ref": reference,
        "name": package.name,
        "version": package.version,
        "purl": reference,
        **({"licenses": licences} if licences else {}),
    }


def _licences(package: Distribution) -> list[dict[str, Any]]:
    """Return the licences that the metadata of a package names. The metadata has an SPDX expression, a name
    or the whole text of a licence, or classifiers; return an empty list if it has none of these.
    """
    metadata = package.metadata
    if "License-Expression" in metadata:
        return [{"expression": metadata["License-Expression"]}]
    text = metadata["License"].strip() if "License" in metadata else ""
    if text:
        name, *more = text.splitlines()
        return [{"license": {"name": name, **({"text": {"content": text}} if more else {})}}]
    classifiers = metadata.get_all("Classifier") or []
    names = [line.rpartition("::")[2].strip() for line in classifiers if line.startswith(LICENCE_CLASSIFIER)]
    return [{"license": {"name": name}} for name in names]


if __name__ == "__main__":
    sys.exit(main())
