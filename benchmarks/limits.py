"""The limits of the machine that this runs on, and what share of them the engines reach:

    python -m benchmarks.limits                 the peaks, and puppet's work
    python -m benchmarks.limits --template VIDEO    its frames on a template video too
    python -m benchmarks.limits --wav2vec2      wav2vec2's too, weights made in memory
    python -m tests.conformance.seeded_checkpoint --engine float --size full --only float -- DIR
    python -m benchmarks.limits --float DIR     FLOAT's stages too, stand-in weights
    python -m benchmarks.limits --musetalk full MuseTalk's too, weights made in memory (5 GB)

Networks run in float32, and in the format that `auto` is here if that is another (or those of
`--formats`); what a later format gives is told against the first, in dB.
Page faults and the peak of memory are told of each stage; `--allocator system` leaves memory to
the C library, for a second run to compare with.
Operations are counted by torch as the networks run, so fused ones of ours count what they need.
Read shares, not seconds: on a busy machine both sides vary by a third.
"""

from __future__ import annotations

import argparse
import io
import resource
import time
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np

import personare
from benchmarks.render import prepare, talking
from personare.bench.limits import Peaks, best, peaks
from personare.engines.puppet.draw.face import FaceRenderer
from personare.engines.puppet.draw.mesh import MeshRenderer
from personare.engines.puppet.drive import MouthDrive
from personare.engines.puppet.options import PuppetOptions
from personare.engines.puppet.render import open_show
from personare.ground.machine import machine
from personare.ground.tuning import keep_memory
from personare.media.writer import ClipWriter
from personare.motion import FaceState

HERE = Path(__file__).parent
PORTRAIT = HERE.parent / "src/personare/assets/portrait.jpg"
FRAMES = 60
SECONDS = 4
Shape = list[int]


def frames(name: str, render: Callable[[int], Any]) -> None:
    """One line: median milliseconds of processor time of a frame, all threads together."""
    taken = []
    for frame in range(FRAMES):
        began = time.process_time()
        render(frame)
        taken.append(time.process_time() - began)
    print(f"{name}: {1e3 * float(np.median(taken[5:])):.1f} ms of the processor")


def at_rest(frame: int) -> FaceState:
    spoken = talking(frame)
    return replace(spoken, curves=np.zeros_like(spoken.curves), tongue=0.0)


def puppet() -> None:
    """What a second of a clip is made of: hearing, drawing, encoding."""
    renderer = FaceRenderer(prepare(PORTRAIT, 512))
    frames("puppet, a 512x512 frame speaking", lambda frame: renderer.render(talking(frame)))
    frames("puppet, a 512x512 frame at rest", lambda frame: renderer.render(at_rest(frame)))
    shown = [renderer.render(talking(frame)) for frame in range(FRAMES)]
    head = MeshRenderer(512, PuppetOptions().face_height)
    frames("puppet, a 512x512 frame of the bundled head", lambda frame: head.render(talking(frame)))
    head.close()
    began = time.process_time()
    with ClipWriter(io.BytesIO(), size=(512, 512), fps=Fraction(25)) as writer:
        writer.write_frames(np.stack(shown))
    print(f"H.264, live, a 512x512 frame: {1e3 * (time.process_time() - began) / FRAMES:.1f} ms")
    with TemporaryDirectory() as folder:
        began = time.process_time()
        with ClipWriter(Path(folder) / "clip.mp4", size=(512, 512), fps=Fraction(25)) as writer:
            writer.write_frames(np.stack(shown))
        print(f"H.264, a file, a 512x512 frame: {1e3 * (time.process_time() - began) / FRAMES:.1f} ms")
    noise = np.random.default_rng(0).normal(0, 0.05, 16000 * SECONDS).astype(np.float32)
    for seconds in (0.02, 0.25, 1.0):
        drive, step = MouthDrive(Fraction(25), 1.0), int(16000 * seconds)
        began = time.process_time()
        for start in range(0, len(noise), step):
            drive.push(noise[start : start + step])
        taken = 1e3 * (time.process_time() - began) / (25 * SECONDS)
        print(f"puppet, hearing for a frame, pieces of {seconds:g} s: {taken:.2f} ms of the processor")


