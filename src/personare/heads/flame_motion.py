"""FLAME motion in torch's own files, as ARTalk publishes it: one tensor [n, 106] at 25 frames a
second.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from personare.errors import UnreadableMedia
from personare.ground.durable import replaced_when_complete
from personare.media.local import open_local, shown
from personare.motion import FLAME, Motion

FLAME_FPS = Fraction(25)
SUFFIX = ".pt"

Floats = NDArray[np.float32]


def read_flame_motion(path: Path) -> Motion:
    """The motion in a .pt file, which may be a view into a longer recording. Nothing in the
    file is executed.

    Raises UnreadableMedia for another tensor, WeightsMismatch for another or a hostile file,
    WeightsMissing without torch.
    """
    import torch

    from personare.weights.loading import read_checkpoint

    open_local(path).close()  # what is no file at all is told as of all media
    held = read_checkpoint(path)
    if not isinstance(held, torch.Tensor) or held.ndim != 2 or held.shape[1] != FLAME.width:
        what = f"a tensor {list(held.shape)}" if isinstance(held, torch.Tensor) else type(held).__name__
        raise UnreadableMedia(
            f"{shown(path)} holds {what}, not a motion [n, {FLAME.width}]",
            hint="give a motion or a style of ARTalk",
        )
    values = np.array(held.detach().cpu().to(torch.float32).numpy())
    if not np.isfinite(values).all():
        raise UnreadableMedia(f"{shown(path)} has NaN or infinite values", hint="check what wrote it")
    return Motion(FLAME, FLAME_FPS, values)


def write_flame_motion(path: Path, values: Floats) -> None:
    """float32 [n, 106] as `torch.load(path, weights_only=True)` reads it. The file appears when
    it is complete. Raises OSError, WeightsMissing without torch.
    """
    from personare.weights.loading import require_torch

    require_torch()
    import torch

    with replaced_when_complete(path) as part:
        torch.save(torch.from_numpy(np.array(values, np.float32)), part)
