"""mimicmotion's goldens pass, and stop passing when the product is wrong."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch

from personare.engines.mimicmotion import motion, pictures, render, tiles
from personare.engines.mimicmotion.networks import unet
from personare.engines.mimicmotion.pose import draw
from tests.conformance.case import HERE, golden_files
from tests.conformance.replay import Verdict, replay

pytestmark = pytest.mark.neural

FOLDER = HERE / "mimicmotion"


def _verdict(name: str) -> Verdict:
    (verdict,) = replay("mimicmotion", FOLDER, only=name)
    return verdict


@pytest.mark.parametrize("name", sorted(golden_files(FOLDER)))
def test_golden(name: str) -> None:
    verdict = _verdict(name)
    assert verdict.passes, "\n".join(verdict.lines())


def _plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenCV's own lines, with one px more."""
    monkeypatch.setattr(draw, "draw_line", lambda *given: cv2.line(*given, thickness=3))


def _averaged(monkeypatch: pytest.MonkeyPatch) -> None:
    """The canvas shrunk by area."""
    true = cv2.resize
    monkeypatch.setattr(
        draw.cv2,
        "resize",
        lambda picture, size, interpolation: true(picture, size, interpolation=cv2.INTER_AREA),
    )


def _no_pose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        unet.PosedConv, "forward", lambda self, x: torch.nn.Conv2d.forward(self, x[:, : self.in_channels])
    )


def _scaled_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    true = motion.Given
    monkeypatch.setattr(
        "tests.conformance.mimicmotion_cases.Given",
        lambda embedding, latent, *rest: true(embedding, latent * 0.18215, *rest),
    )


def _flat_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(motion, "tile_weights", lambda size: np.ones(size, np.float32))


def _no_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles of consecutive frames, the picture only in the first."""
    true = tiles.tiles_of

    def tiles_of(frames: int, size: int, overlap: int) -> np.ndarray:
        made = true(frames, size, overlap).copy()
        made[1:, 0] = made[1:, 1] - 1
        return made

    monkeypatch.setattr(motion, "tiles_of", tiles_of)


def _rounded(monkeypatch: pytest.MonkeyPatch) -> None:
    true = pictures._resized
    monkeypatch.setattr(pictures, "_resized", lambda picture, size: true(picture[::-1], size)[::-1] // 2 * 2)


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("draw_0", _plain_lines),
        ("draw_1", _averaged),
        ("unet", _no_pose),
        ("loop_a", _flat_tiles),
        ("loop_a", _no_reference),
        ("loop_c", _scaled_picture),
        ("image_crop", _rounded),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__.lstrip("_"),
)
def test_golden_notices(
    name: str, spoil: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch)
    verdict = _verdict(name)
    assert not verdict.fault
    assert not verdict.passes


def test_bytes_are_cut_off_not_rounded() -> None:
    assert render.to_bytes(torch.full((1, 3, 1, 1), 0.999)).max() == 254
