"""Forms of features: what fits, and one reason for everything that does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
import pytest
from pydantic import Field

from personare.cache.form import Array, Form, Metadata, Misfit
from personare.cache.recipe import Stage, StageInputs
from personare.errors import UnreadableMedia
from personare.types import Feature


class Facts(Metadata):
    name: str
    size: Annotated[float, Field(gt=0)]
    corner: tuple[int, int]


FORM = Form(
    {
        "points": Array("float32", ("n", 3), -10, 10),
        "triangles": Array("int32", ("m", 3), 0, 4),
        "weights": Array("float32", ("n",), 0, 1),
        "known": Array("bool", ("n",)),
    },
    Facts,
    longest=100,
    agrees=lambda feature: len(feature.arrays["triangles"]) < len(feature.arrays["points"]),
)
GOOD: dict[str, Any] = {
    "points": np.zeros((5, 3), np.float32),
    "triangles": np.array([[0, 1, 4]], np.int32),
    "weights": np.ones(5, np.float32),
    "known": np.ones(5, np.bool_),
}
FACTS: dict[str, Any] = {"name": "x", "size": 2.5, "corner": [1, 2]}


def changed(name: str, index: Any, value: Any) -> dict[str, Any]:
    array = GOOD[name].copy()
    array[index] = value
    return {name: array}


def test_what_fits_fits() -> None:
    FORM.check(Feature(GOOD, FACTS))
    FORM.check(Feature(GOOD, {**FACTS, "size": 3}))


@pytest.mark.parametrize(
    ("arrays", "facts", "said"),
    [
        ({"more": np.zeros(1)}, {}, "other arrays"),
        ({"points": GOOD["points"].astype("f8")}, {}, "float64"),
        ({"points": GOOD["points"].reshape(-1)}, {}, "1 axes"),
        ({"points": GOOD["points"][:4]}, {}, "shape"),
        ({"points": np.zeros((5, 4), np.float32)}, {}, "shape"),
        ({"triangles": np.zeros((101, 3), np.int32)}, {}, "shape"),
        ({"triangles": np.zeros((5, 3), np.int32)}, {}, "fit together"),
        (changed("points", (0, 0), np.nan), {}, "outside"),
        (changed("points", (4, 2), np.inf), {}, "outside"),
        (changed("points", (4, 2), -10.1), {}, "outside"),
        (changed("triangles", (0, 0), -1), {}, "outside"),
        (changed("triangles", (0, 2), 5), {}, "outside"),
        ({}, {"name": 3}, "name"),
        ({}, {"size": float("nan")}, "size"),
        ({}, {"size": "2"}, "size"),
        ({}, {"size": 0}, "size"),
        ({}, {"corner": [1]}, "corner"),
        ({}, {"more": 1}, "more"),
    ],
)
def test_what_does_not_fit_is_told(arrays: dict[str, Any], facts: dict[str, Any], said: str) -> None:
    with pytest.raises(Misfit, match=said):
        FORM.check(Feature({**GOOD, **arrays}, {**FACTS, **facts}))


def test_metadata_where_there_is_none() -> None:
    with pytest.raises(Misfit, match="makes none"):
        Form({}).check(Feature({}, {"a": 1}))


def stage(form: Callable[[StageInputs], Form] | None) -> Stage:
    return Stage("toy.one", 1, lambda inputs: Feature({}), form=form)


def test_a_stage_without_a_form_takes_nothing_from_others() -> None:
    inputs = StageInputs({}, {}, {})
    assert "does not declare" in stage(None).misfit(inputs, Feature({}))
    assert stage(lambda _: Form({})).misfit(inputs, Feature({})) == ""
    assert "other arrays" in stage(lambda _: FORM).misfit(inputs, Feature({}))


def test_inputs_that_cannot_be_read_are_told_as_such() -> None:
    def unreadable(inputs: StageInputs) -> Form:
        raise UnreadableMedia("me.jpg is empty")

    assert stage(unreadable).misfit(StageInputs({}, {}, {}), Feature({})) == "me.jpg is empty"
