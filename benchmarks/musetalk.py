"""How fast MuseTalk's wing is against the published loop: this machine, one run, stand-in weights of released size made in memory.

    python -m benchmarks.musetalk [--only painting|prepare|memory|first] [--threads 2] [--batches 4 8] [--repeat 2] [--json FILE]

painting  UNet and decoder per frame: diffusers' modules in float32 as the specification's loop has them, against ours in float32
          and in the machine's own format; PSNR of the uint8 faces
prepare   cold, warm, one option changed; and a whole run against its rooms one after another      (tiny networks: what is measured
memory    peak of 1 min of speech against 10 s                                                      is everything around them)
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
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from personare.engines.musetalk import latents as published
from personare.engines.musetalk.drive import positional_encoding
from personare.engines.musetalk.motion import Motion
from personare.engines.musetalk.networks.diffusion import unet_from_state, vae_from_state
from personare.engines.musetalk.render import FaceDecoder
from personare.weights.device import choose_device, choose_dtype
from tests.conformance.case import HERE, Replay
from tests.conformance.seeded_checkpoint import write_checkpoints
from tests.conftest import write_wav
from tests.unit.template_videos import moved_portrait, write_video

Row = dict[str, Any]
NETWORKS = ("musetalk-unet-v15", "sd-vae-ft-mse", "whisper-tiny")


def best(run: Callable[[], Any], repeat: int) -> tuple[float, Any]:
    """Shortest of some runs in seconds, after one that does not count, and what the last one gave."""
    made, taken = run(), []
    for _ in range(repeat):
        began = time.perf_counter()
        made = run()
        taken.append(time.perf_counter() - began)
    return min(taken), made


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    error = np.mean(np.square(a.astype(np.float64) - b.astype(np.float64)))
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def painting(batches: list[int], repeat: int, size: str = "full") -> list[Row]:
    """Seconds per frame of the library's loop and of ours, and how alike the faces are."""
    replay = Replay("musetalk", HERE / "musetalk", {}, 0, full=size == "full")
    cpu = choose_device("cpu")
    unet_config, vae_config = replay.config("unet"), replay.config("vae")
    generator, most = np.random.default_rng(0), max(batches)
    given = generator.standard_normal((most, 8, 32, 32), dtype=np.float32)
    tokens = generator.standard_normal((most, 50, unet_config["cross_attention_dim"]), dtype=np.float32)

    unet, vae = unet_from_state(replay.state("unet"), unet_config, "u"), vae_from_state(replay.state("vae"), vae_config, "v")
    vae.encoder = None

    def loop(n: int) -> np.ndarray:
        with torch.inference_mode():
            heard = torch.from_numpy(tokens[:n] + positional_encoding(*tokens.shape[1:]))
            out = unet(torch.from_numpy(given[:n]), torch.tensor([0]), encoder_hidden_states=heard).sample
            return published.to_bytes(published.decoded(vae, out))

    plain = {n: best(lambda n=n: loop(n), repeat) for n in batches}  # type: ignore[misc]
    del unet, vae
    gc.collect()
    rows = []
    own = choose_dtype(cpu)
    for dtype in dict.fromkeys((torch.float32, own)):
        motion = Motion(unet_from_state(replay.state("unet"), unet_config, "u", dtype=dtype))
        decoder = FaceDecoder(vae_from_state(replay.state("vae"), vae_config, "v", dtype=dtype))
        for n in batches:
            predicting, predicted = best(lambda n=n, m=motion: m.predict(given[:n], tokens[:n]), repeat)  # type: ignore[misc]
            decoding, faces = best(lambda d=decoder, p=predicted: d.decode(p), repeat)  # type: ignore[misc]
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
                f"painting, batch {n}, {rows[-1]['format']}: plain {rows[-1]['plain_ms']:.0f} ms a frame, UNet"
                f" {rows[-1]['motion_ms']:.0f} + decoder {rows[-1]['render_ms']:.0f} ms: {rows[-1]['faster']:.2f} x faster,"
                f" PSNR {rows[-1]['psnr_db']:.1f} dB",
                flush=True,
            )
        del motion, decoder
        gc.collect()
    return rows


