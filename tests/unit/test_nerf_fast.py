"""Blocks without gradients give what plain ones give."""

from __future__ import annotations

import pytest
import torch

from personare.engines.nerffacespeech.blinks import CURVE, Blinks
from personare.engines.nerffacespeech.networks import fast
from personare.engines.nerffacespeech.networks.layers import Block

pytestmark = pytest.mark.neural


@pytest.mark.parametrize("stripe", [fast.STRIPE_NUMBERS, 100], ids=["whole", "many stripes"])
def test_a_fast_block_gives_what_a_plain_one_gives(monkeypatch, stripe):
    monkeypatch.setattr(fast, "STRIPE_NUMBERS", stripe)
    torch.manual_seed(3)
    plain = Block(12, 8, 16, 2.0, "nn_cat", True)
    for tensor in (*plain.parameters(), *plain.buffers()):
        torch.nn.init.normal_(tensor.data) if tensor.dim() else tensor.data.fill_(1.3)
    x, picture, ws = torch.randn(2, 12, 6, 5), torch.randn(2, 3, 6, 5), torch.randn(2, 3, 16)
    assert not fast.fits(plain, x)  # gradients are wanted
    with torch.inference_mode():
        assert fast.fits(plain, x)
        wanted, made = plain(x, picture, ws), fast.block(plain, x.clone(), picture, ws)
    assert float(wanted[0].abs().max()) == 2.0  # the clamp is reached
    for one, other in zip(wanted, made, strict=True):
        torch.testing.assert_close(one, other, atol=2e-5, rtol=2e-5)


def test_blinks_come_at_their_rate_and_are_the_same_for_a_seed():
    minutes, fps = 20, 25
    lids = [Blinks(12, seed=4) for _ in range(2)]
    shut = [[one(frame) for frame in range(minutes * 60 * fps)] for one in lids]
    assert shut[0] == shut[1]
    assert 10 <= shut[0].count(max(CURVE)) / minutes <= 14
    assert not any(Blinks(0, seed=4)(frame) for frame in range(1000))
