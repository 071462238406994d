"""The locks have every package that the image and a checkout need, at its pinned version, with its hashes."""

import re
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, requires, version

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import ROOT
from tests.project.test_documents import PROJECT

LOCKS = {"requirements.lock": "image", "requirements-dev.lock": "checkout"}
#: Packages whose build depends on the machine. Pip installs them by their pins.
BY_MACHINE = re.compile(r"^(torch|triton|nvidia-.*|cuda-.*)$")
REMEDY = "run make lock"


def entries(lock: str) -> dict[str, tuple[str, list[str]]]:
    """Return the version and the hashes of each package of a lock."""
    text = (ROOT / lock).read_text()
    return {
        name: (version, re.findall(r"--hash=(\S+)", hashes))
        for name, version, hashes in re.findall(r"^([\w.-]+)==([\w.]+)(.*(?:\n    .*)*)", text, re.MULTILINE)
    }


def pins() -> dict[str, str]:
    """Return the pinned version of each package, by its normalised name."""
    lines = (ROOT / "constraints.txt").read_text().split()
    return {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)}


def installed_needs(roots: Iterable[Requirement]) -> set[str]:
    """Return the names of the packages that these requirements need in this environment, themselves included.

    Packages that are not installed are left out.
    """
    found: set[str] = set()
    waiting = [(requirement, "") for requirement in roots]
    seen: set[tuple[str, str]] = set()
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        for wanted in ("", *requirement.extras):
            if (name, wanted) in seen:
                continue
            seen.add((name, wanted))
            try:
                version(name)
            except PackageNotFoundError:
                continue
            found.add(name)
            waiting += [(Requirement(line), wanted) for line in requires(name) or []]
    return found


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_of_a_lock_has_its_pinned_version_and_hashes(lock: str) -> None:
    found, pinned = entries(lock), pins()

    assert {name: version for name, (version, _) in found.items() if pinned.get(name) != version} == {}, (
        REMEDY
    )
    assert all(hashes and all(one.startswith("sha256:") for one in hashes) for _, hashes in found.values())
    assert len(found) > 150


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_has_every_package_that_is_needed(lock: str) -> None:
    project, groups = PROJECT["project"], PROJECT["dependency-groups"]
    lines = [*project["dependencies"]]
    if LOCKS[lock] == "image":
        lines += [line for extra in project["optional-dependencies"].values() for line in extra]
    else:
        lines += [line for name in ("test", "lint", "dev") for line in groups[name] if isinstance(line, str)]
    needed = installed_needs(map(Requirement, lines))

    missing = {name for name in needed - set(entries(lock)) if not BY_MACHINE.match(name)}
    assert missing == set(), REMEDY


def test_the_image_installs_every_package_but_torch_by_its_hash() -> None:
    text = re.sub(r"\s*\\\n\s*", " ", (ROOT / "Dockerfile").read_text())

    assert re.findall(r"pip install ([^&\n]+?)(?= &&|\n)", text) == [
        "--no-deps --require-hashes --requirement requirements.lock",
        '--constraint constraints.txt --index-url "$TORCH_INDEX" torch',
        "--no-deps --no-build-isolation .",
    ]
