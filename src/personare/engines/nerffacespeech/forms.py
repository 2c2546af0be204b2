"""What nerffacespeech's features have to look like if they come from a remote or an archive
(see cache/form.py): sizes are those of the generator at hand.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from personare.cache.form import Array, Form, Metadata
from personare.engines.nerffacespeech.checkpoints import Networks
from personare.engines.nerffacespeech.networks.config import COEFFICIENTS, GeneratorConfig

_LARGEST = 1e4
_LONGEST = 20_000


class AlignedFacts(Metadata):
    faces: Annotated[int, Field(ge=1, le=1000)]
    doubtful: bool


class Remark(Metadata):
    remark: Annotated[str, Field(max_length=300)] = ""


class FitFacts(Metadata):
    by: Annotated[str, Field(pattern="^(front|photo)?$")] = ""


def _config(networks: Networks) -> GeneratorConfig:
    with networks.generator() as generator:
        return generator.config


def aligned(networks: Networks) -> Form:
    side = _config(networks).side
    arrays = {
        "picture": Array("uint8", (side, side, 3), 0, 255),
        "corners": Array("float64", (4, 2)),
        "landmarks": Array("float32", (68, 2), -side, 2 * side),
    }
    return Form(arrays, AlignedFacts)


def pose() -> Form:
    arrays = {"coefficients": _numbers(COEFFICIENTS), "camera": Array("float32", (4, 4), -2, 2)}
    return Form(arrays, Remark)


def projection(networks: Networks, *, camera: bool = False) -> Form:
    config = _config(networks)
    arrays = {
        "w": _numbers(config.styles, config.w),
        "z": _numbers(config.z_background),
        "losses": _numbers("steps"),
    }
    if camera:
        arrays["camera"] = Array("float32", (4, 4), -2, 2)
    return Form(arrays, Remark, longest=_LONGEST)


def tuning(networks: Networks) -> Form:
    with networks.generator() as generator:
        named = generator.synthesis.named_parameters()
        arrays = {name: _numbers(*parameter.shape) for name, parameter in named}
    return Form(arrays | {"losses": _numbers("steps", 3)}, longest=_LONGEST)


def front(networks: Networks, torso: bool) -> Form:
    config = _config(networks)
    arrays = {
        "picture": Array("uint8", (config.side, config.side, 3), 0, 255),
        "small": Array("uint8", (224, 224, 3), 0, 255),
        "fine": Array("float32", (config.volume**2, config.samples), 0, 1),
    }
    if torso:
        arrays["torso"] = Array("float32", ("points", 2), -1, 1)
    return Form(arrays)


def fit() -> Form:
    arrays = {"coefficients": _numbers(COEFFICIENTS), "landmarks": Array("float32", (68, 2), -1e4, 1e4)}
    return Form(arrays, FitFacts)


def anchor(networks: Networks) -> Form:
    config = _config(networks)
    samples = config.volume**2 * config.samples
    return Form(
        {
            "references": Array("float32", ("points", 2), -10, 10),
            "coarse": Array("int32", (samples,), 0, 1e6),
            "fine": Array("int32", (samples,), 0, 1e6),
        },
        agrees=lambda feature: all(
            feature.arrays[name].max() < len(feature.arrays["references"]) for name in ("coarse", "fine")
        ),
    )


def _numbers(*shape: int | str) -> Array:
    return Array("float32", shape, -_LARGEST, _LARGEST)
