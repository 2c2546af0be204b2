"""The tier in memory against the plainest model of it."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from personare.cache.memory import MemoryTier
from personare.types import Feature

KIB = 1024
steps = st.lists(
    st.tuples(st.just("put"), st.sampled_from("abcdef"), st.integers(0, 12))
    | st.tuples(st.just("get"), st.sampled_from("abcdef"), st.just(0)),
    max_size=40,
)


@given(steps)
def test_least_recently_used_goes_first(steps):
    budget = 40 * KIB
    tier = MemoryTier(budget)
    model: list[tuple[str, int]] = []  # least recently used first, with cost
    for action, key, size in steps:
        held = dict(model)
        if action == "get":
            assert (tier.get(key) is not None) == (key in held)
            if key in held:
                model = [*((k, c) for k, c in model if k != key), (key, held[key])]
        else:
            cost = size * KIB + 4 * KIB
            tier.put(key, Feature({"x": np.zeros(size * KIB, np.uint8)}))
            model = [*((k, c) for k, c in model if k != key), (key, cost)]
            while sum(c for _, c in model) > budget:
                model.pop(0)
        assert tier.nbytes == sum(c for _, c in model) <= budget
        assert len(tier) == len(model)


def test_a_feature_larger_than_the_tier_is_not_kept_and_drives_nobody_out():
    tier = MemoryTier(16 * KIB)
    tier.put("a", Feature({"x": np.zeros(KIB, np.uint8)}))
    tier.put("b", Feature({"x": np.zeros(17 * KIB, np.uint8)}))
    assert tier.get("a") is not None
    assert tier.get("b") is None


def test_features_without_arrays_are_bounded_too():
    tier = MemoryTier(100 * KIB)
    for i in range(1000):
        tier.put(str(i), Feature({}, {"i": i}))
    assert 0 < len(tier) <= 25


def test_clear():
    tier = MemoryTier(100 * KIB)
    tier.put("a", Feature({}))
    tier.clear()
    assert (len(tier), tier.nbytes, tier.get("a")) == (0, 0, None)
