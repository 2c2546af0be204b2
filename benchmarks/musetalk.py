"""How fast MuseTalk's wing is against the published loop: this machine, one run, stand-in
weights of released size made in memory.

    python -m benchmarks.musetalk [--only painting prepare overlap memory first] [--batches 4 8]
    [--json FILE] ...

painting  UNet and decoder per frame: diffusers' modules in float32, as the specification's loop has
          them, against ours in float32
          and in the machine's own format; PSNR of the uint8 faces
The others with tiny networks, so that what is measured is everything around them:
prepare   cold, warm, one option changed
overlap   a whole clip, steps side by side against the same steps one after another
memory    peak of 1 min of speech against 10 s
first     the first frame of a warm avatar, streaming against a hearing of the whole file

Figures are of one run on one machine: compare ratios.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from personare.engines.musetalk.drive import positional_encoding
from personare.engines.musetalk.motion import FacePredictor
from personare.engines.musetalk.render import FaceDecoder
from personare.engines.musetalk.template import latents as published
from personare.networks.diffusion import unet_from_state, vae_from_state
from personare.weights.device import choose_device, choose_dtype
from tests.conformance.case import HERE, Replay
from tests.conformance.seeded_checkpoint import write_checkpoints
from tests.conftest import write_wav
from tests.unit.template_videos import moved_portrait, write_video

Row = dict[str, Any]
NETWORKS = ("musetalk-unet-v15", "sd-vae-ft-mse", "whisper-tiny")


def best(run: Callable[[], Any], repeat: int) -> tuple[float, Any]:
    """Shortest of some runs in seconds, after one that does not count, and what the last one
    gave.
    """
    made, taken = run(), []
    for _ in range(repeat):
        began = time.perf_counter()
        made = run()
        taken.append(time.perf_counter() - began)
    return min(taken), made


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    error = np.mean(np.square(a.astype(np.float64) - b.astype(np.float64)))
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def loop(unet: Any, vae: Any, given: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """The published way: the library's modules, float32, the time embedding anew for every
    batch.
    """
    with torch.inference_mode():
        heard = torch.from_numpy(tokens + positional_encoding(*tokens.shape[1:]))
        predicted = unet(torch.from_numpy(given), torch.tensor([0]), encoder_hidden_states=heard).sample
        return published.to_bytes(published.decoded(vae, predicted))


def painting(batches: list[int], repeat: int, size: str = "full") -> list[Row]:
    """Seconds per frame of the library's loop and of ours, and how alike the faces are."""
    replay = Replay("musetalk", HERE / "musetalk", {}, 0, full=size == "full")
    cpu = choose_device("cpu")
    unet_config, vae_config = replay.config("unet"), replay.config("vae")
    generator, most = np.random.default_rng(0), max(batches)
    given = generator.standard_normal((most, 8, 32, 32), dtype=np.float32)
    tokens = generator.standard_normal((most, 50, unet_config["cross_attention_dim"]), dtype=np.float32)

    unet, vae = (
        unet_from_state(replay.state("unet"), unet_config, "u"),
        vae_from_state(replay.state("vae"), vae_config, "v"),
    )
    vae.encoder = None

    plain = {n: best(partial(loop, unet, vae, given[:n], tokens[:n]), repeat) for n in batches}
    del unet, vae
    gc.collect()
    rows = []
    own = choose_dtype(cpu)
    for dtype in dict.fromkeys((torch.float32, own)):
        motion = FacePredictor(unet_from_state(replay.state("unet"), unet_config, "u", dtype=dtype))
        decoder = FaceDecoder(vae_from_state(replay.state("vae"), vae_config, "v", dtype=dtype))
        for n in batches:
            predicting, predicted = best(partial(motion.predict, given[:n], tokens[:n]), repeat)
            decoding, faces = best(partial(decoder.decode, predicted), repeat)
            seconds, wanted = plain[n]
            rows.append(
                {
                    "what": "painting",
                    "batch": n,
                    "format": str(dtype).removeprefix("torch."),
                    "plain_ms": 1000 * seconds / n,
                    "motion_ms": 1000 * predicting / n,
                    "render_ms": 1000 * decoding / n,
                    "faster": seconds / (predicting + decoding),
                    "psnr_db": psnr(faces, wanted),
                }
            )
            print(
                f"painting, batch {n}, {rows[-1]['format']}: plain {rows[-1]['plain_ms']:.0f} ms a frame, "
                f"UNet"
                f" {rows[-1]['motion_ms']:.0f} + decoder {rows[-1]['render_ms']:.0f} ms: "
                f"{rows[-1]['faster']:.2f} x faster,"
                f" PSNR {rows[-1]['psnr_db']:.1f} dB",
                flush=True,
            )
        del motion, decoder
        gc.collect()
    return rows


