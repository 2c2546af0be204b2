"""What a step of an inversion costs: projection and tuning at 1024 px, likeness networks of
released size, stand-in weights, this machine, one run.

    python -m benchmarks.nerffacespeech_inversion [--steps 1] [--threads 1] [--clock cpu]
    [--upsampler nn_cat]
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from typing import Literal

import torch
from torch import Tensor

from personare.engines.nerffacespeech.inversion import drawn, project, tune
from personare.engines.nerffacespeech.networks import rays
from personare.engines.nerffacespeech.networks.likeness import Likeness, likeness
from personare.engines.nerffacespeech.options import NerfOptions
from tests.conformance.case import HERE, Replay
from tests.conformance.nerffacespeech_cases import generator

CLOCK = {"wall": time.perf_counter, "cpu": time.process_time}
BACKBONE: dict[Literal["vgg", "alex"], str] = {"vgg": "vgg16", "alex": "alexnet"}


def stand_in(replay: Replay, kind: Literal["vgg", "alex"]) -> Likeness:
    states = (replay.state(BACKBONE[kind]), replay.state(f"lpips_{kind}"))
    return likeness(kind, *states, torch.device("cpu"), "the benchmark")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=tuple(CLOCK), default="cpu")
    parser.add_argument("--upsampler", choices=("nn_cat", "pixelshuffle"), default="nn_cat")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    replay = Replay("nerffacespeech", HERE / "nerffacespeech", {}, full=True)
    network, vgg, alex = (
        generator(replay, chosen.upsampler),
        stand_in(replay, "vgg"),
        stand_in(replay, "alex"),
    )
    config, camera = network.config, rays.cameras(torch.zeros(1, 3))
    photo = torch.rand(1, 3, config.side, config.side, generator=torch.Generator().manual_seed(0)) * 2 - 1
    begin, clock = drawn(0, "background", 0, config.z_background), CLOCK[chosen.clock]

    def distance(picture: Tensor) -> Tensor:
        return (alex(picture) - wanted).square().sum()

    with torch.no_grad():
        wanted = alex(photo)
    taken = {}
    began = clock()
    found = project(
        network,
        camera,
        (photo + 1) / 2 * 255,
        lambda pictures: vgg(pictures / 127.5 - 1),
        steps=chosen.steps,
        begin=begin,
        noise=lambda step: drawn(0, "style", step, config.w),
    )
    taken["projection"] = (clock() - began) / chosen.steps
    w, z = network.styles(torch.from_numpy(found.w)[None]), torch.from_numpy(found.z)[None]
    began = clock()
    tune(network, w, z, camera, photo, distance, steps=chosen.steps)
    taken["tuning"] = (clock() - began) / chosen.steps
    options = NerfOptions()
    seconds = options.projection_steps * taken["projection"] + options.tuning_steps * taken["tuning"]
    print(
        json.dumps(
            {
                "seconds_a_step": taken,
                "hours_of_all_steps": seconds / 3600,
                "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
                "clock": chosen.clock,
                "side": config.side,
                "upsampler": config.upsampler,
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