class Bench:
    """The command line on a tiny network, a template of 50 frames, speech of any length: each run in a process of its own."""

    def __init__(self, folder: Path) -> None:
        from personare.voice.tts import open_text

        self.folder = folder
        write_checkpoints("musetalk", "tiny", folder / "weights", only=NETWORKS)
        self.template = write_video(folder / "template.mp4", moved_portrait(50, (512, 512), scale=1.2))
        sentence = open_text("My mother bought five purple shoes, and I did not know what to do with them. " * 3, "en-us")
        self._voice = np.concatenate([chunk.samples for chunk in sentence.chunks()])

    def speak(self, seconds: float, home: str, *options: str) -> Row:
        wav = write_wav(self.folder / f"{seconds:g}.wav", np.resize(self._voice, round(seconds * 16000)))
        output = self.folder / "clip.mp4"
        command = [sys.executable, "-m", "personare.cli.main", "speak", str(self.template), str(wav), "-o", str(output)]
        command += ["--engine", "musetalk", "--weights", str(self.folder / "weights"), "--cache-dir", str(self.folder / home)]
        command += ["--json", "--set", *options] if options else ["--json"]
        return dict(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def _prepared(report: Row) -> float:
    return float(sum(report["timings"].get(name, 0.0) for name in report["cache"]["stages"] if name != "musetalk.hear"))


def prepare(bench: Bench) -> list[Row]:
    """Cold, warm, and one option changed; and what the rooms save by working side by side."""
    cold = bench.speak(8, "home")
    warm = bench.speak(8, "home")
    changed = bench.speak(8, "home", "parsing_mode=raw")
    seconds = {name: _prepared(report) for name, report in (("cold", cold), ("warm", warm), ("changed", changed))}
    timings = warm["timings"]
    alone = sum(timings[room] for room in ("drive", "motion", "render", "compose", "write"))
    together = timings["perform"] + timings["write"]
    rows = [
        {
            "what": "prepare",
            **seconds,
            "warm_share": seconds["warm"] / seconds["cold"],
            "changed": seconds["changed"] / seconds["cold"],
        },
        {"what": "overlap", "rooms": alone, "together": together, "saved": 1 - together / alone},
    ]
    print(
        f"prepare: cold {seconds['cold']:.2f} s, warm {100 * rows[0]['warm_share']:.2f} %, parsing_mode {100 * rows[0]['changed']:.1f} %"
    )
    print(f"whole run: rooms one after another {alone:.2f} s, together {together:.2f} s: {100 * rows[1]['saved']:.0f} % saved")
    return rows


def memory(bench: Bench) -> list[Row]:
    """Peak of a process that makes 1 min against one that makes 10 s."""
    bench.speak(1, "home")
    short, long = (bench.speak(s, "home", "audio=exact")["peak_memory_mb"] for s in (10, 60))
    print(f"peak memory: 10 s {short:.0f} MB, 60 s {long:.0f} MB: {long - short:+.0f} MB")
    return [{"what": "memory", "10 s": short, "60 s": long, "more_mb": long - short}]


def first(bench: Bench) -> list[Row]:
    """Seconds of speech and of work before the first frame of a warm avatar: fed as it comes, streaming and exact."""
    import personare

    engine = personare.open_engine("musetalk", weights=bench.folder / "weights", cache_dir=bench.folder / "home")
    avatar = engine.prepare(bench.template)
    voice = np.resize(bench._voice, 60 * 16000)
    rows = []
    for audio in ("streaming", "exact", "streaming", "exact"):  # the first two load the networks
        performance = engine.perform(avatar, audio=audio)
        began, heard, frame = time.perf_counter(), 0, None
        while frame is None and heard < len(voice):
            frame = next(iter(performance.feed(voice[heard : heard + 640])), None)
            heard += 640
        rows.append({"what": "first", "audio": audio, "heard_s": heard / 16000, "worked_s": time.perf_counter() - began})
        performance.close()
    for row in rows[2:]:
        print(f"first frame, {row['audio']}: after {row['heard_s']:.2f} s of speech and {row['worked_s']:.2f} s of work")
    return rows[2:]


def main() -> None:
    parser = argparse.ArgumentParser(description="MuseTalk against the published loop, as ratios.")
    parser.add_argument("--only", nargs="+", default=["painting", "prepare", "memory", "first"])
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
    if set(chosen.only) & {"prepare", "memory", "first"}:
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(Path(folder))
            for name, measure in (("prepare", prepare), ("memory", memory), ("first", first)):
                if name in chosen.only:
                    rows += measure(bench)
    if chosen.json:
        chosen.json.write_text(json.dumps(rows, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
