"""artalk's goldens pass, and stop passing when the product is wrong."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch

from personare.engines.artalk import drive, motion, render, smoothing
from personare.engines.artalk.networks import autoregressive, codec, features, style
from personare.heads import splat
from tests.conformance.case import HERE, golden_files
from tests.conformance.replay import Verdict, replay

pytestmark = pytest.mark.neural

FOLDER = HERE / "artalk"


def _verdict(name: str) -> Verdict:
    (verdict,) = replay("artalk", FOLDER, only=name)
    return verdict


@pytest.mark.parametrize("name", sorted(golden_files(FOLDER)))
def test_golden(name: str) -> None:
    verdict = _verdict(name)
    assert verdict.passes, "\n".join(verdict.lines())


def _scaled_by_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    true = torch.nn.functional.scaled_dot_product_attention

    def attention(q, k, v, scale=None, **named):
        by_width = scale == 32**-0.5  # the codec's; others attend too
        return true(q, k, v, scale=None if by_width else scale, **named)

    monkeypatch.setattr(codec.functional, "scaled_dot_product_attention", attention)


def _unmasked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The chunk before sees this one."""
    true = codec._Transformer.run
    monkeypatch.setattr(codec._Transformer, "run", lambda self, x, mask: true(self, x, None))


def _position_of_each_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    true = style.position
    monkeypatch.setattr(style, "position", lambda length: torch.stack([true(n) for n in range(length)]))


def _looser_norm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(autoregressive, "_EPSILON", 1e-5)


def _sharper(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sharpness of attention without its limit."""
    monkeypatch.setattr(autoregressive, "_SHARPEST", 0.5)


def _unmixed_style(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style, "_STRENGTH", 1.0)


def _biased_deviation(monkeypatch: pytest.MonkeyPatch) -> None:
    def normalised(chunk: np.ndarray) -> np.ndarray:
        centred = chunk - chunk.mean(dtype=np.float64)
        return (centred / (centred.std() + 1e-6)).astype(np.float32)

    monkeypatch.setattr(drive, "normalised", normalised)


def _first_pieces_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces that do not overlap."""

    def pooled(x: torch.Tensor, size: int) -> torch.Tensor:
        edges = [n * x.shape[1] // size for n in range(size + 1)]
        return torch.stack([x[:, a:b].mean(1) for a, b in itertools.pairwise(edges)], 1)

    monkeypatch.setattr(codec, "pooled", pooled)


def _remembers_what_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bits that were generated are remembered instead of the motion's own."""
    true = motion.MotionMaker.chunk

    def chunk(self, heard, style, remembered):
        made, _ = true(self, heard, style, remembered)
        return made, self.generated(heard, style, remembered).bits.numpy()

    monkeypatch.setattr(motion.MotionMaker, "chunk", chunk)


def _wider_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smoothing, "ORDER", 3)


def _unit_quaternions(monkeypatch: pytest.MonkeyPatch) -> None:
    true = splat.covariances
    monkeypatch.setattr(
        splat, "covariances", lambda scales, turns: true(scales, torch.nn.functional.normalize(turns, dim=-1))
    )


def _tiles_of_eight(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gaussians end at other rims."""
    monkeypatch.setattr(splat, "TILE", 8)


def _class_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """The feature of the whole is that of the class."""
    true = features.PictureFeatures.forward

    def forward(self, picture):
        dense, _ = true(self, picture)
        whole = self.dino_model.norm(self.dino_model(self.normalised(features.resized(picture, 112)))[-1])
        return dense, whole[:, 0]

    monkeypatch.setattr(features.PictureFeatures, "forward", forward)


def _quick_forehead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "FOREHEAD_STAYS", np.float32(0.9))


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("splat", _unit_quaternions),
        ("e2e", _unit_quaternions),
        ("splat", _tiles_of_eight),
        ("dino_features", _class_token),
        ("e2e", _class_token),
        ("e2e", _quick_forehead),
        ("vae_encode", _scaled_by_heads),
        ("vae_decode", _scaled_by_heads),
        ("e2e_default", _scaled_by_heads),
        ("vae_decode", _unmasked),
        ("style", _position_of_each_frame),
        ("e2e_style", _position_of_each_frame),
        ("e2e_style", _looser_norm),
        ("ar_block", _sharper),
        ("style", _unmixed_style),
        ("audio_encoder", _biased_deviation),
        ("bsq", _first_pieces_only),
        ("e2e_style", _remembers_what_was_said),
        ("smoothing", _wider_window),
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
