"""From a StyleNeRF pickle, or a person's G_PTI.pt, to the generator. The file's own source is
never run: the restricted reader gives inert records, and these say what is built.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from personare.engines.nerffacespeech.networks.config import GeneratorConfig
from personare.engines.nerffacespeech.networks.generator import Generator
from personare.errors import WeightsMismatch
from personare.weights.loading import load_strictly, read_checkpoint, unallocated
from personare.weights.records import Record, module_tensors

NETWORK = "G_ema"
_ARGUMENTS = (
    "z_dim",
    "c_dim",
    "w_dim",
    "img_resolution",
    "img_channels",
    "mapping_kwargs",
    "synthesis_kwargs",
)
_CONSTANTS = (r"resample_filter$",)
_DEEPEST = 12


@dataclass(frozen=True, slots=True)
class GeneratorState:
    """A generator's file, read: its configuration and its tensors by name."""

    config: GeneratorConfig
    tensors: Mapping[str, Tensor]
    source: str

    @classmethod
    def read(cls, path: Path) -> GeneratorState:
        """A released pickle, of which the averaged generator is taken. Raises WeightsMismatch,
        WeightsMissing.
        """
        held = read_checkpoint(path)
        record = held.get(NETWORK) if isinstance(held, Mapping) else held
        if not isinstance(record, Record) or not isinstance(record.state, Mapping):
            raise WeightsMismatch(
                f"{path} holds no generator under {NETWORK}", hint="is it a StyleNeRF network pickle?"
            )
        return cls.of(record, str(path))

    @classmethod
    def of(cls, record: Record, source: str) -> GeneratorState:
        """The same of a generator that was read already."""
        state = record.state if isinstance(record.state, Mapping) else {}
        given = plain(state.get("_init_kwargs"))
        given = dict(given) if isinstance(given, Mapping) else {}
        positional = state.get("_init_args")
        if isinstance(positional, tuple):
            given |= dict(zip(_ARGUMENTS, map(plain, positional), strict=False))
        return cls(GeneratorConfig.read(given, source), module_tensors(record), source)

    def build(self, device: torch.device | str = "cpu") -> Generator:
        """The generator in float32. Raises WeightsMismatch unless every tensor has its place,
        and for one whose training had not come to its end.
        """
        with unallocated():
            generator = Generator(self.config)
        tensors = {name: tensor.float() for name, tensor in self.tensors.items()}
        load_strictly(generator, tensors, ignore=_CONSTANTS, device=device, source=self.source)
        if (alpha := float(generator.synthesis.alpha)) != 1:
            raise WeightsMismatch(
                f"{self.source} is a generator in the middle of its training (alpha is {alpha:g}, not 1)",
                hint="use the released ffhq_1024.pkl",
            )
        return generator


def plain(value: Any, depth: int = 0) -> Any:
    """Constructor arguments as plain containers: what OmegaConf wraps is unwrapped, what is no
    option becomes None.
    """
    if depth > _DEEPEST:
        raise WeightsMismatch("a generator's options are nested too deeply", hint="fetch the file again")
    if isinstance(value, Record):
        state = value.state
        if not isinstance(state, Mapping):
            return None
        inside = state.get("_content") if "_content" in state else state.get("_val")
        return plain(inside, depth + 1)
    if isinstance(value, Mapping):
        return {str(plain(key, depth + 1)): plain(each, depth + 1) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each, depth + 1) for each in value]
    return value if isinstance(value, str | bool | int | float) else None
