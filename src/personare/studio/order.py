"""One wanted clip, described once: the command line, batches, Python and whoever comes next
make an Order, and `Studio.make` makes the clip.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, JsonValue, ValidationInfo, model_validator

from personare.errors import InvalidOption
from personare.ground.outputs import Named
from personare.studio.checked import CheckedModel

Kind = Literal["speech", "text", "guide", "motion"]
"""What moves the portrait."""

_SOURCES = ("speech", "text", "text_file", "guide", "motion")
_URL = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]+):/+", re.IGNORECASE)
"""At least two letters before the colon: C:/ is a disk. A Path has lost one of the slashes."""


def _checked_field(given: Any, info: ValidationInfo) -> Any:
    if isinstance(given, str | Path):
        refuse_url(str(given), info.field_name or "")
    return given


def refuse_url(given: str, what: str) -> None:
    """Raises InvalidOption if the path of a file is a URL. what: for the message."""
    if found := _URL.match(given):
        url = f"{found['scheme']}://{given[found.end() :]}"
        hint = "give the path itself" if found["scheme"].lower() == "file" else "download it first"
        raise InvalidOption(f"{what}: {url[:200]} is a URL", hint=hint)


File = Annotated[Path, BeforeValidator(_checked_field)]
Name = Annotated[str, Field(min_length=1, max_length=4096), BeforeValidator(_checked_field)]


class Order(CheckedModel):
    """One wanted clip: who (`portrait`, `avatar`, or neither where the engine brings its own
    portrait), what moves it (exactly one of `speech`, `text`, `text_file`, `guide` and
    `motion`), by which engine with which options, and where the clip goes.
    """

    WHAT: ClassVar[str] = "an order"

    portrait: File | None = Field(None, description="file of a photo or of a template video")
    avatar: Name | None = Field(None, description="name of a kept avatar, instead of a portrait")
    speech: File | None = Field(None, description="file of a voice: any sound, or a video's sound")
    track: int | None = Field(
        None, ge=1, description="which of its sound tracks speaks, from 1; none: the one that does"
    )
    text: str | None = Field(None, description="a text to be spoken")
    text_file: File | None = Field(None, description="file of a text to be spoken: plain, subtitles or SSML")
    voice: Name | None = Field(None, description="voice or language of a text")
    timing: Literal["cues", "flow"] | None = Field(
        None, description="of subtitles: each cue at its time (cues, the default), or without times (flow)"
    )
    guide: File | None = Field(
        None, description="a video, or a folder of pictures, that shows what the portrait does"
    )
    motion: File | None = Field(None, description="file of motion: ARKit curves, or an engine's own motion")
    sound: File | None = Field(None, description="what is heard with motion; it moves nothing")
    engine: Name | None = Field(
        None, description="which engine animates; none: the avatar's own, or the default"
    )
    moved_by: Name | None = Field(None, description="another engine, whose motion is shown on this portrait")
    options: dict[str, JsonValue] = Field({}, description="options of the engine; others have their defaults")
    output: Path = Field(description="the clip to write: .mp4, .m4v or .mov")
    curves_out: Path | None = Field(
        None, description="where the ARKit curves of every frame are written: .json or .csv"
    )
    motion_out: Path | None = Field(None, description="where the engine's own motion is written")
    marks: Literal["on", "off"] = Field("on", description="whether the clip says that it was made by AI")
    marks_reason: Annotated[str, Field(min_length=3, max_length=500)] | None = Field(
        None, description="why marks are off: a sentence that is kept in the report"
    )
    label: str | None = Field(None, description="what is shown on the clip: zh-CN, en, eu or a text")
    cue: Literal["morse"] | None = Field(None, description="a signal that is heard at the start of the clip")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        given = [name for name in _SOURCES if getattr(self, name) is not None]
        if len(given) != 1:
            raise InvalidOption(
                f"an order needs exactly one of {', '.join(_SOURCES)}; given: {', '.join(given) or 'none'}",
                hint="choose what moves the portrait",
            )
        if "\0" in "".join(str(path) for _, path in (*self.inputs(), *self.outputs())):
            raise InvalidOption("a path has a NUL character in it", hint="check the paths")
        if self.portrait is not None and self.avatar is not None:
            raise InvalidOption("an order has a portrait or an avatar, not both", hint="leave one out")
        for field, kind, hint in (
            ("voice", "text", "a speech has its own voice"),
            ("track", "speech", "it is for files with several sound tracks"),
            ("timing", "text", "it is for texts that are subtitles"),
            ("sound", "motion", "speech and guides bring their own sound"),
        ):
            if getattr(self, field) is not None and self.kind != kind:
                raise InvalidOption(f"{field} is for {kind}, not for {self.kind}", hint=hint)
        for field in ("moved_by", "curves_out", "motion_out"):
            if getattr(self, field) is not None and self.kind == "motion":
                raise InvalidOption(f"{field} is not for motion, which is given", hint=f"leave {field} out")
        if (self.marks == "off") != (self.marks_reason is not None):
            raise InvalidOption(
                "marks are switched off with a reason, and only then is there one",
                hint='give both (--marks off --marks-reason "...") or neither: docs/provenance.md',
            )
        if self.label is not None:
            from personare.provenance.visible import label_of

            label_of(self.label)
        return self

    @property
    def kind(self) -> Kind:
        """What moves the portrait."""
        if self.speech is not None:
            return "speech"
        if self.guide is not None:
            return "guide"
        return "text" if self.motion is None else "motion"

    def inputs(self) -> list[Named]:
        """Every file that is read, with what it is."""
        named = {
            "the portrait": self.portrait,
            "the voice": self.speech,
            "the text": self.text_file,
            "the guide": self.guide,
            "the motion": self.motion,
            "the sound": self.sound,
        }
        return [(what, path) for what, path in named.items() if path is not None]

    def outputs(self) -> list[Named]:
        """Every file that is written, with what it is."""
        named = {"the clip": self.output, "the curves": self.curves_out, "the motion": self.motion_out}
        return [(what, path) for what, path in named.items() if path is not None]


def who(given: str | Path | None, folder: Path = Path()) -> dict[str, Any]:
    """The fields of an Order for what people call a portrait: a file if there is one (relative
    to `folder`), else the name of an avatar. Raises InvalidOption for a URL.
    """
    if given is None:
        return {}
    refuse_url(str(given), "portrait")
    if isinstance(given, Path):
        return {"portrait": given}
    path = local_path(given, folder)
    return {"portrait": path} if _exists(path) else {"avatar": given}


def local_path(given: str, folder: Path = Path()) -> Path:
    """A path as people write it, relative to `folder`. Backslashes separate folders, unless
    something of that very name exists: lists that were written on Windows work elsewhere.
    """
    path = folder / _expanded(given)
    if "\\" in given and os.sep == "/" and not _exists(path):
        return folder / _expanded(given.replace("\\", "/"))
    return path


def _expanded(given: str) -> Path:
    try:
        return Path(given).expanduser()
    except RuntimeError:  # ~ and the name of nobody
        return Path(given)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # too long for a name, or with a NUL character
        return False
