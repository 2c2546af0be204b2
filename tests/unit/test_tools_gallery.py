"""The gallery: a sheet per topic and subject, an index that names them all, and faces that
cannot be animated named too.
"""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from tools import gallery


@pytest.mark.slow
def test_a_folder_becomes_sheets_and_an_index(
    portrait: Path, voice_samples: np.ndarray, tmp_path: Path
) -> None:
    folder = tmp_path / "faces"
    folder.mkdir()
    (folder / "a face.jpg").write_bytes(portrait.read_bytes())
    assert cv2.imwrite(str(folder / "nobody.png"), np.full((200, 200, 3), 90, np.uint8))
    (folder / "notes.txt").write_text("no picture")
    index = gallery.make([folder], tmp_path / "out", 256, 80, voice_samples[:8000])
    text = index.read_text(encoding="utf-8")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ["a-face", "nobody"]
    assert "not animated: " in text.split("## nobody")[1]
    shown = re.findall(r"\]\((.*)\)", text)
    assert shown == [f"a-face-{topic}.jpg" for topic in ("speech", "emotions", "extremes")]
    speech, emotions, extremes = (cv2.imread(str(index.parent / name)) for name in shown)
    assert speech.shape == extremes.shape == (2 * 80, 8 * 80, 3)
    assert emotions.shape == (2 * 80, len(gallery.EMOTIONS) * 80, 3)
    tiles = [extremes[y : y + 80, x : x + 80, 0] for y in (0, 80) for x in range(0, 640, 80)]
    assert min(float(np.abs(tile.astype(int) - tiles[0]).mean()) for tile in tiles[1:]) > 0.3, (
        "no two are alike"
    )


def test_the_bundled_portrait_and_the_carried_head_by_default() -> None:
    portrait, mesh = gallery.subjects([])
    assert portrait.portrait is not None
    assert portrait.portrait.is_file()
    assert (mesh.portrait, dict(mesh.options)) == (None, {"look": "mesh"})


def test_pictures_of_one_name_get_sheets_of_their_own(tmp_path: Path) -> None:
    names = [tmp_path / "x.jpg", tmp_path / "x.png", tmp_path / "y.png"]
    assert [subject.name for subject in gallery.subjects(names)] == ["x-0", "x-1", "y"]
    with pytest.raises(SystemExit, match="no picture in"):
        gallery.subjects([tmp_path])
