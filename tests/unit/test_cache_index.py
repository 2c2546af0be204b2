"""The index: right numbers, and never in the way."""

from __future__ import annotations

import logging
import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from personare.cache.index import Index, IndexBusy, Row, Surroundings
from personare.cache.upkeep import to_evict

NOTHING = Surroundings((), ())


def row(key, used=0.0, size=10):
    return Row(key, "toy.one", size, created=0.0, last_used=used)


@pytest.fixture
def index(tmp_path):
    made = Index(tmp_path / "index.sqlite3", lambda known, pinned: NOTHING)
    yield made
    made.close()


# ---------------------------------------------------------------- eviction order


@given(
    st.lists(st.tuples(st.integers(0, 50), st.booleans()), max_size=20),
    st.integers(0, 400),
)
def test_eviction_takes_the_oldest_and_no_more_than_needed_and_nothing_pinned(features, budget):
    rows = [row(str(i), used=i, size=size) for i, (size, _) in enumerate(features)]
    pinned = {str(i) for i, (_, is_pinned) in enumerate(features) if is_pinned}
    chosen = to_evict(rows, budget, pinned)
    left = [r for r in rows if r not in chosen]
    loose = [r for r in rows if r.key not in pinned]
    assert chosen == loose[: len(chosen)]
    assert not pinned & {r.key for r in chosen}
    assert sum(r.bytes for r in left) <= budget or len(chosen) == len(loose)
    if chosen:
        assert sum(r.bytes for r in left) + chosen[-1].bytes > budget


actions = st.lists(
    st.tuples(st.sampled_from(["record", "touch", "forget"]), st.sampled_from("abcde"), st.integers(0, 100)),
    max_size=30,
)


@settings(max_examples=50, deadline=None)
@given(actions)
def test_order_of_use_against_a_model(tmp_path_factory, actions):
    index = Index(tmp_path_factory.mktemp("index") / "i.sqlite3", lambda known, pinned: NOTHING)
    model: dict[str, tuple[float, int]] = {}
    for action, key, when in actions:
        if action == "record":
            index.record(row(key, used=when))
            model[key] = (when, 0)
        elif action == "forget":
            index.rows()  # uses so far are written, as eviction does before it chooses
            index.forget([key])
            model.pop(key, None)
        elif key in model:
            index.touch(key, when)
            model[key] = (max(when, model[key][0]), model[key][1] + 1)
        if action == "record":
            index.rows()
    expected = sorted((used, key, hits) for key, (used, hits) in model.items())
    assert [(r.last_used, r.key, r.hits) for r in index.rows()] == expected
    assert index.total_bytes() == 10 * len(model)
    index.close()


# ---------------------------------------------------------------- uses


def test_uses_are_gathered_and_written_on_close(tmp_path):
    path = tmp_path / "index.sqlite3"
    index = Index(path, lambda known, pinned: NOTHING)
    index.record(row("a"))
    for when in range(5):
        index.touch("a", 1000.0 + when / 100)
    index.close()
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT hits, last_used FROM features").fetchall() == [(5, 1000.04)]
    db.close()


def test_a_use_of_a_forgotten_feature_does_not_bring_it_back(index):
    index.record(row("a"))
    index.touch("a", 5.0)
    index.forget(["a"])
    index.touch("a", 99.0)
    assert index.rows() == []


# ---------------------------------------------------------------- other processes


@pytest.fixture
def held(index):
    """Another connection that holds the index for writing."""
    index.record(row("a"))
    other = sqlite3.connect(index.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    yield other
    other.close()


def test_a_busy_index_loses_no_use(index, held):
    index.touch("a", 10.0)  # busy: stays noted
    assert index.knows("a")
    held.execute("ROLLBACK")
    index.touch("a", 10.5)
    assert [(r.hits, r.last_used) for r in index.rows()] == [(2, 10.5)]


def test_a_busy_index_is_an_error_only_for_who_asks_it(index, held):
    index.busy_timeout_seconds = 0.0
    index.record(row("b"))
    index.pin("shelf", "anna", ["a"])
    index.unpin("shelf", "anna")
    assert index.total_bytes() == 10
    with pytest.raises(IndexBusy, match="another process"):
        index.forget(["a"])


# ---------------------------------------------------------------- damage


def test_two_indexes_on_one_file(tmp_path, index):
    other = Index(index.path, lambda known, pinned: NOTHING)
    index.record(row("a"))
    other.record(row("b"))
    index.pin("shelf", "anna", ["a", "b"])
    other.pin("shelf", "bert", ["b"])
    assert [r.key for r in index.rows()] == [r.key for r in other.rows()] == ["a", "b"]
    assert index.pins() == other.pins() == {"a": ("anna",), "b": ("anna", "bert")}
    other.close()


def look_at_ab(known, pinned):
    unknown = [row(key, used=ord(key)) for key in "ab" if key not in known]
    return Surroundings("ab", unknown, "shelf", {"anna": ("a",)})


def damage_by_deleting(path):
    path.unlink()


def damage_by_text(path):
    path.write_text("this is no database" * 1000)


def damage_in_the_middle(path):
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 30000)


