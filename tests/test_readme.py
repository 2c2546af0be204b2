"""Every block of the README that is marked sh or python runs as it stands."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(sh|python)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("language", "code"), BLOCKS, ids=[f"{lang}-{i}" for i, (lang, _) in enumerate(BLOCKS)]
)
def test_block(language, code, tmp_path, portrait, voice):
    shutil.copy(portrait, tmp_path / "me.jpg")
    shutil.copy(voice, tmp_path / "hello.wav")
    bin_folder = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}"}
    command = ["bash", "-euc", code] if language == "sh" else [sys.executable, "-W", "error", "-c", code]
    folder = ROOT if "make " in code else tmp_path
    if "make " in code:
        environment["VENV"] = str(bin_folder.parent)
        if not (bin_folder.parent / ".installed-tts").exists():
            pytest.fail(
                "run this through `make check` or `make test`: the README's make commands need the "
                "environment that make sets up"
            )
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


def test_the_readme_has_blocks_of_both_kinds():
    assert {language for language, _ in BLOCKS} == {"sh", "python"}


def test_links_lead_somewhere():
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    assert [link for link in links if not link.startswith("http") and not (ROOT / link).exists()] == []
