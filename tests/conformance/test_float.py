"""float's goldens pass, and stop passing when the product is wrong."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from personare.engines.float import prepare
from personare.engines.float.motion import Guidance
from personare.engines.float.networks import decoder, transformer, warp
from personare.voice import wav2vec2
from tests.conformance import float_cases
from tests.conformance.case import HERE, golden_files
from tests.conformance.replay import Verdict, replay

pytestmark = pytest.mark.neural

FOLDER = HERE / "float"


def _verdict(name: str) -> Verdict:
    (verdict,) = replay("float", FOLDER, only=name)
    return verdict


@pytest.mark.parametrize("name", sorted(golden_files(FOLDER)))
def test_golden(name: str) -> None:
    verdict = _verdict(name)
    assert verdict.passes, "\n".join(verdict.lines())


def _corners(monkeypatch: pytest.MonkeyPatch) -> None:
    """The warp as if the grid's end points were the centres of the border samples."""

    def neighbours(place: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        return true((place * (count - 1) / count), count)

    true = warp._neighbours
    monkeypatch.setattr(warp, "_neighbours", neighbours)


def _positive_diagonal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The basis with the signs of a Gram-Schmidt process."""

    def qr(matrix: torch.Tensor) -> torch.return_types.linalg_qr:
        q, r = true(matrix)
        signs = torch.sign(torch.diagonal(r))
        return torch.return_types.linalg_qr((q * signs, signs[:, None] * r))

    true = torch.linalg.qr
    monkeypatch.setattr(decoder.torch.linalg, "qr", qr)


def _no_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    true = transformer.functional.scaled_dot_product_attention
    monkeypatch.setattr(
        transformer.functional,
        "scaled_dot_product_attention",
        lambda q, k, v, attn_mask=None, **named: true(q, k, v, **named),
    )


def _half_sample_interpolation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Features resampled with align_corners=False."""

    def at_frames(self, audio, frames, first=0, last=None, affine=None):
        features = self.convolved(audio).transpose(1, 2)
        return torch.nn.functional.interpolate(
            features, size=frames, mode="linear", align_corners=False
        ).transpose(1, 2)[:, first:last]

    monkeypatch.setattr(wav2vec2.SpeechFeatures, "at_frames", at_frames)


def _one_step_more(monkeypatch: pytest.MonkeyPatch) -> None:
    true = float_cases.MotionSampler.__init__

    def init(self, *arguments, points=10, **named):
        true(self, *arguments, points=points + 1, **named)

    monkeypatch.setattr(float_cases.MotionSampler, "__init__", init)


def _darker(monkeypatch: pytest.MonkeyPatch) -> None:
    true = prepare.as_input
    monkeypatch.setattr(prepare, "as_input", lambda picture: true(picture) * np.float32(0.98))


def _frame_major(monkeypatch: pytest.MonkeyPatch) -> None:
    """The layers of wav2vec2 in falling order."""
    true = wav2vec2.SpeechFeatures.encode

    def encode(self, features, each=None):
        turned = (
            None if each is None else lambda n, hidden: each(0 if n == 0 else self.layers + 1 - n, hidden)
        )
        return true(self, features, turned)

    monkeypatch.setattr(wav2vec2.SpeechFeatures, "encode", encode)


def _swapped_guidance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(float_cases, "Guidance", lambda audio=2.0, emotion=1.0: Guidance(emotion, audio))


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("decoder", _corners),
        ("layers", _corners),
        ("e2e", _corners),
        ("encoder", _positive_diagonal),
        ("e2e", _positive_diagonal),
        ("fmt", _no_mask),
        ("sample", _no_mask),
        ("e2e", _no_mask),
        ("audio", _half_sample_interpolation),
        ("e2e", _half_sample_interpolation),
        ("e2e", _one_step_more),
        ("e2e", _darker),
        ("audio", _frame_major),
        ("fmt", _swapped_guidance),
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
