"""musetalk's goldens pass, and stop passing when the product is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from personare.engines.musetalk import compose, drive
from personare.engines.musetalk.template import boxes, latents, masks
from personare.perception import parsing as bisenet
from personare.perception import s3fd
from personare.perception.whole_body import dwpose as pose
from personare.perception.whole_body import rtmpose
from personare.voice import whisper
from tests.conformance.case import HERE, golden_files
from tests.conformance.replay import Verdict, replay

pytestmark = pytest.mark.neural

FOLDER = HERE / "musetalk"


def _verdict(name: str) -> Verdict:
    (verdict,) = replay("musetalk", FOLDER, only=name)
    return verdict


@pytest.mark.parametrize("name", sorted(golden_files(FOLDER)))
def test_golden(name: str) -> None:
    verdict = _verdict(name)
    assert verdict.passes, "\n".join(verdict.lines())


def _linear_crop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boxes.cv2, "INTER_LANCZOS4", cv2.INTER_LINEAR)


def _no_positions(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = lambda tokens, width: np.zeros((tokens, width), np.float32)  # noqa: E731
    monkeypatch.setattr("personare.engines.musetalk.motion.positional_encoding", nothing)


def _late_by_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    true = drive.WindowRule.first_row
    monkeypatch.setattr(drive.WindowRule, "first_row", lambda rule, frame: true(rule, frame) + 1)


def _wrong_eps(monkeypatch: pytest.MonkeyPatch) -> None:
    class BatchNorm(torch.nn.BatchNorm2d):
        def __init__(self, channels: int, eps: float = 1e-3) -> None:
            super().__init__(channels, 1e-3)

    monkeypatch.setattr(rtmpose.nn, "BatchNorm2d", BatchNorm)


def _misaligned(monkeypatch: pytest.MonkeyPatch) -> None:
    def enlarged(scores: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.interpolate(
            scores, size=like.shape[2:], mode="bilinear", align_corners=False
        )

    monkeypatch.setattr(bisenet, "_enlarged", enlarged)


def _true_means(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boxes, "_S3FD_MEAN", boxes._S3FD_MEAN[::-1])


def _other_variances(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3fd, "_VARIANCES", (0.1, 0.1))


def _flipped_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = np.ascontiguousarray(masks.jaw_kernel()[::-1])
    monkeypatch.setattr(masks, "jaw_kernel", lambda: kernel)


def _float_blend(monkeypatch: pytest.MonkeyPatch) -> None:
    def blended(below: np.ndarray, above: np.ndarray, alpha: np.ndarray) -> np.ndarray:
        share = alpha[:, :, None] / 256
        return (below * (1 - share) + above * share).astype(np.uint8)

    monkeypatch.setattr(compose, "blended", blended)


def _subpixel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pose, "_MARGIN", 1.2)


def _unscaled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latents, "SCALING", 0.18)


def _another_mel_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    filters = np.roll(whisper._mel_filters(), 1, axis=1)
    monkeypatch.setattr(whisper, "_mel_filters", lambda: filters)


@pytest.mark.parametrize(
    ("golden", "fault"),
    [
        ("crop256", _linear_crop),
        ("e2e_v15", _no_positions),
        ("audio_windows", _late_by_a_row),
        ("audio_legacy_v1", _late_by_a_row),
        ("dwpose_net", _wrong_eps),
        ("bisenet", _misaligned),
        ("s3fd_post", _true_means),
        ("s3fd_post", _other_variances),
        ("parsing_modes", _flipped_kernel),
        ("blend", _float_blend),
        ("dwpose_prepost", _subpixel),
        ("vae", _unscaled),
        ("whisper", _another_mel_scale),
    ],
)
def test_a_wrong_product_fails(
    golden: str, fault: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    fault(monkeypatch)
    verdict = _verdict(golden)
    assert not verdict.fault, verdict.fault
    assert not verdict.passes
