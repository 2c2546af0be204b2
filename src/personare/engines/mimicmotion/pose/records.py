"""People and skeletons of frame after frame as features: rows of all frames in one array, and
how many belong to each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from personare.perception.whole_body.people import NOBODY, People
from personare.perception.whole_body.skeleton import NO_SKELETON, Skeletons
from personare.types import Feature

Rows = dict[str, NDArray[Any]]


def packed(frames: Sequence[People], metadata: Mapping[str, Any]) -> Feature:
    """The people of some pictures, about 1.1 kB each."""
    return Feature(rows_of(frames), metadata)


def rows_of(frames: Sequence[People]) -> Rows:
    """The same as arrays: counts int32 [n], then boxes, bins and scores of all."""
    return {"counts": _counts(frames)} | {
        name: np.concatenate([getattr(empty, name) for empty in (NOBODY, *frames)])
        for name in ("boxes", "bins", "scores")
    }


def people_of(rows: Mapping[str, NDArray[Any]]) -> list[People]:
    """The people of each picture again."""
    ends = np.cumsum(rows["counts"])
    return [
        People(
            rows["boxes"][end - count : end],
            rows["bins"][end - count : end],
            rows["scores"][end - count : end],
        )
        for end, count in zip(ends, rows["counts"], strict=True)
    ]


def unpacked(feature: Feature) -> list[People]:
    """The people that `packed` kept."""
    return people_of(feature.arrays)


def packed_skeletons(frames: Sequence[Skeletons], metadata: Mapping[str, Any]) -> Feature:
    """The skeletons of each frame, about 2.6 kB each."""
    arrays: Rows = {"counts": _counts(frames)}
    for part in fields(Skeletons):
        arrays[part.name] = np.concatenate([getattr(each, part.name) for each in (NO_SKELETON, *frames)])
    return Feature(arrays, metadata)


def unpacked_skeletons(feature: Feature) -> list[Skeletons]:
    """The skeletons that `packed_skeletons` kept."""
    counts = feature.arrays["counts"]
    parts = [feature.arrays[part.name] for part in fields(Skeletons)]
    return [
        Skeletons(*(part[end - count : end] for part in parts))
        for end, count in zip(np.cumsum(counts), counts, strict=True)
    ]


def _counts(frames: Sequence[People] | Sequence[Skeletons]) -> NDArray[np.int32]:
    return np.array([len(frame) for frame in frames], np.int32)
