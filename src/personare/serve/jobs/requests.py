"""What a caller asks for, checked before it waits. Nothing that a caller sends becomes a path
or a URL: files are named by the ids of uploads, avatars by names that the shelf looks up.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import AfterValidator, Field, JsonValue, model_validator

from personare.engines import DEFAULT_ENGINE
from personare.engines.engine import Engine
from personare.errors import InvalidOption, UnknownName
from personare.serve.files import FILE_ID, PURPOSES
from personare.serve.problems import Problem, without_paths
from personare.serve.settings import Limits
from personare.shelf.manifest import MAX_CONSENT_LENGTH, Consent, consent_of
from personare.studio.checked import CheckedModel
from personare.studio.installed import check_can
from personare.studio.order import Order
from personare.studio.studio import Studio

NAME = r"^[a-z0-9][a-z0-9_-]{0,63}$"
"""Of avatars that are made over HTTP."""
CLIP, THUMBNAIL = "clip.mp4", "thumbnail.jpg"
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?(/\d+)?")
_WORD = re.compile(r"[\w#+?, :-]{0,100}")
_VOICE = re.compile(r"[\w:+-]+(\.[\w:+-]+)*")
_OPERATORS = ("device",)
"""Options that whoever runs the service decides on."""
_STYLE = "style"
"""The option that takes a name of Engine.styles, or a file."""


def _upload_id(given: str) -> str:
    if not FILE_ID.fullmatch(given):
        raise ValueError("is not the id of an upload (POST /v1/files gives one)")
    return given


FileId = Annotated[str, AfterValidator(_upload_id)]


class ClipRequest(CheckedModel):
    """One wanted clip: who (`avatar`, `portrait`, or neither where the engine brings its own
    portrait), and what moves it (exactly one of `speech`, `text`, `guide` and `motion`).
    """

    WHAT: ClassVar[str] = "a job"

    avatar: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(
        None, description="name of an avatar"
    )
    portrait: FileId | None = Field(None, description="upload: a photo or a template video")
    speech: FileId | None = Field(None, description="upload: a voice, any sound")
    track: int | None = Field(None, ge=1, le=64, description="which of its sound tracks speaks, from 1")
    text: Annotated[str, Field(min_length=1)] | None = Field(None, description="a text to be spoken")
    voice: Annotated[str, Field(min_length=1, max_length=100)] | None = Field(
        None, description="voice or language of a text; see /v1/voices"
    )
    timing: Literal["cues", "flow"] | None = Field(None, description="of a text that is subtitles")
    guide: FileId | None = Field(None, description="upload: a video that shows what the portrait does")
    motion: FileId | None = Field(None, description="upload: ARKit curves, or an engine's own motion")
    sound: FileId | None = Field(None, description="upload: what is heard with motion")
    engine: Annotated[str, Field(min_length=1, max_length=100)] | None = Field(
        None, description="which engine animates; none: the avatar's own, or the default"
    )
    moved_by: Annotated[str, Field(min_length=1, max_length=100)] | None = Field(
        None, description="another engine, whose motion is shown on this portrait"
    )
    options: dict[str, JsonValue] = Field({}, description="options of the engine; see /v1/engines")
    curves: Literal["json", "csv"] | None = Field(
        None, description="also write the ARKit curves of every frame"
    )
    motion_out: Literal["npz"] | None = Field(None, description="also write the engine's own motion")

    @model_validator(mode="after")
    def _plain(self) -> Self:
        if self.voice is not None and (not _VOICE.fullmatch(self.voice) or self.voice.endswith(".onnx")):
            raise InvalidOption("voice: this is not the name of a voice", hint="see /v1/voices")
        if self.text is not None and not self.text.strip():
            raise InvalidOption("the text is blank", hint="give words to be spoken")
        if any("\0" in text for text in (self.text or "", self.avatar or "")):
            raise InvalidOption("a NUL character is no text", hint="leave it out")
        refuse_paths(self.options)
        return self

    @property
    def uploads(self) -> dict[str, str]:
        """Field -> id of an upload."""
        return {name: value for name in PURPOSES if (value := getattr(self, name)) is not None}


class AvatarRequest(CheckedModel):
    """An avatar that is wanted."""

    WHAT: ClassVar[str] = "an avatar"

    name: str = Field(pattern=NAME, description="small letters, digits, - and _; 64 at most")
    portrait: FileId | None = Field(None, description="upload: a photo or a template video")
    engine: Annotated[str, Field(min_length=1, max_length=100)] | None = Field(
        None, description="which engine; none: the default"
    )
    options: dict[str, JsonValue] = Field({}, description="options of the engine; see /v1/engines")
    consent: Annotated[str, Field(max_length=MAX_CONSENT_LENGTH)] = Field(
        "", description="who is seen, and how they agreed; kept with the avatar, its digest in the marks"
    )
    consent_until: Annotated[str, Field(max_length=10)] | None = Field(
        None, description="the last day of it, as 2027-12-31; the avatar refuses to speak afterwards"
    )

    @model_validator(mode="after")
    def _plain(self) -> Self:
        refuse_paths(self.options)
        _ = self.agreed
        return self

    @property
    def agreed(self) -> Consent | None:
        """The consent as it is kept. Raises InvalidOption."""
        return consent_of(self.consent or None, self.consent_until)


class PhotoRequest(CheckedModel):
    """A photo, or a template video, that is to be looked at."""

    WHAT: ClassVar[str] = "a photo"

    portrait: FileId = Field(description="upload: a photo or a template video")


def refuse_paths(options: Mapping[str, Any]) -> None:
    """Raises InvalidOption for an option that names a file, or that is the operator's."""
    for name, value in options.items():
        if name in _OPERATORS:
            raise InvalidOption(
                f"option {name[:40]} cannot be set over HTTP", hint="the service decides on it"
            )
        if isinstance(value, str) and not (_NUMBER.fullmatch(value) or _WORD.fullmatch(value)):
            raise InvalidOption(
                f"option {name[:40]}: over HTTP, options are numbers and plain words",
                hint="a file cannot be named; a style goes by its name, see /v1/styles",
            )
        if isinstance(value, list | dict):
            raise InvalidOption(f"option {name[:40]} is a list or an object", hint="give one value")


