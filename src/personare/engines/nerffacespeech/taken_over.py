"""A person whom the published program has inverted already: its four files, read without
executing anything, and checked against the generator.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from personare.engines.nerffacespeech.networks.config import COEFFICIENTS, GeneratorConfig
from personare.errors import UnreadableMedia, WeightsMismatch

FILES = ("G_PTI.pt", "w_PTI.pt", "bg_PTI.pt", "fitted_coeffs.pt")
NOT_KNOWN = (
    "the files that were taken over do not say whose they are: whether they belong to this photo cannot be "
    "checked"
)


@dataclass(frozen=True, slots=True)
class TakenOver:
    """w: float32 [styles, w]. z: [z] of the background. tensors: of the tuned synthesis, by
    name. coefficients: [257].
    """

    w: NDArray[np.float32]
    z: NDArray[np.float32]
    tensors: Mapping[str, NDArray[np.float32]]
    coefficients: NDArray[np.float32]


def digest(folder: Path) -> str:
    """Of the four files' content. Raises UnreadableMedia, naming those that are missing."""
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise UnreadableMedia(
            f"{folder} lacks {', '.join(missing)}",
            hint=f"a folder to take over holds {', '.join(FILES)}, whole",
        )
    whole = hashlib.sha256()
    for name in FILES:
        with (folder / name).open("rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()


def read(folder: Path, released: GeneratorConfig) -> TakenOver:
    """Raises WeightsMismatch for a file that is damaged, hostile or does not fit the generator."""
    from personare.engines.nerffacespeech.networks.loading import GeneratorState
    from personare.weights.loading import read_checkpoint
    from personare.weights.records import Record

    record = read_checkpoint(folder / FILES[0])
    if not isinstance(record, Record):
        raise _unfit(folder / FILES[0], "it holds no generator")
    state = GeneratorState.of(record, str(folder / FILES[0]))
    if state.config != released:
        raise _unfit(folder / FILES[0], "it is a generator of another configuration than ffhq_1024.pkl")
    named = state.build().synthesis.named_parameters()
    w = _array(read_checkpoint(folder / FILES[1]), folder / FILES[1], (1, released.styles, released.w))
    latents = read_checkpoint(folder / FILES[2])
    if not isinstance(latents, tuple | list) or len(latents) != 4:
        raise _unfit(folder / FILES[2], "it does not hold four latents")
    z = _array(latents[2], folder / FILES[2], (1, released.z_background))
    fitted = _array(read_checkpoint(folder / FILES[3]), folder / FILES[3], (1, COEFFICIENTS))
    return TakenOver(w[0], z[0], {name: p.detach().numpy() for name, p in named}, fitted[0])


def _array(held: Any, path: Path, shape: tuple[int, ...]) -> NDArray[np.float32]:
    import torch

    if not isinstance(held, torch.Tensor) or held.numel() != int(np.prod(shape)):
        what = f"a tensor {tuple(held.shape)}" if isinstance(held, torch.Tensor) else type(held).__name__
        raise _unfit(path, f"it holds {what} where a tensor {shape} belongs")
    made = np.asarray(held.detach().float().cpu().numpy(), np.float32).reshape(shape)
    if not np.isfinite(made).all():
        raise _unfit(path, "it holds NaN")
    return made


def _unfit(path: Path, why: str) -> WeightsMismatch:
    return WeightsMismatch(
        f"{path} cannot be taken over: {why}", hint="without take_over the person is inverted anew"
    )
