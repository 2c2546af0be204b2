"""Train the articulation network on shards of labelled speech.

    PYTHONPATH=src python tools/articulation/train.py SHARDS... --out net.pt --minutes 32
        [--warm first.pt] --labels EVAL --audio REAL

SHARDS: folders of .npz (shards.py) from speech.py and recordings.py, refined or not. EVAL and
REAL as for benchmarks/articulation.py: every few minutes the average of the weights is judged
on half 0 of the real files, and the best is kept. Half 1 is never looked at. One thread; loss
as follows.

Per head: cross-entropy of the visemes (rare classes weigh more, labels smoothed by .04) and .4
times binary cross-entropy of the flags; the two contacts weigh by their squared error and a
contact four times as much as none. The far head weighs .3, the near 1.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from augment import augment, breathe, vocal_tract
from network import FLAG_TABLE, LOOKAHEAD_FRAMES, OUTPUTS, Network, answers, load_weights
from numpy.typing import NDArray
from shards import UNKNOWN, Labels, Power, load, speech_level
from torch import Tensor, nn
from torch.nn import functional

from personare.voice.features import RunningLevel, network_input
from personare.voice.visemes import VISEMES

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from articulation import APERTURE, LEVEL_OF_OPEN, Reference, half_of, lasting, matched, smooth
from articulation import load as load_references

from personare.voice.features import MelStream

SHARES = {"kokoro": 0.24, "voices": 0.26, "espeak": 0.10, "flite": 0.06, "prompts": 0.18, "actors": 0.16}
"""How often speech of a source is drawn, whatever there is of it."""
BATCH, FRAMES, WARM_UP = 16, 288, 40
THRESHOLDS = np.arange(0.5, 0.81, 0.05)
HEAD_WEIGHTS = {"far": 0.3, "near": 1.0}


class Speech:
    """All shards in memory, one long stretch per source, every utterance at level 1."""

    def __init__(self, folders: list[Path]) -> None:
        sources: dict[str, list[tuple[Power, Labels]]] = {}
        for path in sorted(path for folder in folders for path in folder.glob("*.npz")):
            source, utterances = load(path)
            sources.setdefault(source, []).extend(
                (u.power / speech_level(u.power), u.label) for u in utterances
            )
        self.sources: dict[str, tuple[Power, Labels]] = {}
        for source, utterances in sources.items():
            order = np.random.default_rng(0).permutation(len(utterances))
            self.sources[source] = tuple(
                np.concatenate([utterances[i][part] for i in order]) for part in (0, 1)
            )
        shares = np.array([SHARES[source] for source in self.sources])
        self._shares = shares / shares.sum()

    def batch(self, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """(inputs [B, 40, T], labels [B, T])"""
        powers, labels = [], []
        for source in rng.choice(list(self.sources), BATCH, p=self._shares):
            power, label = self.sources[source]
            tempo = rng.uniform(0.85, 1.2)
            at = ((np.arange(FRAMES) + 0.5) * tempo).astype(int) + rng.integers(
                0, len(label) - int(FRAMES * tempo) - 4
            )
            power, label = power[at], label[at].astype(np.int64)
            if rng.random() < 0.6:
                power = vocal_tract(power, rng)
            if rng.random() < 0.04:  # nothing but background
                power, label = np.full_like(power, 1e-6 + rng.random() ** 4 * 0.05), np.zeros_like(label)
            if rng.random() < 0.4:
                breathe(power, label, rng)
            powers.append(power)
            labels.append(label)
        inputs = torch.from_numpy(augment(np.stack(powers), rng)).transpose(1, 2).contiguous()
        return inputs, torch.from_numpy(np.stack(labels))

    def class_weights(self) -> Tensor:
        """[15], mean 1: frequent classes count less."""
        counts = sum(
            np.bincount(label[label != UNKNOWN], minlength=len(VISEMES)) for _, label in self.sources.values()
        )
        weights = torch.tensor((counts.sum() / np.maximum(counts, 1)) ** 0.3, dtype=torch.float32)
        return weights / weights.mean()


def loss_of(logits: Tensor, labels: Tensor, class_weights: Tensor) -> Tensor:
    """logits [B, 40, T], labels [B, T] with UNKNOWN where nothing is asked."""
    loss = torch.zeros(())
    for k, (head, lookahead) in enumerate(LOOKAHEAD_FRAMES.items()):
        answer = logits[:, k * OUTPUTS : (k + 1) * OUTPUTS, WARM_UP + lookahead :]
        wanted = labels[:, WARM_UP : labels.shape[1] - lookahead]
        visemes, flags = answer[:, : len(VISEMES)], answer[:, len(VISEMES) :]
        crossed = functional.cross_entropy(
            visemes, wanted, weight=class_weights, ignore_index=UNKNOWN, label_smoothing=0.04
        )
        raised = FLAG_TABLE[wanted.clamp(min=0)].transpose(1, 2)
        binary = functional.binary_cross_entropy_with_logits(flags, raised, reduction="none")
        p = torch.sigmoid(flags[:, :2])
        error = (raised[:, :2] - p) ** 2
        contacts = 4 * binary[:, :2] * error * (1 + 3 * raised[:, :2])
        known = (wanted != UNKNOWN).float()
        flagged = ((contacts.sum(1) + binary[:, 2:].sum(1)) * known).sum() / known.sum()
        loss = loss + HEAD_WEIGHTS[head] * (crossed + 0.4 * flagged)
    return loss


def judge(network: Network, references: list[tuple[Reference, NDArray[np.float32]]]) -> dict[str, float]:
    """The near head on real files: accuracy, aperture r, best F of closures, share open at
    rest, and merit of all.
    """
    right, wanted, heard, resting = [], [], [], []
    contacts = np.zeros((len(THRESHOLDS), 4))
    for real, mel in references:
        answer = answers(network, mel)["near"]
        visemes, closed = answer[:, : len(VISEMES)], answer[:, len(VISEMES)]
        right.append((visemes.argmax(axis=1) == real.classes)[real.scored])
        wanted.append(smooth(APERTURE[np.maximum(real.classes, 0)])[real.scored])
        heard.append(smooth(visemes @ APERTURE)[real.scored])
        resting.append((visemes @ APERTURE > LEVEL_OF_OPEN)[real.resting])
        contacts += [
            matched(real.closures, lasting(closed > t, real.scored), real.doubtful) for t in THRESHOLDS
        ]
    recall, precision = contacts[:, 1] / contacts[:, 0], contacts[:, 3] / np.maximum(contacts[:, 2], 1)
    figures = {
        "accuracy": float(np.concatenate(right).mean()),
        "aperture": float(np.corrcoef(np.concatenate(wanted), np.concatenate(heard))[0, 1]),
        "closures": float((2 * recall * precision / np.maximum(recall + precision, 1e-9)).max()),
        "open at rest": float(np.concatenate(resting).mean()),
    }
    figures["merit"] = (
        0.4 * figures["accuracy"]
        + 0.3 * (figures["aperture"] + figures["closures"])
        - 0.05 * figures["open at rest"]
    )
    return figures


def references_of_half_0(labels: Path, audio: Path) -> Iterator[tuple[Reference, NDArray[np.float32]]]:
    """Each with its network input [n, 40], normalised by the running level as in a stream."""
    for real in load_references(labels, audio, missing=[]):
        if half_of(real.name) == 0:
            power = MelStream().push(np.concatenate([real.speech, np.zeros(480, np.float32)]))[
                : len(real.classes)
            ]
            level = RunningLevel()
            yield real, np.stack([network_input(bands, level.push(float(bands.mean()))) for bands in power])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("shards", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--warm", type=Path)
    parser.add_argument("--minutes", type=float, default=32)
    parser.add_argument("--check-every", type=float, default=4, help="minutes")
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--audio", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rng, speech, network, average = np.random.default_rng(5), Speech(arguments.shards), Network(), Network()
    if arguments.warm:
        load_weights(network, arguments.warm)
    average.load_state_dict(network.state_dict())
    references = list(references_of_half_0(arguments.labels, arguments.audio))
    class_weights = speech.class_weights()
    optimizer = torch.optim.AdamW(network.parameters(), arguments.rate, weight_decay=0.02)
    print({source: f"{len(label) // 100} s" for source, (_, label) in speech.sources.items()}, flush=True)
    began = checked = time.monotonic()
    step, best = 0, -math.inf
    while (share := (time.monotonic() - began) / (60 * arguments.minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = (
                arguments.rate * min(1, step / 60 + 0.01) * (0.5 + 0.5 * math.cos(math.pi * share)) + 1e-6
            )
        inputs, labels = speech.batch(rng)
        network.train()
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(inputs)
        loss = loss_of(logits.float(), labels, class_weights)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 2.0)
        optimizer.step()
        step += 1
        follow(average, network, min(0.998, (1 + step) / (20 + step)))
        if step % 100 == 0:
            print(f"step {step} loss {loss.item():.3f}", flush=True)
        if time.monotonic() - checked > 60 * arguments.check_every:
            checked = time.monotonic()
            figures = judge(average, references)
            print("  half 0:", {name: round(value, 4) for name, value in figures.items()}, flush=True)
            if figures["merit"] > best:
                best = figures["merit"]
                torch.save(average.state_dict(), arguments.out)
            began += time.monotonic() - checked  # checks are not training time
            checked = time.monotonic()
    figures = judge(average, references)
    print(f"{step} steps", {name: round(value, 4) for name, value in figures.items()}, flush=True)
    if figures["merit"] > best:
        torch.save(average.state_dict(), arguments.out)


def follow(average: Network, network: Network, keep: float) -> None:
    """Running average of the weights: better than the last ones."""
    with torch.no_grad():
        ours, theirs = average.state_dict(), network.state_dict()
        for name, value in ours.items():
            value.copy_(
                keep * value + (1 - keep) * theirs[name] if value.dtype.is_floating_point else theirs[name]
            )


if __name__ == "__main__":
    main()
