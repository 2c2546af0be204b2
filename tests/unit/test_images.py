"""What goes into an image: what the package is built of, and nothing else of a checkout."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def sent() -> set[str]:
    """Of the checkout's root, what .dockerignore lets through."""
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] not in ("#", "")]
    assert lines[0] == "*"
    return {line[1:] for line in lines if line.startswith("!")}


def test_the_package_is_built_of_what_is_sent():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {"pyproject.toml", project["project"]["readme"], *project["project"]["license-files"]}
    needed |= {path.split("/")[0] for path in wheel["packages"]} | {"constraints.txt"}
    assert sent() == needed


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.cuda", "Dockerfile.ray"])
def test_an_image_keeps_the_environment_alone(name):
    stages = re.split(r"^FROM ", (ROOT / "deploy" / name).read_text(), flags=re.MULTILINE)[1:]
    assert len(stages) == 2
    copied = re.findall(r"^(?:COPY|ADD) (.+)$", stages[1], re.MULTILINE)
    assert copied == ["--from=build /opt/personare /opt/personare"]
