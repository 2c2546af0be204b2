"""The samplers of mimicmotion beside the library's, and what few steps are made of."""

from __future__ import annotations

import diffusers
import numpy as np
import pytest
import torch

from personare.engines.mimicmotion.schedule import make_schedule

pytestmark = pytest.mark.neural
librarys = pytest.mark.filterwarnings("ignore:__array__ implementation")  # it does not know NumPy 2

RELEASED = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "prediction_type": "v_prediction",
    "timestep_type": "continuous",
    "timestep_spacing": "leading",
    "steps_offset": 1,
    "use_karras_sigmas": True,
    "sigma_min": 0.002,
    "sigma_max": 700.0,
    "interpolation_type": "linear",
}


@librarys
@pytest.mark.parametrize("steps", [1, 2, 7, 25])
@pytest.mark.parametrize("kind", ["euler", "align_your_steps"])
def test_each_step_is_the_librarys(kind, steps):
    ours = make_schedule(kind, steps)
    theirs = diffusers.EulerDiscreteScheduler(**RELEASED)
    if kind == "euler":
        theirs.set_timesteps(steps)
        assert torch.allclose(ours.sigmas, theirs.sigmas, rtol=1e-5)
        assert torch.allclose(ours.timesteps, theirs.timesteps, rtol=1e-4, atol=1e-5)
    else:
        theirs.set_timesteps(sigmas=ours.sigmas.tolist())
    generator = torch.Generator().manual_seed(0)
    sample = torch.randn((3, 4, 2, 2), generator=generator) * ours.first_scale
    for step, time in enumerate(theirs.timesteps):
        v = torch.randn(sample.shape, generator=generator)
        assert torch.allclose(ours.scaled(sample, step), theirs.scale_model_input(sample, time), rtol=1e-5)
        wanted = theirs.step(v, time, sample).prev_sample
        sample = ours.next(sample, v, step)
        assert torch.allclose(sample, wanted, rtol=1e-4, atol=1e-5)


def test_aligned_steps_are_nvidias_at_ten_and_between_them_at_others():
    levels = make_schedule("align_your_steps", 10).sigmas.numpy()
    assert levels[[0, 1, 9, 10]] == pytest.approx([700, 54.5, 0.034, 0])
    five = make_schedule("align_your_steps", 5).sigmas.numpy()
    assert five == pytest.approx([*levels[[0, 2, 4, 6, 8]], 0])
    three = make_schedule("align_your_steps", 3).sigmas.numpy()
    assert np.all(np.diff(three) < 0)


def test_lcm_draws_noise_in_every_step_but_a_single_one():
    generator = torch.Generator().manual_seed(3)
    before = generator.get_state()
    make_schedule("lcm", 1).next(torch.zeros(1, 4), torch.zeros(1, 4), 0, generator)
    assert torch.equal(generator.get_state(), before)
    make_schedule("lcm", 2).next(torch.zeros(1, 4), torch.zeros(1, 4), 1, generator)
    assert not torch.equal(generator.get_state(), before)
