"""How fast FLOAT's wing is against the published way of computing: this machine, one run,
stand-in weights of released size.

    python -m tests.conformance.seeded_checkpoint --engine float --size full --only float -- DIR
    python -m benchmarks.float DIR [--frames 6] [--repeat 3] [--json FILE]

Prints a table of ratios, the decoder's PSNR in the machine's own format, and what the time of a
frame goes into.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from personare.engines.float import prepare
from personare.engines.float.motion import Guidance, MotionSampler
from personare.engines.float.networks.loading import DECODER, FloatState
from personare.engines.float.render import FrameDecoder
from personare.media.image import read_image
from personare.weights.device import choose_device, choose_dtype
from tests.conformance import float_published

HERE = Path(__file__).parent
PORTRAIT = HERE.parent / "src/personare/assets/portrait.jpg"


CLOCK = {"wall": time.perf_counter, "cpu": time.process_time}
"""What seconds are: on a busy machine those of this process on one thread are fairer (--clock
cpu --threads 1).
"""


def best(run: Callable[[], Any], repeat: int, clock: str) -> tuple[float, Any]:
    """Shortest of some runs in seconds, and what the last one gave."""
    taken = []
    for _ in range(repeat):
        began = CLOCK[clock]()
        made = run()
        taken.append(CLOCK[clock]() - began)
    return min(taken), made


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    error = np.mean(np.square(a.astype(np.float64) - b.astype(np.float64)))
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def decoding(state: FloatState, frames: int, repeat: int, clock: str) -> dict[str, Any]:
    """One by one in float32 as published, against batches in float32 and in the machine's
    format.
    """
    device = choose_device("cpu")
    decoder = state.decoder(device)
    picture = prepare.squeezed(read_image(PORTRAIT), state.config.side)
    seen = prepare.appearance(state.encoder(device), decoder, picture)
    generator = np.random.default_rng(0)
    coefficients = generator.standard_normal((frames, state.config.motions)).astype(np.float32)
    motion = (seen["reference"] + 0.3 * coefficients @ decoder.direction.basis.numpy().T).astype(np.float32)
    plain = state.part(DECODER)
    features = [torch.from_numpy(seen[f"feature{level}"])[None] for level in range(len(state.config.sides))]

    def published() -> np.ndarray:
        made = []
        with torch.inference_mode():
            for row in motion:
                latent = torch.from_numpy(seen["appearance"] + row)[None]
                made.append(float_published.decode(plain, latent, features)[0])
            pictures = (torch.stack(made).clamp(-1, 1) + 1) / 2 * 255
            return pictures.permute(0, 2, 3, 1).to(torch.uint8).numpy()

    seconds, reference = best(published, repeat, clock)
    result: dict[str, Any] = {"published_seconds_per_frame": seconds / frames}
    for name, dtype in {"float32": torch.float32, "machine": choose_dtype(device)}.items():
        fast = FrameDecoder(decoder, seen["appearance"], seen, dtype)
        for batch in (1, 4):

            def ours(batch: int = batch, fast: FrameDecoder = fast) -> np.ndarray:
                return np.concatenate(
                    [fast.render(motion[first : first + batch]) for first in range(0, frames, batch)]
                )

            seconds, pictures = best(ours, repeat, clock)
            result[f"{name}_batch{batch}"] = {
                "format": str(dtype).removeprefix("torch."),
                "seconds_per_frame": seconds / frames,
                "times_published": result["published_seconds_per_frame"] / (seconds / frames),
                "psnr_db": psnr(pictures, reference),
            }
    return result


def sampling(state: FloatState, repeat: int, clock: str) -> dict[str, Any]:
    """One chunk, nfe 10, default scales: three plain branches in float32, against ours in
    float32 and in bfloat16.
    """
    device, config = choose_device("cpu"), state.config
    generator = torch.Generator().manual_seed(3)
    voice, noise = (torch.randn(config.chunk, config.width, generator=generator) for _ in range(2))
    reference, emotion = (
        torch.randn(config.width, generator=generator),
        torch.softmax(torch.randn(7, generator=generator), 0),
    )
    nothing = torch.zeros(config.previous, config.width)
    plain = state.transformer(device)

    def published() -> torch.Tensor:
        with torch.inference_mode():
            return float_published.sample_chunk(plain, reference, emotion, (nothing, nothing), voice, noise)

    seconds, expected = best(published, repeat, clock)
    result: dict[str, Any] = {"published_seconds_per_chunk": seconds}
    for name, dtype in {"float32": torch.float32, "bfloat16": torch.bfloat16}.items():
        network = state.transformer(device, dtype)
        network.pack(3 * (config.previous + config.chunk))

        def ours(network: Any = network) -> np.ndarray:
            sampler = MotionSampler(network, reference.numpy(), emotion.numpy(), guidance=Guidance())
            return sampler.sample(voice.numpy(), noise.numpy())

        seconds, motion = best(ours, repeat, clock)
        result[name] = {
            "seconds_per_chunk": seconds,
            "times_published": result["published_seconds_per_chunk"] / seconds,
            "largest_difference": float(np.abs(motion - expected.numpy()).max()),
        }
    return result


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("weights", type=Path, help="folder with float/float.pth")
    parser.add_argument("--frames", type=int, default=4)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--clock", choices=tuple(CLOCK), default="wall")
    parser.add_argument("--threads", type=int, help="of torch; all cores without it")
    parser.add_argument("--only", choices=("decoding", "sampling"))
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    state = FloatState.read(chosen.weights / "float" / "float.pth")
    result = {}
    if chosen.only != "sampling":
        result["decoding"] = decoding(state, chosen.frames, chosen.repeat, chosen.clock)
    if chosen.only != "decoding":
        result["sampling"] = sampling(state, chosen.repeat, chosen.clock)
    text = json.dumps(result, indent=1)
    print(text)
    if chosen.json:
        chosen.json.write_text(text)


if __name__ == "__main__":
    main()
