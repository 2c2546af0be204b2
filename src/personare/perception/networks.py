"""The five face networks that are bundled, ready to run.

They are MediaPipe's (Apache-2.0), converted to ONNX by tools/convert_face_networks.py;
`networks/networks.toml` says from which file each came and what its bytes must be.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from personare.errors import WeightsMismatch
from personare.ground.onnx import open_session
from personare.weights.resident import Lease, NetworkKey, lease

_FOLDER = files("personare.perception") / "networks"
_RECORD: Mapping[str, Any] = tomllib.loads((_FOLDER / "networks.toml").read_text(encoding="utf-8"))

NETWORK_SHA256: Mapping[str, str] = MappingProxyType(
    {name: entry["sha256"] for name, entry in _RECORD["networks"].items()}
)
"""Network name -> sha256 of its file: for the keys of stages that depend on it."""


class Network:
    """A loaded network: one picture in, its outputs out. Safe to call from several threads at
    once.
    """

    def __init__(self, name: str, data: bytes) -> None:
        self._session = open_session(data)
        self.name = name
        self.side_px = int(self._session.get_inputs()[0].shape[1])
        """Height and width of the square picture that it reads."""

    def __call__(self, picture: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """picture: float32 [side_px, side_px, 3] RGB in the network's own value range; the
        outputs in the file's order.
        """
        outputs: list[NDArray[np.float32]] = self._session.run(
            None, {"input": np.ascontiguousarray(picture[None])}
        )
        return outputs


def network(name: str) -> Network:
    """The bundled network of that name (a key of NETWORK_SHA256), loaded and verified once per
    process.

    Raises WeightsMismatch if the file is missing or its bytes are not those that were released.
    """
    return _leased(name).network


@cache
def _leased(name: str) -> Lease[Network]:
    """Never given back: all five together have 6 MB."""

    def load() -> Network:
        data = _read(name)
        if not _is_intact(name, data):
            raise WeightsMismatch(f"{_FOLDER / name}.onnx is missing or damaged", hint="reinstall personare")
        return Network(name, data)

    key = NetworkKey((NETWORK_SHA256[name],), f"perception/{name}")
    return lease(key, load, lambda _: len(_read(name)))


def damaged_networks() -> list[str]:
    """Names of the bundled networks whose files are missing or not those that were released;
    reads all of them.
    """
    return [name for name in NETWORK_SHA256 if not _is_intact(name, _read(name))]


def _read(name: str) -> bytes:
    file = _FOLDER / f"{name}.onnx"
    return file.read_bytes() if file.is_file() else b""


def _is_intact(name: str, data: bytes) -> bool:
    return hashlib.sha256(data).hexdigest() == NETWORK_SHA256[name]