def refuse_files(options: Mapping[str, Any], *engines: Engine) -> None:
    """Raises InvalidOption for an option that would name a file to one of these engines: a
    plain word is a file of the worker's folder, too.
    """
    for engine in engines:
        for name in options.keys() & engine.Options.model_fields.keys():
            field, value = engine.Options.model_fields[name], options[name]
            if value is not None and _takes_path(field.annotation):
                raise InvalidOption(
                    f"option {name[:40]} names a file, which cannot be done over HTTP",
                    hint="whoever runs the service can keep an avatar with it",
                )
            if name == _STYLE and field.annotation is str and value not in (field.default, *engine.styles()):
                raise InvalidOption(f"there is no style {str(value)[:40]!r}", hint="see /v1/styles")


def _takes_path(annotation: Any) -> bool:
    is_path = isinstance(annotation, type) and issubclass(annotation, Path)
    return is_path or any(map(_takes_path, get_args(annotation)))


def order_of(request: ClipRequest, inputs: Mapping[str, str], folder: Path) -> Order:
    """The order of a request. inputs: field -> file in the job's folder."""
    fields = request.model_dump(exclude={"curves", "motion_out", *PURPOSES})
    fields |= {name: folder / file for name, file in inputs.items()}
    if request.curves is not None:
        fields["curves_out"] = folder / f"curves.{request.curves}"
    if request.motion_out is not None:
        fields["motion_out"] = folder / f"motion.{request.motion_out}"
    return Order.model_validate({**fields, "output": folder / CLIP})


def checked_clip(request: ClipRequest, studio: Studio, limits: Limits) -> Engine:
    """The engine of a request that can be made, as far as it can be known without opening its
    files. Raises Problem, PersonareError.
    """
    if request.text is not None and len(request.text) > limits.text_characters:
        raise Problem(
            413, f"a text may have {limits.text_characters} characters", "several jobs, a part each"
        )
    order = order_of(request, {name: name for name in request.uploads}, Path())
    options: Mapping[str, Any] = request.options
    name = None if request.engine is None else ready_engine(request.engine, studio).name
    if request.avatar is not None:
        manifest = studio.shelf.load_manifest(request.avatar)
        if name not in (None, manifest.engine):
            raise Problem(
                422, f"this avatar was made for {manifest.engine}, not {name}", "leave the engine out"
            )
        name, options = manifest.engine, {**manifest.options, **options}
    engine = ready_engine(name, studio)
    mover = engine if request.moved_by is None else ready_engine(request.moved_by, studio)
    refuse_files(request.options, engine, mover)
    in_force = engine.read_options(options)
    if engine.brings_portrait(in_force) is None:
        if request.portrait is None and request.avatar is None:
            raise Problem(
                422, "who is to be seen? Give an avatar or a portrait", "see POST /v1/avatars, /v1/files"
            )
    elif request.portrait is not None:
        raise Problem(422, "these options need no portrait", "leave the portrait or the options out")
    check_can(engine, order, None)
    return engine


def ready_engine(name: str | None, studio: Studio) -> Engine:
    """An engine that can run. Raises Problem: 422 for an unknown one, 503 for one that lacks
    something.
    """
    try:
        engine = studio.open(name or DEFAULT_ENGINE)
    except UnknownName as error:
        raise Problem(422, error.message, error.hint, code="unknown-engine") from None
    if missing := engine.missing():
        raise Problem(
            503,
            f"engine {engine.name} is not ready here: {without_paths(missing[0])}",
            "whoever runs the service can install it; see /v1/engines",
            code="engine-not-ready",
        )
    return engine


def fills_machine(engine: Engine) -> bool:
    """Whether it has networks that fill a machine by themselves."""
    return "device" in engine.Options.model_fields
