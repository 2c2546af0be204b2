"""artalk's avatars at tiny size: noise by seed, and networks on other devices."""

from __future__ import annotations

import pytest
import torch

from personare.engines.artalk.networks.gaussians import avatar_networks, upsampler_network
from personare.engines.artalk.networks.style_unet import StyleUNet
from tests.conformance.case import HERE, Replay

pytestmark = pytest.mark.neural

REPLAY = Replay("artalk", HERE / "artalk", {})


@pytest.fixture(scope="module")
def upsampler() -> StyleUNet:
    return upsampler_network(REPLAY.state("gagavatar"), "a tiny one")


def test_noise_is_of_the_checkpoint_or_of_a_seed(upsampler):
    features = torch.linspace(-1, 1, 32 * 64 * 64).view(1, 32, 64, 64)
    with torch.inference_mode():
        own = upsampler(features)
        assert torch.equal(upsampler(features, upsampler.noises()), own)
        seeded = upsampler(features, upsampler.noises(3))
        assert torch.equal(upsampler(features, upsampler.noises(3)), seeded)
        assert not torch.equal(upsampler(features, upsampler.noises(4)), seeded)
        assert not torch.equal(own, seeded)
    assert upsampler.noises(3).keys() == upsampler.noises().keys()


def test_gaussians_are_made_where_the_networks_are():
    """On the device without memory, which refuses tensors of others."""
    networks = avatar_networks(
        REPLAY.state("gagavatar"), "a tiny one", int(REPLAY.config("gagavatar")["dino"]["num_heads"])
    ).to("meta")
    sheet, places = networks.gaussians(
        torch.empty(1, 3, 64, 64, device="meta"), torch.empty(3, 4, device="meta")
    )
    assert len(places) + networks.sizes.vertices == sheet.opacities.shape[1]
    assert {part.device.type for part in (*sheet[:4], places)} == {"meta"}
