"""Whether the files of a checkpoint are what was released."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from personare.errors import WeightsMismatch
from personare.types import Progress, no_progress
from personare.weights.catalogue import CatalogueFile
from personare.weights.digests import file_sha256
from personare.weights.finder import Located, named_digest
from personare.weights.formats import sniff

State = Literal["released", "plausible", "wrong"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One file. state: "released" if its digest is on record, "plausible" if nothing is on
    record that it could contradict.
    """

    component: str
    file: Path
    state: State
    sha256: str
    explanation: str


def verify(located: Located, progress: Progress = no_progress) -> list[Finding]:
    """Reads every byte of a component's files. Raises WeightsMissing if one cannot be read."""
    findings = []
    for entry, path in located.files.items():
        sha256 = file_sha256(path, progress)
        state, explanation = _judge(entry, path, sha256)
        findings.append(Finding(located.component.name, path, state, sha256, explanation))
    return findings


def _judge(entry: CatalogueFile, path: Path, sha256: str) -> tuple[State, str]:
    size, known = path.stat().st_size, entry.sha256 or entry.sha256_prefix or ""
    named = named_digest(path)
    if entry.role == "weights":
        try:
            sniff(path)
        except WeightsMismatch as error:
            return "wrong", error.message.removeprefix(f"{path} ")
    if entry.bytes is not None and size != entry.bytes:
        how = "is truncated" if size < entry.bytes else "is longer than the released file"
        return "wrong", f"{how}: {size} of {entry.bytes} bytes"
    if entry.is_genuine(sha256) is False:
        return "wrong", f"its sha256 does not begin with {known[:16]}"
    if named is not None and named != sha256:
        return "wrong", f"the hub cache calls it {named[:16]}: it is damaged"
    if entry.sha256:
        return "released", ""
    if entry.sha256_prefix:
        return "released", f"as far as is on record: its sha256 begins with {known}"
    return "plausible", "as the hub gave it" if named else "no digest is on record"