def template(video: Path) -> None:
    """A frame on a template video, its decoding included."""
    shown = open_show(personare.open_engine("puppet").prepare(video), PuppetOptions())
    size = "x".join(map(str, shown.size[::-1]))
    frames(f"puppet, a {size} frame of a template", lambda frame: shown.render(talking(frame)))
    shown.close()


def wav2vec2_stages(most: Peaks) -> None:
    """Ten seconds heard by wav2vec2-base, weights made in memory."""
    import torch
    from torch.nn.utils.parametrize import remove_parametrizations
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    torch.manual_seed(0)
    network = Wav2Vec2Model(Wav2Vec2Config()).eval()
    remove_parametrizations(network.encoder.pos_conv_embed.conv, "weight")  # the counter stumbles
    sound = torch.randn(1, 16000 * 10)
    with torch.inference_mode():
        stage("wav2vec2-base, 10 s", lambda: network(sound), most)


def packed_convolution(
    x: Shape, second: Shape, third: Shape | None, *_: Any, out_shape: Shape, **__: Any
) -> int:
    """Operations of oneDNN's own convolution, of a map and a weight, or with something that is
    added between them: torch counts those of its own alone.
    """
    from torch.utils.flop_counter import conv_flop_count

    weight = third if third is not None and len(third) == len(x) else second
    return conv_flop_count(x, weight, out_shape)