class Bench:
    """The command line on a tiny network, a template of 25 frames, speech of any length: each
    run in a process of its own.
    """

    def __init__(self, folder: Path) -> None:
        from personare.voice.tts import open_text

        self.folder = folder
        write_checkpoints("musetalk", "tiny", folder / "weights", only=NETWORKS)
        self.template = write_video(folder / "template.mp4", moved_portrait(25, (512, 512), scale=1.2))
        sentence = open_text(
            "My mother bought five purple shoes, and I did not know what to do with them. " * 3, "en-us"
        )
        self.voice = np.concatenate([chunk.samples for chunk in sentence.chunks()])

    def speak(self, seconds: float, home: str, *options: str) -> Row:
        wav = write_wav(self.folder / f"{seconds:g}.wav", np.resize(self.voice, round(seconds * 16000)))
        output = self.folder / "clip.mp4"
        command = [
            sys.executable,
            "-c",
            "from personare.cli.main import run; run()",
            "speak",
            str(self.template),
            str(wav),
            "-o",
            str(output),
        ]
        command += [
            "--engine",
            "musetalk",
            "--weights",
            str(self.folder / "weights"),
            "--cache-dir",
            str(self.folder / home),
        ]
        command += ["--json", "--no-clip-cache", *(["--set", *options] if options else [])]
        return dict(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def _prepared(report: Row) -> float:
    return float(
        sum(report["timings"].get(name, 0.0) for name in report["cache"]["stages"] if name != "musetalk.hear")
    )


def prepare(bench: Bench) -> list[Row]:
    """Seconds of all stages of the template: cold, warm, and one option changed."""
    cold = bench.speak(4, "home")
    warm = bench.speak(4, "home")
    changed = bench.speak(4, "home", "parsing_mode=raw")
    seconds = {
        name: _prepared(report) for name, report in (("cold", cold), ("warm", warm), ("changed", changed))
    }
    row = {
        "what": "prepare",
        **seconds,
        "warm_share": seconds["warm"] / seconds["cold"],
        "changed_share": seconds["changed"] / seconds["cold"],
    }
    shares = f"warm {100 * row['warm_share']:.2f} %, parsing_mode changed {100 * row['changed_share']:.1f} %"
    print(f"prepare: cold {seconds['cold']:.2f} s, {shares}", flush=True)
    return [row]


AWAY_MS = 25
"""What a frame takes in the stand-in for networks on another device: about as long as decoding
and pasting full HD.
"""


def overlap(bench: Bench) -> list[Row]:
    """A whole clip of a full HD template, steps side by side against the same steps one after
    another.

    Twice: with the tiny networks on this CPU, where they leave no core to the other steps; and
    with a step in their place that waits 25 ms a frame, as for a GPU, which this machine has
    not.
    """
    import personare
    from personare.engines.musetalk import performance
    from personare.engines.musetalk.painter import Painter
    from personare.studio.studio import Clip

    template = write_video(
        bench.folder / "hd.mp4", moved_portrait(25, (1080, 1920), scale=2.5), options={"preset": "veryfast"}
    )
    engine = personare.open_engine(
        "musetalk", weights=bench.folder / "weights", cache_dir=bench.folder / "home"
    )
    avatar = engine.prepare(template)
    speech = engine.speak(avatar, write_wav(bench.folder / "2.wav", bench.voice[:32000])).speech
    options = engine.engine.read_options({**avatar.options, "batch_size": 4})
    clip = Clip(engine.engine, options, avatar, speech, engine.studio.store)
    beside, paint = performance.overlapped, Painter.paint
    face = np.zeros((256, 256, 3), np.uint8)

    def in_turn(items: Iterable[Any], *steps: Any, **_: Any) -> Generator[Any, None, None]:
        for item in items:
            for _, work in steps:
                item = work(item)
            yield item

    def away(_: Painter, indices: list[int], *__: Any) -> list[np.ndarray]:
        time.sleep(AWAY_MS / 1000 * len(indices))
        return [face] * len(indices)

    rows: list[Row] = []
    for where, painting_way in (("on this CPU", paint), ("elsewhere", away)):
        setattr(Painter, "paint", painting_way)  # noqa: B010 - a stand-in, for the time of a measurement
        seconds = dict.fromkeys(("together", "in turn"), math.inf)
        for _ in range(3):  # by turns, so that what else the machine does meets both
            for name, way in (("together", beside), ("in turn", in_turn)):
                performance.overlapped = way
                began = time.perf_counter()
                clip.save(bench.folder / "clip.mp4")
                seconds[name] = min(seconds[name], time.perf_counter() - began)
        saved = 1 - seconds["together"] / seconds["in turn"]
        told = f"steps in turn {seconds['in turn']:.2f} s, together {seconds['together']:.2f} s"
        print(f"whole clip, 1920x1080, 2 s, networks {where}: {told}: {100 * saved:.0f} % saved", flush=True)
        rows.append({"what": "overlap", "networks": where, **seconds, "saved": saved})
    performance.overlapped = beside
    setattr(Painter, "paint", paint)  # noqa: B010
    return rows


def memory(bench: Bench) -> list[Row]:
    """Peak of a process that makes 1 min against one that makes 10 s; both with a prepared
    template, at 8 frames a second.
    """
    bench.speak(1, "home")
    short, long = (bench.speak(seconds, "home", "fps=8")["peak_memory_mb"] for seconds in (10, 60))
    print(f"peak memory: 10 s {short:.0f} MB, 60 s {long:.0f} MB: {long - short:+.0f} MB")
    return [{"what": "memory", "10 s": short, "60 s": long, "more_mb": long - short}]


def first(bench: Bench) -> list[Row]:
    """Seconds of speech and of work before the first frame of a warm avatar: fed as it comes,
    streaming and exact.
    """
    import personare

    engine = personare.open_engine(
        "musetalk", weights=bench.folder / "weights", cache_dir=bench.folder / "home"
    )
    avatar = engine.prepare(bench.template)
    voice = np.resize(bench.voice, 60 * 16000)
    rows = []
    for audio in ("streaming", "exact", "streaming", "exact"):  # the first two load the networks
        performance = engine.perform(avatar, audio=audio)
        began, heard, frame = time.perf_counter(), 0, None
        while frame is None and heard < len(voice):
            frame = next(iter(performance.feed(voice[heard : heard + 640])), None)
            heard += 640
        rows.append(
            {
                "what": "first",
                "audio": audio,
                "heard_s": heard / 16000,
                "worked_s": time.perf_counter() - began,
            }
        )
        performance.close()
    for row in rows[2:]:
        print(
            f"first frame, {row['audio']}: after {row['heard_s']:.2f} s of speech and {row['worked_s']:.2f} "
            f"s of work"
        )
    return rows[2:]


def main() -> None:
    parser = argparse.ArgumentParser(description="MuseTalk against the published loop, as ratios.")
    parser.add_argument("--only", nargs="+", default=["painting", "prepare", "overlap", "memory", "first"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batches", type=int, nargs="+", default=[4, 8])
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--size", choices=("tiny", "full"), default="full", help="of the networks that paint")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    rows: list[Row] = []
    if "painting" in chosen.only:
        rows += painting(chosen.batches, chosen.repeat, chosen.size)
    if set(chosen.only) & {"prepare", "overlap", "memory", "first"}:
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(Path(folder))
            for name, measure in (
                ("prepare", prepare),
                ("overlap", overlap),
                ("memory", memory),
                ("first", first),
            ):
                if name in chosen.only:
                    rows += measure(bench)
    if chosen.json:
        chosen.json.write_text(json.dumps(rows, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
