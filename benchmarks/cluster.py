"""A batch by two plain workers against one on two local Ray nodes, and how soon a session
starts on an actor that waits:

    python benchmarks/cluster.py [--clips 12] [--seconds 6] [--rounds 3] [--size 512]
        [--starts 10]

The two kinds of batch take turns, without kept clips; the starting of Ray is told apart.
Needs personare[cluster,serve,tts].
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import statistics
import tempfile
import time
import wave
from importlib.resources import files
from pathlib import Path

import numpy as np

from personare import Settings
from personare.cluster.joined import joined
from personare.work.batch import run_batch
from personare.work.jobs import Defaults, Job, read_jobs


def jobs_in(folder: Path, clips: int, seconds: float, size: int) -> list[Job]:
    from personare.voice.tts import open_text

    text = open_text("My mother bought five purple shoes.", "en-us")
    samples = np.concatenate([chunk.samples for chunk in text.chunks()])
    voice = np.resize(samples, int(16000 * seconds))
    with wave.open(str(folder / "voice.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes((np.clip(voice, -1, 1) * 32767).astype("<i2").tobytes())
    portrait = str(files("personare") / "assets" / "portrait.jpg")
    lines = [
        {"portrait": portrait, "speech": "voice.wav", "output": f"{n}.mp4", "options": {"size": size}}
        for n in range(clips)
    ]
    path = folder / "jobs.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    return read_jobs(path, folder / "out", Defaults())


def batches(folder: Path, given: argparse.Namespace) -> None:
    from ray.cluster_utils import Cluster as Nodes

    from personare.cluster.hired import staff

    jobs = jobs_in(folder, given.clips, given.seconds, given.size)
    settings = Settings(cache_dir=folder / "features", keep_clips=False, cache="use")
    os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    node = {"num_cpus": 1, "object_store_memory": 96 << 20, "include_dashboard": False}
    began = time.monotonic()
    nodes = Nodes(initialize_head=True, head_node_args=node)
    nodes.add_node(num_cpus=1, object_store_memory=96 << 20)
    os.environ["RAY_ADDRESS"] = nodes.address
    with joined("ray"):
        print(f"ray with two nodes is up after {time.monotonic() - began:.1f} s")
        took: dict[str, list[float]] = {"two workers": [], "two nodes": []}
        for number in range(given.rounds + 1):
            for name in took:
                for clip in (folder / "out").glob("*"):
                    clip.unlink()
                (folder / "out" / ".personare-batch.jsonl").unlink(missing_ok=True)
                there = staff(settings) if name == "two nodes" else None
                summary = run_batch(jobs, folder / "out", settings, workers=2, staff=there)
                assert (summary.made, summary.failed) == (len(jobs), 0), summary
                if number:  # the first round warms the caches
                    took[name].append(summary.seconds)
                print(f"round {number}, {name}: {summary.seconds:.1f} s, load {os.getloadavg()[0]:.1f}")
        medians = {name: statistics.median(seconds) for name, seconds in took.items()}
        print(
            f"two nodes do {medians['two workers'] / medians['two nodes']:.2f} of what two workers do "
            f"({medians['two workers']:.1f} s, {medians['two nodes']:.1f} s)"
        )
        asyncio.run(starts(settings, given))
    nodes.shutdown()


async def starts(settings: Settings, given: argparse.Namespace) -> None:
    """From asking for a session until it is ready, on an actor that waits."""
    import ray

    from personare.cluster import live_actors
    from personare.cluster.parcels import Packer
    from personare.cluster.sessions import ClusterSessions
    from personare.provenance.settings import read_marks_settings
    from personare.serve.live.opened import Wanted
    from personare.studio.studio import Studio

    directory = live_actors.directory(settings, read_marks_settings(), ("puppet",), None, 1)
    sessions = ClusterSessions(settings, directory, Packer(Studio(settings), ray.put))
    await sessions.start()
    took = []
    for number in range(given.starts + 1):
        while min(ray.get(directory.spares.remote()).values()) < 1:
            await asyncio.sleep(0.1)
        began = time.monotonic()
        place = await sessions.create(Wanted(options={"size": given.size}), "")
        if number:  # the first one is measured
            took.append(1000 * (time.monotonic() - began))
        else:
            print(f"a session costs {place.facts['cost']:.2f} cores")
        place.close()
        await asyncio.sleep(0.5)
    await sessions.close()
    ray.get(directory.end.remote())
    ray.kill(directory)
    took.sort()
    print(
        f"a session starts on a waiting actor within {took[len(took) // 2]:.0f} ms "
        f"(median of {len(took)}; {took[-1]:.0f} at most), load {os.getloadavg()[0]:.1f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--clips", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--starts", type=int, default=10)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PERSONARE_HOME"] = folder
        batches(Path(folder), parser.parse_args())


if __name__ == "__main__":
    main()
