"""The splatter gives the picture of the plain rule, also where goldens do not look."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from personare.heads import splat
from personare.heads.splat import Gaussians, covariances, project
from tests.unit.splat_reference import splatted

pytestmark = pytest.mark.neural

CAMERA = torch.tensor([[-1.0, 0, 0, 0.0], [0, 1, 0, 0.0], [0, 0, -1, 10.0]])
WIDTH, HEIGHT = 50, 37


def gaussians(count, seed=0, opacity=None, depth=0.3):
    rng = np.random.default_rng(seed)

    def tensor(values):
        return torch.from_numpy(np.asarray(values, np.float32))

    means = rng.normal(size=(count, 3)) * [0.4, 0.3, depth]
    turns = rng.normal(size=(count, 4))
    opacities = rng.uniform(0.05, 1, count) if opacity is None else np.full(count, opacity)
    return Gaussians(
        tensor(means),
        covariances(
            tensor(rng.uniform(0.005, 0.05, (count, 3))),
            tensor(turns / np.linalg.norm(turns, axis=1, keepdims=True)),
        ),
        tensor(opacities),
        tensor(rng.normal(size=(count, 5))),
    )


def both(given):
    background = torch.linspace(0.5, 1, 5)
    made, through = splat.splat(given, CAMERA, WIDTH, HEIGHT, background)
    seen = project(given, CAMERA, WIDTH, HEIGHT)
    plain, plain_through = splatted(given, seen, WIDTH, HEIGHT, background.numpy())
    return made.numpy(), through.numpy(), plain, plain_through


@pytest.mark.parametrize("at_once", [32, 7])
@pytest.mark.parametrize("opacity", [None, 1.0], ids=["mixed", "opaque"])
def test_it_is_the_plain_rule(opacity, at_once, monkeypatch):
    """Opaque ones end pixels before the Gaussian that would leave less than a ten-thousandth."""
    monkeypatch.setattr(splat, "_AT_ONCE", at_once)
    made, through, plain, plain_through = both(gaussians(150, opacity=opacity))
    np.testing.assert_allclose(made, plain, atol=2e-5)
    np.testing.assert_allclose(through, plain_through, atol=2e-5)
    if opacity:
        assert through.min() < 2e-3


def test_of_equal_depths_the_first_is_in_front():
    given = gaussians(60, depth=0.0)
    made, _, plain, _ = both(given)
    np.testing.assert_allclose(made, plain, atol=2e-5)
    turned = Gaussians(
        *(part.flip(0) for part in (given.means, given.covariances, given.opacities, given.features))
    )
    assert np.abs(both(turned)[0] - made).max() > 0.01


def test_nothing_to_show_is_the_background():
    behind = gaussians(20)
    behind.means[:, 2] += 30  # behind the camera
    made, through, _, _ = both(behind)
    np.testing.assert_array_equal(through, np.ones((HEIGHT, WIDTH)))
    np.testing.assert_allclose(made[2], 0.75)


def test_a_quaternion_that_is_shorter_turns_by_less():
    scales = torch.tensor([[0.01, 0.02, 0.03]])
    tiny = covariances(scales, 0.01 * torch.tensor([[0.5, 0.5, 0.5, 0.5]]))
    straight = covariances(scales, torch.tensor([[1.0, 0, 0, 0]]))
    np.testing.assert_allclose(tiny, straight, atol=1e-6)
