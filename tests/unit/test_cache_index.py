"""The index: right numbers, and never in the way."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from personare.cache.index import Index, IndexBusy, Surroundings
from personare.cache.index_rows import Row
from personare.cache.keys import FileStamp
from personare.cache.upkeep import to_evict

NOTHING = Surroundings((), ())


def key(letter):
    """A key for a letter; keys are in the order of their letters."""
    return letter.encode().hex() * 32


A, B, C, Z = (key(letter) for letter in "abcz")


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
    st.tuples(
        st.sampled_from(["record", "touch", "forget"]),
        st.sampled_from([key(letter) for letter in "abcde"]),
        st.integers(0, 100),
    ),
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
    index.record(row(A))
    for when in range(5):
        index.touch(A, 1000.0 + when / 100)
    index.close()
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT hits, last_used FROM features").fetchall() == [(5, 1000.04)]
    db.close()


def test_a_use_of_a_forgotten_feature_does_not_bring_it_back(index):
    index.record(row(A))
    index.touch(A, 5.0)
    index.forget([A])
    index.touch(A, 99.0)
    assert index.rows() == []


# ---------------------------------------------------------------- other processes


@pytest.fixture
def held(index):
    """Another connection that holds the index for writing."""
    index.record(row(A))
    other = sqlite3.connect(index.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    yield other
    other.close()


def test_a_busy_index_loses_no_use(index, held):
    index.touch(A, 10.0)  # busy: stays noted
    assert index.knows(A)
    held.execute("ROLLBACK")
    index.touch(A, 10.5)
    assert [(r.hits, r.last_used) for r in index.rows()] == [(2, 10.5)]


def test_a_busy_index_is_an_error_only_for_who_asks_it(index, held):
    index.busy_timeout_seconds = 0.0
    index.record(row(B))
    index.pin("shelf", "anna", [A])
    index.unpin("shelf", "anna")
    assert index.total_bytes() == 10
    with pytest.raises(IndexBusy, match="another process"):
        index.forget([A])


# ---------------------------------------------------------------- damage


def test_two_indexes_on_one_file(tmp_path, index):
    other = Index(index.path, lambda known, pinned: NOTHING)
    index.record(row(A))
    other.record(row(B))
    index.pin("shelf", "anna", [A, B])
    other.pin("shelf", "bert", [B])
    assert [r.key for r in index.rows()] == [r.key for r in other.rows()] == [A, B]
    assert index.pins() == other.pins() == {A: ("anna",), B: ("anna", "bert")}
    other.close()


def look_at_ab(known, pinned):
    unknown = [row(each, used=when) for each, when in ((A, 97), (B, 98)) if each not in known]
    return Surroundings((A, B), unknown, "shelf", {"anna": (A,)})


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
    index.record(row(A))
    index.close()
    index.look = look_at_ab
    if while_open:
        index.rows()
    caplog.clear()
    for log_file in tmp_path.glob("*-*"):
        log_file.unlink()
    damage(path)
    if while_open:  # it may go on with what it has in memory, but not fail
        assert [r.key for r in index.rows()] in ([A], [A, B])
        index.close()
    assert [r.key for r in index.rows()] == [A, B]
    assert index.pins() == {A: ("anna",)}
    assert [r.levelno for r in caplog.records if r.name == "personare.cache.index"] == [logging.WARNING]
    index.close()
    other = Index(path, lambda known, pinned: NOTHING)
    assert [r.key for r in other.rows()] == [A, B]
    other.close()
    assert len(caplog.records) == 1


MISFITS = {
    "a key of other letters": "UPDATE features SET key = 'photo'",
    "a key of bytes": "UPDATE features SET key = x'6162ff'",
    "a stage that is no text": "UPDATE features SET stage = CAST(x'ff' AS TEXT)",
    "a size that is text": "UPDATE features SET bytes = 'much'",
    "a size of bytes": "UPDATE features SET bytes = x'00'",
    "a negative size": "UPDATE features SET bytes = -1",
    "a size that is no whole number": "UPDATE features SET bytes = 1.5",
    "a time that never ends": "UPDATE features SET last_used = 9e999",
    "a time that is text": "UPDATE features SET created = 'noon'",
    "negative hits": "UPDATE features SET hits = -7",
    "a pin that is no text": "UPDATE pins SET avatar = CAST(x'fe' AS TEXT)",
    "a pin of another key": "UPDATE pins SET key = 'b'",
    "one column more": "ALTER TABLE features ADD COLUMN more",
    "one column less": "ALTER TABLE features DROP COLUMN hits",
}
"""What flipped bits leave that SQLite takes for sound."""


@pytest.mark.parametrize("misfit", MISFITS)
def test_a_row_that_cannot_be_ours_is_damage(tmp_path, caplog, misfit):
    path = tmp_path / "index.sqlite3"
    index = Index(path, lambda known, pinned: NOTHING)
    index.record(row(A))
    index.pin("shelf", "anna", [A])
    index.close()
    with sqlite3.connect(path) as db:
        db.execute(MISFITS[misfit])
    db.close()
    index = Index(path, look_at_ab)
    index.touch(A, 5.0)
    assert (index.row(A) or row(A)).key == A
    assert set(index.pins()) <= {A}
    assert [r.key for r in index.rows()] == [A, B]
    assert index.pins() == {A: ("anna",)}
    assert [r.levelno for r in caplog.records] == [logging.WARNING]
    index.close()


@pytest.mark.parametrize("column", ["path", "stamp", "digest", "checksum"])
def test_a_digest_that_was_changed_is_not_believed(tmp_path, column):
    photo, stamp = tmp_path / "me.jpg", FileStamp(1, 2, 3, 4, 5)
    index = Index(tmp_path / "index.sqlite3", look_at_ab)
    index.remember_digest(photo, stamp, A)
    assert index.recall_digest(photo, stamp) == A
    index.close()
    other = {"digest": B, "checksum": "0" * 16, "path": b"/you.jpg", "stamp": str(FileStamp(9, 2, 3, 4, 5))}
    with sqlite3.connect(index.path) as db:
        db.execute(f"UPDATE file_digests SET {column} = ?", (other[column],))
    db.close()
    assert index.recall_digest(photo, stamp) is None
    assert index.recall_digest(Path("/you.jpg"), stamp) is None
    assert index.recall_digest(photo, FileStamp(9, 2, 3, 4, 5)) is None
    index.remember_digest(photo, stamp, A)
    assert index.recall_digest(photo, stamp) == A
    index.close()


def test_an_index_of_an_earlier_version_goes_on(tmp_path, caplog):
    path = tmp_path / "index.sqlite3"
    index = Index(path, lambda known, pinned: NOTHING)
    index.record(row(A))
    index.close()
    with sqlite3.connect(path) as db:
        db.execute("DROP TABLE file_digests")
        db.execute("CREATE TABLE digests (path BLOB PRIMARY KEY, stamp TEXT NOT NULL, digest TEXT NOT NULL)")
    db.close()
    index.remember_digest(tmp_path, FileStamp(1, 2, 3, 4, 5), A)
    assert [r.key for r in index.rows()] == [A]
    assert caplog.records == []
    index.close()


def test_an_index_deleted_under_us_is_noticed_at_once(index):
    index.record(row(A))
    index.look = look_at_ab
    index.path.unlink()
    index.record(row(C))
    assert [r.key for r in index.rows()] == [C, A, B]


def test_a_rebuild_that_was_cut_off_is_done_again(tmp_path):
    path = tmp_path / "index.sqlite3"

    def killed(known, pinned):
        raise KeyboardInterrupt

    index = Index(path, killed)
    with pytest.raises(KeyboardInterrupt):
        index.rows()
    index.close()
    index = Index(path, look_at_ab)
    assert [r.key for r in index.rows()] == [A, B]
    index.close()


def test_an_index_without_a_place_lives_in_memory(tmp_path):
    (tmp_path / "file").write_text("")
    index = Index(tmp_path / "file" / "index.sqlite3", look_at_ab)
    index.record(row(C, used=200))
    assert index.reconcile() == 2
    assert [r.key for r in index.rows()] == [A, B]  # c has no file
    index.close()


def test_an_index_that_is_a_folder_lives_in_memory(tmp_path):
    (tmp_path / "index.sqlite3").mkdir()
    index = Index(tmp_path / "index.sqlite3", look_at_ab)
    index.record(row(A))
    assert [r.key for r in index.rows()] == [A]
    index.close()


# ---------------------------------------------------------------- reconciling


def test_reconcile(index):
    index.record(row(A, used=77))
    index.record(row(key("g")))
    index.pin("shelf", "anna", [Z])
    index.pin("shelf", "bert", [A])
    index.pin("other shelf", "bert", [B])
    index.look = lambda known, pinned: Surroundings(
        (A, B), [row(each) for each in (A, B) if each not in known], "shelf", {"anna": (A,)}, ("bert",)
    )
    assert index.reconcile() == 1
    assert {r.key: r.last_used for r in index.rows()} == {A: 77, B: 0}
    assert index.pins() == {A: ("anna",), B: ("bert",)}


def test_pins_replace_those_of_the_same_avatar(index):
    index.pin("shelf", "anna", [A, B, B])
    index.pin("shelf", "anna", [B, C])
    assert index.pins() == {B: ("anna",), C: ("anna",)}
    index.unpin("shelf", "anna")
    assert index.pins() == {}