def damage_by_truncation(path):
    with path.open("r+b") as file:
        file.truncate(5000)


def damage_by_emptying(path):
    path.write_bytes(b"")


def damage_by_another_schema(path):
    path.unlink()
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE features (x)")
    db.close()


DAMAGES = [
    damage_by_deleting,
    damage_by_text,
    damage_in_the_middle,
    damage_by_truncation,
    damage_by_emptying,
    damage_by_another_schema,
]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("while_open", [False, True])
def test_a_damaged_index_is_rebuilt_and_says_so_once(tmp_path, caplog, damage, while_open):
    path = tmp_path / "index.sqlite3"
    index = Index(path, lambda known, pinned: NOTHING)
    index.record(row("a"))
    index.close()
    index.look = look_at_ab
    if while_open:
        index.rows()
    caplog.clear()
    for log_file in tmp_path.glob("*-*"):
        log_file.unlink()
    damage(path)
    if while_open:  # it may go on with what it has in memory, but not fail
        assert [r.key for r in index.rows()] in (["a"], ["a", "b"])
        index.close()
    assert [r.key for r in index.rows()] == ["a", "b"]
    assert index.pins() == {"a": ("anna",)}
    assert [r.levelno for r in caplog.records if r.name == "personare.cache.index"] == [logging.WARNING]
    index.close()
    other = Index(path, lambda known, pinned: NOTHING)
    assert [r.key for r in other.rows()] == ["a", "b"]
    other.close()
    assert len(caplog.records) == 1


def test_an_index_deleted_under_us_is_noticed_at_once(index):
    index.record(row("a"))
    index.look = look_at_ab
    index.path.unlink()
    index.record(row("c"))
    assert [r.key for r in index.rows()] == ["c", "a", "b"]


def test_a_rebuild_that_was_cut_off_is_done_again(tmp_path):
    path = tmp_path / "index.sqlite3"

    def killed(known, pinned):
        raise KeyboardInterrupt

    index = Index(path, killed)
    with pytest.raises(KeyboardInterrupt):
        index.rows()
    index.close()
    index = Index(path, look_at_ab)
    assert [r.key for r in index.rows()] == ["a", "b"]
    index.close()


def test_an_index_without_a_place_lives_in_memory(tmp_path):
    (tmp_path / "file").write_text("")
    index = Index(tmp_path / "file" / "index.sqlite3", look_at_ab)
    index.record(row("c", used=200))
    assert index.reconcile() == 2
    assert [r.key for r in index.rows()] == ["a", "b"]  # c has no file
    index.close()


def test_an_index_that_is_a_folder_lives_in_memory(tmp_path):
    (tmp_path / "index.sqlite3").mkdir()
    index = Index(tmp_path / "index.sqlite3", look_at_ab)
    index.record(row("a"))
    assert [r.key for r in index.rows()] == ["a"]
    index.close()


# ---------------------------------------------------------------- reconciling


def test_reconcile(index):
    index.record(row("a", used=77))
    index.record(row("gone"))
    index.pin("shelf", "anna", ["z"])
    index.pin("shelf", "bert", ["a"])
    index.pin("other shelf", "bert", ["b"])
    index.look = lambda known, pinned: Surroundings(
        "ab", [row(key) for key in "ab" if key not in known], "shelf", {"anna": ("a",)}, ("bert",)
    )
    assert index.reconcile() == 1
    assert {r.key: r.last_used for r in index.rows()} == {"a": 77, "b": 0}
    assert index.pins() == {"a": ("anna",), "b": ("bert",)}


def test_pins_replace_those_of_the_same_avatar(index):
    index.pin("shelf", "anna", ["a", "b", "b"])
    index.pin("shelf", "anna", ["b", "c"])
    assert index.pins() == {"b": ("anna",), "c": ("anna",)}
    index.unpin("shelf", "anna")
    assert index.pins() == {}
