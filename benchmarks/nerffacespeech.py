"""How fast nerffacespeech draws against the published order of work (three renders, one
segmentation and a blend at 512 px a frame): this machine, one run, stand-in weights of released
size.

    python -m benchmarks.nerffacespeech [--frames 1] [--threads 1] [--clock cpu] [--dtype
    float32]
"""

from __future__ import annotations

import argparse
import json
import math
import time
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from personare.engines.nerffacespeech import render
from personare.engines.nerffacespeech.face_model import ExpressionPlane, FaceModel, nearest
from personare.engines.nerffacespeech.networks import fast, rays
from personare.engines.nerffacespeech.networks.voice import lipaint
from tests.conformance.case import HERE, Replay
from tests.conformance.nerffacespeech_cases import generator, segmentation
from tests.conformance.nerffacespeech_layout import stand_in_face

CLOCK = {"wall": time.perf_counter, "cpu": time.process_time}


def person(replay: Replay) -> tuple[render.Person, FaceModel]:
    network, model = generator(replay, "nn_cat"), FaceModel.of(stand_in_face())
    torch.manual_seed(0)
    with torch.inference_mode():
        ws = network.styles(network.mapping(torch.randn(1, network.config.z), 0.7))
        z = torch.randn(1, network.config.z_background)
        camera = rays.cameras(torch.zeros(1, 3))
        seen = network.synthesis.see(ws, network.synthesis.behind(z), camera)
        still = np.zeros((1, 257), np.float32)
        references = model.references(still)[0]
        indices = [
            torch.from_numpy(nearest(points[0, :, 1:].numpy(), references)).long()
            for points in (seen.coarse_points, seen.fine_points)
        ]
    plane = ExpressionPlane(model, still[0])
    return render.Person(network, ws, z, seen.fine, plane, references, *indices), model


def as_published(drawing: render.Renderer, expressions: np.ndarray, cameras: Tensor) -> Tensor:
    """The same frames in the published order, with plain blocks."""
    network, lips = drawing._person.generator.synthesis, drawing.mouth_styles(expressions)
    ws, shift = drawing._person.w, drawing.shift(expressions)
    plain = partial(drawing._seen, cameras=cameras)
    network.picture(plain(ws, shift=shift), ws)  # computed and thrown away
    mouth = plain(lips, shift=None)
    labels = drawing.labels(network.picture(mouth, lips))
    mask = drawing._masks.next(render.outside_mouth(labels)[0])[None]
    moved = plain(ws, shift=shift)
    large = partial(interpolate, mode="bicubic", align_corners=False)
    both = mask * large(moved[:, 3:], size=(512, 512)) + (1 - mask) * large(mouth[:, 3:], size=(512, 512))
    side = network.config.volume
    return network.picture(torch.cat([moved[:, :3], large(both, size=(side, side))], 1), ws)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--frames", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=tuple(CLOCK), default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    replay = Replay("nerffacespeech", HERE / "nerffacespeech", {}, full=True)
    who, _ = person(replay)
    lips = lipaint(replay.state("lipaintnet"), who.generator.config.w, "cpu", "the benchmark")
    drawing = render.Renderer(who, lips, segmentation(replay), getattr(torch, chosen.dtype))
    expressions = np.random.default_rng(0).normal(0, 0.3, (chosen.frames, 64)).astype(np.float32)
    cameras, clock = rays.cameras(torch.zeros(chosen.frames, 3)), CLOCK[chosen.clock]
    taken: dict[str, float] = {}
    pictures = {}
    fits = fast.fits
    for name, draw in (("published", partial(as_published, drawing)), ("ours", drawing.colours)):
        drawing.forget()
        if name == "published":
            fast.fits = lambda *_: False  # type: ignore[assignment]
        began = clock()
        with torch.inference_mode():
            made = [draw(expressions[n : n + 1], cameras[n : n + 1]) for n in range(chosen.frames)]
        taken[name] = (clock() - began) / chosen.frames
        pictures[name] = render.to_bytes(torch.cat(made)).astype(np.float64)
        fast.fits = fits
    error = np.square(pictures["published"] - pictures["ours"]).mean()
    print(
        json.dumps(
            {
                "seconds_a_frame": taken,
                "ratio": taken["published"] / taken["ours"],
                "psnr": None if error == 0 else 10 * math.log10(255**2 / error),
                "clock": chosen.clock,
                "dtype": chosen.dtype,
                "side": who.generator.config.side,
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
