"""Move the labels of synthetic speech to where a network hears them.

    PYTHONPATH=src python tools/articulation/refine.py net.pt SHARDS.npz ... --out DIR

Synthesisers report phone times in coarse steps (Kokoro: 25 ms) and with jitter: boundaries move
by 1.7 frames on average. The median move of a shard is taken out, so that the network's own
lateness does not creep in.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from alignment import move_boundaries
from network import hear, load_network
from shards import Labels, load, save

from personare.voice.visemes import VISEMES


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("weights", type=Path)
    parser.add_argument("shards", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    network = load_network(arguments.weights)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for path in arguments.shards:
        source, utterances = load(path)
        moved = [
            move_boundaries(hear(network, u.power)["far"][:, : len(VISEMES)], u.label) for u in utterances
        ]
        offset = round(float(np.median(np.concatenate([moves for _, moves in moved]))))
        aligned = [
            repainted(u.label, cuts + np.where(cuts > 0, moves - offset, 0))
            for u, (cuts, moves) in zip(utterances, moved, strict=True)
        ]
        save(arguments.out / path.name, source, utterances, aligned)
        print(f"{path}: {len(utterances)} utterances, median move {offset} frames (taken out)", flush=True)


def repainted(label: Labels, boundaries: np.ndarray) -> Labels:
    """The same classes in the same order, between other boundaries."""
    visemes = label[np.concatenate([[0], np.flatnonzero(np.diff(label)) + 1])]
    edges = np.concatenate([[0], np.clip(boundaries, 0, len(label)), [len(label)]])
    return np.repeat(visemes, np.maximum(np.diff(edges), 0))[: len(label)]


if __name__ == "__main__":
    main()
