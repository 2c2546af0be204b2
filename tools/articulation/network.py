"""The articulation network in torch, and what it answers for a whole utterance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from shards import Power, speech_level
from torch import Tensor, nn
from torch.nn import functional

from personare.voice.features import MELS, SILENT_INPUT, network_input
from personare.voice.visemes import VISEMES

FLAGS = ("closed", "labiodental", "rounded", "open", "voice")
FLAG_VISEMES = (("PP",), ("FF",), ("CH", "RR", "oh", "ou"), ("aa", "E", "oh"), VISEMES[1:])
"""Which visemes raise each flag."""
FLAG_TABLE = torch.tensor([[float(viseme in raised) for raised in FLAG_VISEMES] for viseme in VISEMES])
"""[15, 5]."""

OUTPUTS = len(VISEMES) + len(FLAGS)
LOOKAHEAD_FRAMES = {"far": 16, "near": 8}
"""Two heads on one trunk; the product uses "near", "far" only teaches the trunk."""
PRIMING_FRAMES = 96
CHANNELS = 128
DILATIONS = (1, 2, 4, 8)

Answers = NDArray[np.float32]


class Block(nn.Module):
    """x + mix(relu(norm(causal dilated convolution of 3)))."""

    def __init__(self, dilation: int) -> None:
        super().__init__()
        self.past = 2 * dilation
        self.conv, self.norm = nn.Conv1d(CHANNELS, CHANNELS, 3, dilation=dilation), nn.BatchNorm1d(CHANNELS)
        self.mix, self.drop = nn.Conv1d(CHANNELS, CHANNELS, 1), nn.Dropout(0.05)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.drop(self.mix(torch.relu(self.norm(self.conv(functional.pad(x, (self.past, 0)))))))


class Network(nn.Module):
    """Normalised log mel (B, 40, T) -> logits (B, 40, T): 20 of the far head, then 20 of the
    near, delayed by their look-ahead.
    """

    def __init__(self, stacks: int = 3) -> None:
        """stacks: how often the dilations 1 2 4 8 follow each other."""
        super().__init__()
        self.inp = nn.Conv1d(2 * MELS, CHANNELS, 1)
        self.dilations = DILATIONS * stacks
        self.blocks = nn.ModuleList(Block(dilation) for dilation in self.dilations)
        self.far, self.near = nn.Conv1d(CHANNELS, OUTPUTS, 1), nn.Conv1d(CHANNELS, OUTPUTS, 1)

    def forward(self, mel: Tensor) -> Tensor:
        difference = mel - functional.pad(mel, (1, 0))[..., :-1]
        x = torch.relu(self.inp(torch.cat([mel, 2 * difference], 1)))
        for block in self.blocks:
            x = block(x)
        return torch.cat([self.far(x), self.near(x)], 1)


def load_weights(network: Network, path: Path) -> None:
    """Weights of a network with as many blocks or fewer; blocks that the file lacks begin as
    identities.
    """
    missing = set(network.load_state_dict(torch.load(path, weights_only=True), strict=False).missing_keys)
    for name, module in network.named_modules():
        if name.endswith(".mix") and f"{name}.weight" in missing:
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)


def load_network(path: Path) -> Network:
    """A network of as many blocks as the file has."""
    blocks = {
        name.split(".")[1] for name in torch.load(path, weights_only=True) if name.startswith("blocks.")
    }
    network = Network(len(blocks) // len(DILATIONS))
    load_weights(network, path)
    return network


@torch.no_grad()
def answers(network: Network, mel: Power) -> dict[str, Answers]:
    """[n, 20] probabilities per head from normalised log mel [n, 40], aligned with its frames."""
    network.eval()
    primed = np.concatenate(
        [np.full((PRIMING_FRAMES, MELS), SILENT_INPUT, np.float32), mel, np.repeat(mel[-1:], 16, axis=0)]
    )
    logits = network(torch.from_numpy(primed.T[None]))[0]
    heard = {}
    for k, (head, lookahead) in enumerate(LOOKAHEAD_FRAMES.items()):
        at = PRIMING_FRAMES + lookahead
        part = logits[k * OUTPUTS : (k + 1) * OUTPUTS, at : at + len(mel)]
        visemes, flags = torch.softmax(part[: len(VISEMES)], 0), torch.sigmoid(part[len(VISEMES) :])
        heard[head] = torch.cat([visemes, flags]).T.numpy()
    return heard


def hear(network: Network, power: Power) -> dict[str, Answers]:
    """The answers for an utterance of mel power [n, 40] at its own level."""
    return answers(network, network_input(power, speech_level(power)))
