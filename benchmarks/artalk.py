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
from personare.heads.splat import Gaussians, covariances, project, splat
from personare.media.audio import open_speech
from personare.types import SAMPLE_RATE
from personare.voice.wav2vec2 import speech_features
from tests.conformance.artalk_published import bits_of_chunk
from tests.unit.splat_reference import splatted


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
    hearing_products, loop, passes = _products(config)
    print(
        f"products of a chunk, billions: hearing {hearing_products:.0f} in both; then {loop:.0f} against "
        f"{passes:.0f}: at equal speed {(hearing_products + loop) / (hearing_products + passes):.2f} times"
    )
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


def _products(config):
    """(hearing, the published loop after it, ours), 1e9 multiplications of a chunk."""
    width, heard, tokens, sizes = config.width, config.heard_width, config.tokens, config.hearing
    length, channels, hearing = config.samples, 1, 0.0
    parts = zip(sizes["conv_dim"], sizes["conv_kernel"], sizes["conv_stride"], strict=True)
    for made, kernel, stride in parts:
        length = (length - kernel) // stride + 1
        hearing += length * kernel * channels * made
        channels = made
    grouped = heard // sizes["num_conv_pos_embedding_groups"] * sizes["num_conv_pos_embeddings"]
    layer = 4 * heard * heard + 2 * heard * sizes["intermediate_size"] + 2 * length * heard
    hearing += length * heard * (channels + grouped) + sizes["num_hidden_layers"] * length * layer
    codec = 7 * config.codec_width**2 * config.codec_depth * 3 * config.frames
    own, seen = 10 * width * width + 6 * heard * width, 2 * width * width

    def blocks(prefixes):
        """Queries, modulations and feed-forward of a prefix; keys and values of memory too."""
        return config.depth * sum(
            count * own + (count + tokens) * (seen + 2 * width * count) for count in prefixes
        )

    prefixes = [span.stop for span in config.spans]
    return hearing / 1e9, (blocks(prefixes) + codec) / 1e9, (blocks([tokens]) + codec) / 1e9


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
    few = torch.arange(0, count, 60)
    some = Gaussians(given.means[few], given.covariances[few], given.opacities[few], given.features[few])
    with torch.inference_mode():
        splat(given, camera, 512, 512)  # warm
        seen, projecting = _timed(lambda: project(given, camera, 512, 512))
        (picture, _), splatting = _timed(lambda: splat(given, camera, 512, 512))
        _, painting = _timed(lambda: network(picture[None]))
        began = time.perf_counter()
        network(splat(given, camera, 512, 512)[0][None])
        frame = time.perf_counter() - began
        _, quick = _timed(lambda: splat(some, camera, 512, 512))
        seen = project(some, camera, 512, 512)
        _, plain = _timed(lambda: splatted(some, seen, 512, 512, np.zeros(32)))
    print(
        f"{count} Gaussians at 512x512: splatting {splatting:.2f} s (of it projecting {projecting:.2f}), "
        f"painting {painting:.2f} s a frame; {1 / frame:.2f} frames a second on "
        f"{torch.get_num_threads()} threads"
    )
    print(f"{len(few)} of them: {quick:.2f} s, pixel by pixel as the rule is written {plain:.1f} s")


def _timed(run):
    """Seconds of one core: those of all threads together, whatever else runs on the machine."""
    began = time.process_time()
    made = run()
    return made, time.process_time() - began


if __name__ == "__main__":
    main()
