"""nerffacespeech's goldens pass, and stop passing when the product is wrong."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch.nn import functional

from personare.engines.nerffacespeech import drive, face_model, inversion, motion, render, shading
from personare.engines.nerffacespeech.networks import generator, layers, rays
from tests.conformance.case import HERE, golden_files
from tests.conformance.replay import Verdict, replay

pytestmark = pytest.mark.neural

FOLDER = HERE / "nerffacespeech"


def _verdict(name: str) -> Verdict:
    (verdict,) = replay("nerffacespeech", FOLDER, only=name)
    return verdict


@pytest.mark.parametrize("name", sorted(golden_files(FOLDER)))
def test_golden(name: str) -> None:
    verdict = _verdict(name)
    assert verdict.passes, "\n".join(verdict.lines())


def _gradient_through_depths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rays.torch, "no_grad", torch.enable_grad)


def _ray_norm_in_the_background(monkeypatch: pytest.MonkeyPatch) -> None:
    def background_points(config):
        points, distances = true(config)
        _, ahead = rays.rays(config, rays.camera_at(0.0, rays.FROZEN_V))
        return points, distances * ahead[0].norm(dim=1, keepdim=True)

    true = rays.background_points
    monkeypatch.setattr(generator.rays, "background_points", background_points)


def _tuned_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    def deepcopy(value, *memo):
        made = true(value, *memo)
        if not isinstance(made, generator.Generator):
            return made
        for layer in made.modules():
            if isinstance(layer, layers.StyledLayer):
                value = layer.w_avg
                del layer.w_avg
                layer.w_avg = torch.nn.Parameter(value)
        return made

    true = inversion.copy.deepcopy
    monkeypatch.setattr(inversion.copy, "deepcopy", deepcopy)


def _one_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render.MeanMask, "next", lambda self, mask: mask)


def _bilinear_before_the_segmentation(monkeypatch: pytest.MonkeyPatch) -> None:
    def parsed(network, pictures):
        small = functional.interpolate(pictures, size=(512, 512), mode="bilinear")
        return network(render.as_network_input(small)).argmax(1).to(torch.uint8)

    monkeypatch.setattr(render, "parsed", parsed)


def _no_torso(monkeypatch: pytest.MonkeyPatch) -> None:
    true = face_model.nearest
    monkeypatch.setattr(face_model, "nearest", lambda points, references: true(points, references[:15]))


def _unclamped_segmentation(monkeypatch: pytest.MonkeyPatch) -> None:
    true = render.as_network_input
    monkeypatch.setattr(render, "as_network_input", lambda pictures: true((pictures + 1) / 2))


def _scaled_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(motion, "SCALE", 1.0)


def _merged_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights stay in the order of depth instead of that of the samples."""
    monkeypatch.setattr(torch.Tensor, "scatter", lambda self, dim, index, values: values)


def _right_handed_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    true = rays.rotations
    monkeypatch.setattr(rays, "rotations", lambda angles: true(angles).transpose(1, 2))


def _corner_quarters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "neighbours", lambda x: functional.interpolate(x, scale_factor=2))


def _early_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drive, "first_row", lambda frame: int(np.floor(80 * ((frame - 2) / 25))))


def _no_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inversion, "noise_scale", lambda part, spread: 0.0)


def _unit_faces(monkeypatch: pytest.MonkeyPatch) -> None:
    true = shading.TorchFace.normals
    monkeypatch.setattr(shading.TorchFace, "normals", lambda self, shape, unit: true(self, shape, not unit))


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("pti", _gradient_through_depths),
        ("pti", _tuned_buffers),
        ("nncat_generator_front", _ray_norm_in_the_background),
        ("masks", _one_mask),
        ("end_to_end", _bilinear_before_the_segmentation),
        ("end_to_end", _no_torso),
        ("segnet", _unclamped_segmentation),
        ("expression_sequence", _scaled_reference),
        ("nncat_generator_pose", _merged_order),
        ("nncat_camera", _right_handed_rows),
        ("nncat_up_layer", _corner_quarters),
        ("mel", _early_window),
        ("projection", _no_noise),
        ("fit", _unit_faces),
        ("bfm", _unit_faces),
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
