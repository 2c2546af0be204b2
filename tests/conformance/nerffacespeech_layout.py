"""nerffacespeech: the files of its released checkpoints, as its users have them on disk."""

from __future__ import annotations

import pickle
import sys
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from personare.engines.nerffacespeech.align import POINTS_68
from personare.heads.head468 import head468
from tests.conformance.seeded_checkpoint import Released

EYE_DISTANCE = 0.9
"""decimetres"""


def stylenerf_pickle(state: Mapping[str, Any], config: Mapping[str, Any], path: Path) -> None:
    """A pickle in the layout of StyleNeRF's: nested modules that carry their source, which
    raises when it is executed.
    """
    import io

    import torch

    class Persistent:
        def __init__(self, name: str, state: dict[str, Any]) -> None:
            self.name, self.state = name, state

    def reconstruct(meta: dict[str, Any]) -> Any:
        raise AssertionError("nobody calls it")

    def load_from_bytes(data: bytes) -> Any:
        raise AssertionError("nobody calls it")

    class Tensor:
        """A tensor that is pickled as torch's old storages were: a file in the file."""

        def __init__(self, tensor: Any) -> None:
            file = io.BytesIO()
            torch.save(tensor.contiguous(), file, _use_new_zipfile_serialization=False)
            self.data = file.getvalue()

    persistence, package = ModuleType("torch_utils.persistence"), ModuleType("torch_utils")
    persistence._reconstruct_persistent_obj = reconstruct  # type: ignore[attr-defined]
    reconstruct.__module__, reconstruct.__qualname__ = persistence.__name__, "_reconstruct_persistent_obj"

    class Pickler(pickle.Pickler):
        def reducer_override(self, value: Any) -> Any:
            if isinstance(value, Persistent):
                meta = {
                    "type": "class",
                    "version": 6,
                    "module_src": "raise RuntimeError('pickled source was executed')",
                    "class_name": value.name,
                    "state": value.state,
                }
                return persistence._reconstruct_persistent_obj, (meta,)
            if isinstance(value, Tensor):
                return torch.storage._load_from_bytes, (value.data,)
            return NotImplemented

    def module(prefix: str, name: str) -> Persistent:
        below = {key[len(prefix) :]: tensor for key, tensor in state.items() if key.startswith(prefix)}
        own = OrderedDict((key, Tensor(tensor)) for key, tensor in below.items() if "." not in key)
        children = OrderedDict.fromkeys(key.split(".")[0] for key in below if "." in key)
        modules = OrderedDict((child, module(f"{prefix}{child}.", child)) for child in children)
        return Persistent(name, {"_parameters": own, "_buffers": OrderedDict(), "_modules": modules})

    generator = module("", "Generator")
    generator.state |= {"_init_args": (), "_init_kwargs": dict(config)}
    sys.modules |= {"torch_utils": package, "torch_utils.persistence": persistence}
    try:
        with path.open("wb") as file:
            whole = {"training_set_kwargs": {}, "G": None, "D": None, "G_ema": generator}
            Pickler(file, protocol=3).dump(whole if path.suffix == ".pkl" else generator)
    finally:
        for name in ("torch_utils.persistence", "torch_utils"):
            del sys.modules[name]


def stand_in_face() -> dict[str, np.ndarray]:
    """The bundled head in the layout of BFM_model_front.mat: its 52 units as expressions, and
    seeded waves as identity and colours.
    """
    head, rng = head468(), np.random.default_rng(0)
    count = len(head.neutral)
    expressions = np.zeros((3 * count, 64))
    expressions[:, :52] = 0.3 * EYE_DISTANCE * head.deltas.reshape(52, -1).T
    waves = np.sin(head.neutral @ rng.normal(0, 3, (3, 80)) + rng.normal(0, 3, 80))  # (n, 80)
    directions = rng.normal(0, 0.01, (80, 3))
    identities = (waves[:, None] * directions.T[None]).reshape(3 * count, 80)
    faces = np.full((count, 8), len(head.triangles))
    filled = np.zeros(count, int)
    for index, triangle in enumerate(head.triangles):
        for vertex in triangle:
            if filled[vertex] < 8:
                faces[vertex, filled[vertex]] = index
                filled[vertex] += 1
    return {
        "meanshape": EYE_DISTANCE * head.neutral.reshape(1, -1).astype(np.float64),
        "idBase": identities,
        "exBase": expressions,
        "meantex": np.tile([200.0, 150.0, 130.0], count)[None],
        "texBase": rng.normal(0, 2, (3 * count, 80)),
        "tri": head.triangles.astype(np.int64) + 1,
        "point_buf": faces + 1,
        "keypoints": np.array(POINTS_68)[None] + 1,
        "skinmask": np.ones((1, count)),
    }


def write_face(path: Path) -> None:
    from scipy.io import savemat

    savemat(path, stand_in_face())


HERE = "nerffacespeech"
LAYOUT = (
    Released("stylenerf-ffhq-1024", "generator", f"{HERE}/ffhq_1024.pkl", saver=stylenerf_pickle),
    Released("lipaintnet", "lipaintnet", f"{HERE}/LipaintNet.pt", wrapped_in="model_state_dict"),
    Released("sadtalker", "audio2exp", f"{HERE}/SadTalker_V0.0.2_256.safetensors", prefix="audio2exp."),
    Released("deep3d-recon", "recon", f"{HERE}/epoch_20.pth", wrapped_in="net_recon"),
    Released("nerffacespeech-seg", "segnet", f"{HERE}/seg.pth"),
    Released("vgg16-imagenet", "vgg16", f"{HERE}/vgg16-397923af.pth"),
    Released("alexnet-imagenet", "alexnet", f"{HERE}/alexnet-owt-7be5be79.pth"),
    Released("lpips-vgg", "lpips_vgg", f"{HERE}/lpips/vgg.pth"),
    Released("lpips-alex", "lpips_alex", f"{HERE}/lpips/alex.pth"),
    Released("bfm", "", "bfm/BFM_model_front.mat", writer=write_face),
)
