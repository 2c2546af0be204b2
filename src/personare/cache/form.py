"""What a feature has to look like before it is taken from somebody else: a remote, an archive.

A checksum says that the bits are those that were written, not that what was written makes
sense. So a stage declares the form of its feature for the inputs at hand: names, types, shapes,
ranges, metadata, and what only code can say. It is compared once, when a feature comes in; what
does not fit is computed here instead.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from personare.types import Feature

LARGEST = 1e6


class Misfit(Exception):
    """A feature does not have the form of its stage; the message is the reason."""


class Metadata(BaseModel):
    """Base of the models of metadata: these names, of these types, and finite numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


@dataclass(frozen=True, slots=True)
class Array:
    """The form of one array.

    dtype: "float32" and so on.
    shape: numbers, or names: lengths that are not known beforehand, but the same wherever they
        are named in one feature.
    low, high: every value lies between them; so none is NaN or infinite.
    """

    dtype: str
    shape: tuple[int | str, ...]
    low: float = -LARGEST
    high: float = LARGEST


@dataclass(frozen=True, slots=True)
class Form:
    """The form of a feature: just these arrays, metadata of this model, and a last word.

    metadata: None for a feature without any.
    longest: of lengths that are named.
    agrees: whether everything fits together; only asked if each part has its form.
    """

    arrays: Mapping[str, Array]
    metadata: type[Metadata] | None = None
    longest: int = 1_000_000
    agrees: Callable[[Feature], bool] = field(default=lambda _: True)

    def check(self, feature: Feature) -> None:
        """Raises Misfit."""
        if feature.arrays.keys() != self.arrays.keys():
            raise Misfit("it holds other arrays than its stage makes")
        lengths: dict[str, int] = {}
        for name, array in self.arrays.items():
            self._check_array(name, array, feature.arrays[name], lengths)
        self._check_metadata(feature.metadata)
        if not self.agrees(feature):
            raise Misfit("its parts do not fit together, or not what it was made from")

    def _check_array(self, name: str, form: Array, array: NDArray[Any], lengths: dict[str, int]) -> None:
        if array.dtype != np.dtype(form.dtype) or array.ndim != len(form.shape):
            raise Misfit(f"array {name!r} is {array.dtype} with {array.ndim} axes")
        for length, wanted in zip(array.shape, form.shape, strict=True):
            known = wanted if isinstance(wanted, int) else lengths.setdefault(wanted, length)
            if length != known or length > self.longest:
                raise Misfit(f"array {name!r} has the shape {array.shape}")
        # NaN is neither above nor below anything.
        inside = not array.size or (form.low <= array.min() and array.max() <= form.high)
        if not inside and array.dtype != np.bool_:
            raise Misfit(f"array {name!r} holds values outside of {form.low:g} to {form.high:g}")

    def _check_metadata(self, metadata: Mapping[str, Any]) -> None:
        if self.metadata is None:
            if metadata:
                raise Misfit("it holds metadata where its stage makes none")
            return
        try:
            # Lists are how JSON writes tuples.
            self.metadata.model_validate_json(json.dumps(dict(metadata)))
        except ValidationError as error:
            first = error.errors()[0]
            raise Misfit(f"its metadata: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
