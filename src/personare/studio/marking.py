"""The marks of one clip: opened before anything is made, so that what is wrong with them is
told early, and put on when the clip is complete.

Clips are made and kept without marks, and marked whenever they are given out. So no kept clip
can have others than those that are asked for, a change of producer or certificate costs no
rendering, and a signature tells when this file was given, not when some file was rendered. The
id follows from the content and the time is kept with the clip, so a clip without signature that
is given out twice has the same bytes.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO, Self, cast

from personare.cache.clips import ClipFacts
from personare.engines.engine import Engine
from personare.errors import EngineError
from personare.provenance.boxes import with_marks
from personare.provenance.cue import Cue
from personare.provenance.ledger import Ledger, Made
from personare.provenance.marks import Mark, content_id, time_text
from personare.provenance.settings import MarksSettings, read_marks_settings
from personare.provenance.signing import ClipSigner
from personare.provenance.visible import Label, Labelled, label_of
from personare.types import Avatar

Sources = Callable[[], Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of a clip's marks.

    off: why it is to have none; "" where it has them.
    label: what is shown on it: a name in `visible.LABELS`, or a text.
    cue: whether a signal is heard at its start.
    """

    off: str = ""
    label: str | None = None
    cue: bool = False

    @property
    def drawn(self) -> str:
        """What of it enters pictures or sound, for keys of clips; "" for nothing."""
        return f"{self.label or ''}{' cue' if self.cue else ''}"


def no_sources() -> Mapping[str, str]:
    return {}


@dataclass(frozen=True, slots=True)
class Marking:
    """The marks of one clip.

    sources: digests of what it is made from beside the portrait; asked only if it is signed.
    """

    asked: Asked
    engine: str
    settings: MarksSettings
    signer: ClipSigner | None
    label: Label | None
    sources: Sources = field(default=no_sources)

    @classmethod
    def open(cls, asked: Asked, engine: Engine, sources: Sources = no_sources) -> Self:
        """Raises InvalidOption for a label or settings that cannot be used, WeightsMissing if
        clips are to be signed and nothing is installed that signs.
        """
        settings = read_marks_settings()
        signer = ClipSigner(settings) if settings.signs and not asked.off else None
        label = None if asked.label is None else label_of(asked.label)
        return cls(asked, f"{engine.name} {engine.version}", settings, signer, label, sources)

    def drawn_on(self, size: tuple[int, int], fps: Fraction) -> Labelled | None:
        """What draws on pictures of this size, if anything does."""
        return None if self.label is None else self.label.on(size, fps)

    def heard_in(self, rate: int) -> Cue | None:
        """What is mixed into the sound, if anything is."""
        return Cue(rate) if self.asked.cue else None

    def finish(
        self, clip: Path, name: str, facts: ClipFacts, avatar: Avatar, mouth: bytes = b""
    ) -> dict[str, str]:
        """Put the marks into a complete clip that has not got its name yet, note the clip in
        this machine's ledger, and tell what was done. Raises OSError, InvalidOption.

        name: of the file, for the ledger.
        mouth: how its mouth moved (`Fingerprint.to_bytes`).
        """
        if facts.created is None or not facts.content:
            raise EngineError("a clip without time or content cannot be marked")
        mark = Mark(
            producer=self.settings.producer,
            id=content_id(facts.content),
            engine=self.engine,
            software=f"personare {version('personare')}",
            time=facts.created,
            consent=avatar.consent,
        )
        told = {"marks": "off", "reason": self.asked.off} if self.asked.off else {"marks": "on"}
        told["id"] = mark.id
        told |= {"label": self.asked.label} if self.asked.label is not None else {}
        told |= {"cue": "morse"} if self.asked.cue else {}
        if not self.asked.off:
            sources = {"portrait": avatar.portrait, **self.sources()} if self.signer else {}
            _put_on(clip, mark, self.signer, sources)
            told["c2pa"] = "off" if self.signer is None else self.signer.kind
        Ledger().add(
            Made(
                id=mark.id,
                time=time_text(facts.created),
                name=name.encode("utf-8", "backslashreplace").decode("utf-8"),
                engine=self.engine,
                avatar=avatar.name,
                portrait=avatar.portrait,
                seconds=facts.audio_seconds,
                marks=told["marks"],
                reason=self.asked.off,
            ),
            mouth,
        )
        return told


def _put_on(clip: Path, mark: Mark, signer: ClipSigner | None, sources: Mapping[str, str]) -> None:
    """Marks into the file itself, by way of files without names, which no killed process
    leaves.
    """
    with tempfile.TemporaryFile(dir=clip.parent) as marked, tempfile.TemporaryFile(dir=clip.parent) as signed:
        whole = cast(BinaryIO, marked)
        with clip.open("rb") as plain:
            with_marks(plain, whole, mark.tags(), mark.xmp())
        if signer is not None:
            signer.sign(whole, cast(BinaryIO, signed), mark, sources)
            whole = cast(BinaryIO, signed)
        whole.seek(0)
        with clip.open("wb") as file:
            shutil.copyfileobj(whole, file, 1 << 20)