def stage(name: str, run: Callable[[], Any], most: Peaks, dtype: str = "float32") -> Any:
    """One line: seconds, operations, and the share of the peak that they are. What it gave."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    packed = {torch.ops.mkldnn._convolution_pointwise: packed_convolution}
    counter = FlopCounterMode(display=False, custom_mapping=packed)
    with counter:
        run()
    operations = counter.get_total_flops() / 1e9
    seconds = best(run, 1.0)
    share = operations / seconds / most.products[dtype]
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.process_time()
    made = run()
    taken, after = time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF)
    print(
        f"{name}: {seconds:.3f} s, {operations:.1f} GFLOP, {share:.0%} of the limit in {dtype}; "
        f"{taken:.3f} s of processor time, {after.ru_minflt - before.ru_minflt} page faults, "
        f"peak so far {after.ru_maxrss / 1e3:.0f} MB",
        flush=True,
    )
    return made


class Alike:
    """Tells of each result of a name how far it is from the first, in dB of `span`."""

    def __init__(self) -> None:
        self._first: dict[str, np.ndarray] = {}

    def tell(self, name: str, made: np.ndarray, span: float) -> None:
        exact = self._first.setdefault(name, np.asarray(made, np.float64))
        if exact is not made and (error := np.asarray(made, np.float64) - exact).any():
            rms = float(np.sqrt(np.mean(np.square(error))))
            alike = f"{20 * np.log10(span / rms):.1f} dB to the first format"
            print(f"    {alike}, largest difference {abs(error).max():.3g}")


def float_stages(weights: Path, most: Peaks, formats: list[str]) -> None:
    import torch

    from personare.engines.float import prepare as wing
    from personare.engines.float.motion import Guidance, MotionSampler
    from personare.engines.float.networks.loading import FloatState
    from personare.engines.float.render import FrameDecoder
    from personare.media.image import read_image
    from personare.weights.device import choose_device

    state, device = FloatState.read(weights / "float" / "float.pth"), choose_device("cpu")
    encoder, decoder = state.encoder(device), state.decoder(device)
    picture = wing.squeezed(read_image(PORTRAIT), state.config.side)
    seen = wing.appearance(encoder, decoder, picture)
    stage("float, encoding a portrait", lambda: wing.appearance(encoder, decoder, picture), most)
    motion = np.asarray(seen["reference"], np.float32)[None]
    config, generator, alike = state.config, np.random.default_rng(0), Alike()
    voice, noise = (
        generator.standard_normal((config.chunk, config.width)).astype(np.float32) for _ in range(2)
    )
    reference = generator.standard_normal(config.width).astype(np.float32)
    emotion = np.full(7, 1 / 7, np.float32)
    for name in formats:
        dtype = getattr(torch, name)
        frame = FrameDecoder(decoder, seen["appearance"], seen, dtype)
        run = partial(frame.render, motion)
        alike.tell("decoding", stage("float, decoding a frame", run, most, name), 255)
        network = state.transformer(device, dtype)

        def sample(network: Any = network) -> np.ndarray:
            return MotionSampler(network, reference, emotion, guidance=Guidance()).sample(voice, noise)

        made = stage("float, sampling a chunk", sample, most, name)
        alike.tell("sampling", made, float(np.std(made)))


def musetalk_stages(size: str, most: Peaks, formats: list[str], rows: int = 4) -> None:
    import torch

    from personare.engines.musetalk.motion import FacePredictor
    from personare.engines.musetalk.render import FaceDecoder
    from personare.engines.musetalk.template.latents import encoded, lean_encoder
    from personare.networks.diffusion import unet_from_state, vae_from_state
    from tests.conformance.case import HERE as CASES
    from tests.conformance.case import Replay

    replay = Replay("musetalk", CASES / "musetalk", {}, 0, full=size == "full")
    generator, config, alike = np.random.default_rng(0), replay.config("unet"), Alike()
    crop = generator.integers(0, 256, (256, 256, 3)).astype(np.uint8)
    latents = generator.standard_normal((rows, 8, 32, 32), dtype=np.float32)
    tokens = generator.standard_normal((rows, 50, config["cross_attention_dim"]), dtype=np.float32)
    for name in formats:
        dtype = getattr(torch, name)

        def vae(dtype: Any = dtype) -> Any:
            return vae_from_state(replay.state("vae"), replay.config("vae"), "stand-in", dtype=dtype)

        encoding = partial(encoded, lean_encoder(vae()), [crop])
        made = stage("musetalk, encoding a template frame", encoding, most, name)
        alike.tell("encoding", made, float(np.std(made)))
        decoder = FaceDecoder(vae())
        motion = FacePredictor(unet_from_state(replay.state("unet"), config, "stand-in", dtype=dtype))
        predicting = partial(motion.predict, latents, tokens)
        predicted = stage(f"musetalk, UNet, {rows} frames", predicting, most, name)
        decoding = partial(decoder.decode, predicted)
        alike.tell("faces", stage(f"musetalk, decoder, {rows} frames", decoding, most, name), 255)


def own_formats() -> list[str]:
    """float32, and what `auto` is on this machine."""
    from personare.weights.device import choose_device, choose_dtype

    own = str(choose_dtype(choose_device("cpu"))).removeprefix("torch.")
    return list(dict.fromkeys(("float32", own)))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--float", type=Path, metavar="DIR", help="folder with float/float.pth")
    parser.add_argument("--musetalk", choices=("full", "tiny"), help="size of its networks")
    parser.add_argument("--template", type=Path, metavar="VIDEO", help="a template video")
    parser.add_argument("--wav2vec2", action="store_true", help="needs personare[neural]")
    parser.add_argument("--formats", nargs="+", choices=("float32", "bfloat16", "float16"))
    parser.add_argument("--allocator", choices=("kept", "system"), default="kept")
    chosen = parser.parse_args()
    if chosen.allocator == "kept":
        keep_memory()
    cv2.setNumThreads(1)
    here, most = machine(), peaks()
    print(f"{here.processor}, {here.cores} cores, {' '.join(here.flags)}")
    for name, products in most.products.items():
        print(f"products in {name}: {products:.0f} GFLOP/s")
    print(f"copy: {most.copy_gb:.1f} GB/s, read and write together")
    puppet()
    if chosen.template:
        template(chosen.template)
    if chosen.wav2vec2:
        wav2vec2_stages(most)
    if chosen.float:
        float_stages(chosen.float, most, chosen.formats or own_formats())
    if chosen.musetalk:
        musetalk_stages(chosen.musetalk, most, chosen.formats or own_formats())


if __name__ == "__main__":
    main()
