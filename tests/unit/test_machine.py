"""What this machine is, and what decides the last bits of a computation."""

from __future__ import annotations

import importlib

from personare.cache.keys import canonical_json
from personare.ground.machine import machine, numerics, source_digest


def test_numerics_are_json_and_hold_still(monkeypatch):
    before = canonical_json(numerics())
    assert canonical_json(numerics()) == before
    monkeypatch.setenv("OPENBLAS_CORETYPE", "another")
    assert canonical_json(numerics()) != before
    assert machine() is machine()
    assert machine().cores >= 1
    assert "numpy" in machine().versions


def test_a_changed_line_of_code_is_another_source(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    package = tmp_path / "toy_engine"
    (package / "rooms").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "rooms" / "motion.py").write_text("GAIN = 1")
    (package / "data.bin").write_bytes(b"12")

    def digest():
        importlib.invalidate_caches()
        source_digest.cache_clear()
        return source_digest("toy_engine")

    first = digest()
    assert digest() == first
    (package / "rooms" / "motion.py").write_text("GAIN = 2")
    second = digest()
    (package / "data.bin").write_bytes(b"123")
    assert len({first, second, digest()}) == 3
    assert source_digest("no_such_package") == ""
    source_digest.cache_clear()
