"""How fast artalk is on this machine, in seconds of one core, against the published loop with
the same weights:

    python -m tests.conformance.seeded_checkpoint --engine artalk --size full WEIGHTS
    python benchmarks/artalk.py WEIGHTS VOICE.wav [--seconds 8] [--precision bfloat16]

Random weights: times are those of the released sizes, the motion means nothing.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch

from personare.engines.artalk import drive
from personare.engines.artalk.motion import MotionMaker, style_token
from personare.engines.artalk.networks.loading import HEARING, ArTalkState
from personare.engines.artalk.networks.style_unet import StyleUNet
from personare.heads.flame import Flame, FlameHead
from personare.heads.flame_mesh import MeshPicture
from personare.heads.splat import Gaussians, covariances, splat
from personare.media.audio import open_speech
from personare.types import SAMPLE_RATE
from personare.voice.wav2vec2 import speech_features
from tests.conformance.artalk_published import bits_of_chunk


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("voice", type=Path)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    chosen = parser.parse_args()
    samples = np.concatenate([chunk.samples for chunk in open_speech(chosen.voice).chunks()])
    samples = samples[: int(chosen.seconds * SAMPLE_RATE)]
    folder = chosen.weights / "artalk"
    state = ArTalkState.read(folder / "ARTalk_wav2vec.pt", folder / "config.json")
    config = state.config
    count = -(-len(samples) // config.samples)
    chunks = np.pad(samples, (0, count * config.samples - len(samples))).reshape(count, -1)
    print(f"{len(samples) / SAMPLE_RATE:g} s, {count} chunks, {torch.get_num_threads()} threads")

    style, codec = style_token(state.style(), None), state.codec()
    plain, published = _published(state, codec, chunks, style)
    dtype = getattr(torch, chosen.precision)
    hearing = state.hearing(dtype=dtype)
    maker = MotionMaker(state.transformer(dtype=dtype), codec)
    maker.chunk(drive.heard_at_scales(hearing, config, chunks[0]), style, maker.at_rest())  # warm
    heard, hearing_seconds = _timed(
        lambda: [drive.heard_at_scales(hearing, config, chunk) for chunk in chunks]
    )
    remembered, bits, motion_seconds = maker.at_rest(), [], 0.0
    for part in heard:
        bits.append(maker.generated(part, style, remembered).bits.numpy())
        (_, remembered), seconds = _timed(partial(maker.chunk, part, style, remembered))
        motion_seconds += seconds
    equal = float(np.mean(np.concatenate(bits) == np.concatenate(published)))
    ours = hearing_seconds + motion_seconds
    print(f"published loop: {plain:.2f} s")
    print(
        f"ours, {chosen.precision}: {ours:.2f} s (hearing {hearing_seconds:.2f}, "
        f"motion {motion_seconds:.2f}): {plain / ours:.2f} times as fast; {equal:.4%} of the bits are equal"
    )
    _mesh(chosen.weights)
    _gaussians()


def _published(state, codec, chunks, style):
    """(seconds, bits of each chunk)"""
    config = state.config
    part = {name.removeprefix(HEARING): t for name, t in state.tensors.items() if name.startswith(HEARING)}
    hearing = speech_features(part, config.hearing)
    token, made = torch.from_numpy(style)[None, None], []

    def run() -> None:
        with torch.inference_mode():
            remembered = codec.bits(torch.zeros(1, config.frames, 106))
            for chunk in chunks:
                heard = torch.from_numpy(drive.heard_at_scales(hearing, config, chunk))[None]
                bits = bits_of_chunk(state.tensors, config, heard, token, remembered)
                made.append(bits.numpy())
                remembered = codec.bits(codec.decode(remembered, bits)[:, config.frames :])

    _, seconds = _timed(run)
    return seconds, made


def _mesh(weights: Path) -> None:
    model = Flame.read(weights / "flame" / "FLAME_with_eye.pt")
    head, picture = FlameHead(model), MeshPicture(model.faces, len(model.template))
    still, turn = np.zeros(100, np.float32), np.array([0.0, 0.3, 0.0], np.float32)

    def run() -> None:
        for _ in range(50):
            picture.draw(head.vertices(still, turn, np.zeros(3, np.float32)))

    _, seconds = _timed(run)
    print(f"mesh, {len(model.faces)} faces at 512x512: {50 / seconds:.0f} frames a second of one core")


def _gaussians() -> None:
    """As many as an avatar has, where they would be, of random colours."""
    torch.manual_seed(0)
    steps = torch.linspace(0.8, -0.8, 296)
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    sheet = torch.stack([x, y, torch.zeros_like(x)], -1).view(-1, 3)
    away = torch.tensor([0.0, 0.0, 0.3])
    sheets = [sheet + torch.rand(len(sheet), 1) * away, sheet - torch.rand(len(sheet), 1) * away]
    means = torch.cat([torch.randn(5023, 3) * 0.25, *sheets])
    count = len(means)
    turns = torch.nn.functional.normalize(torch.randn(count, 4), dim=1)
    given = Gaussians(
        means,
        covariances(0.004 + 0.004 * torch.rand(count, 3), turns),
        torch.rand(count),
        torch.randn(count, 32),
    )
    camera = torch.tensor([[-1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, 9.7]])
    network = StyleUNet(512)
    for tensor in (*network.parameters(), *network.buffers()):
        torch.nn.init.normal_(tensor.data, 0, 0.02)
    with torch.inference_mode():
        splat(given, camera, 512, 512)  # warm
        (picture, _), splatting = _timed(lambda: splat(given, camera, 512, 512))
        _, painting = _timed(lambda: network(picture[None]))
    print(f"{count} Gaussians at 512x512: splatting {splatting:.2f} s, painting {painting:.2f} s a frame")


def _timed(run):
    """Seconds of one core: those of all threads together, whatever else runs on the machine."""
    began = time.process_time()
    made = run()
    return made, time.process_time() - began


if __name__ == "__main__":
    main()
