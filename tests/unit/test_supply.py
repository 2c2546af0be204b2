"""What is installed is what was tested: every version is pinned, every file has a hash."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PINS = {
    canonicalize_name(requirement.name): str(requirement.specifier).removeprefix("==")
    for line in (ROOT / "constraints.txt").read_text().splitlines()
    if line and not line.startswith("#") and (requirement := Requirement(line))
}
WITHOUT_HASH = {"torch"}
"""requirements/torch.in says why."""


def locked(name: str) -> dict[str, tuple[str, int]]:
    """Name -> (version, number of hashes) of what a lock installs on this machine."""
    text = (ROOT / "requirements" / f"{name}.lock").read_text().replace("\\\n", " ")
    found = {}
    for line in text.splitlines():
        if not line or line.lstrip().startswith("#"):
            continue
        requirement = Requirement(line.partition(" --hash")[0])
        if requirement.marker is None or requirement.marker.evaluate():
            version = str(requirement.specifier).removeprefix("==")
            found[canonicalize_name(requirement.name)] = version, line.count("--hash=sha256:")
    return found


def needed(*extras: str) -> dict[str, str]:
    """Name -> installed version of all that personare with these extras stands on, here."""
    project = PROJECT["project"]
    waiting = [*project["dependencies"], f"personare[{','.join(extras)}]"]
    found: dict[str, str] = {}
    asked: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        requirement = Requirement(waiting.pop())
        name = canonicalize_name(requirement.name)
        if (name, frozenset(requirement.extras)) in asked:
            continue
        asked.add((name, frozenset(requirement.extras)))
        if name == project["name"]:  # an extra that contains another one
            for extra in requirement.extras:
                waiting += project["optional-dependencies"][extra]
            continue
        try:
            installed = distribution(name)
        except PackageNotFoundError:
            found[name] = ""
            continue
        found[name] = installed.version
        for line in installed.requires or ():
            marker = Requirement(line).marker
            wanted = requirement.extras or {""}
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in wanted):
                waiting.append(line)
    return found


@pytest.mark.parametrize(
    ("lock", "extras"),
    [("demo", ("tts",)), ("quick", ("test",)), pytest.param("dev", ("tts", "dev"), marks=pytest.mark.neural)],
)
def test_what_is_installed_is_what_is_pinned_with_a_hash(lock: str, extras: tuple[str, ...]) -> None:
    pinned = locked(lock)
    assert all(hashes for _, hashes in pinned.values())
    for name, version in needed(*extras).items():
        if name in WITHOUT_HASH:
            assert Version(version).public == PINS[name]
        else:
            assert pinned[name][0] == version, name
            assert PINS[name] == version


def test_the_locks_and_the_constraints_are_one_set() -> None:
    demo, quick, dev = locked("demo"), locked("quick"), locked("dev")
    assert demo.items() <= quick.items() <= dev.items()
    assert PINS.keys() - dev.keys() == WITHOUT_HASH
    for name, (version, _) in dev.items():
        assert PINS.get(name, version) == version


def test_the_back_end_that_builds_is_pinned() -> None:
    (back_end,) = PROJECT["build-system"]["requires"]
    name, _, version = back_end.partition("==")
    assert locked("demo")[name][0] == locked("dev")[name][0] == version


def test_make_installs_nothing_without_a_hash_but_torch_and_itself() -> None:
    recipes = [line for line in (ROOT / "Makefile").read_text().splitlines() if "$(PIP) install" in line]
    free = [line for line in recipes if "--require-hashes" not in line]
    assert [re.sub(r".*install ", "", line) for line in free] == [
        "uv",  # make lock, by hand
        "--no-deps --no-build-isolation --editable .",
        "--no-compile --constraint constraints.txt torch",
    ]
