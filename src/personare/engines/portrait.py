"""Which face of a portrait is meant, and what lies behind its transparent places: options that
all wings with a portrait share.

A stage's parameters name them only where they are not at their defaults, so that the keys of
what was prepared without them stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BeforeValidator

from personare.cache.keys import file_digest
from personare.cache.recipe import StageInputs
from personare.errors import EngineError, UnreadableMedia
from personare.media.colour import WHITE, Colour, colour
from personare.types import LARGEST, Avatar, Image, face_choice

if TYPE_CHECKING:
    from personare.media.template import Template

WHITE_TEXT = "#ffffff"


def colour_text(value: str) -> str:
    """#rrggbb in small letters. Raises ValueError for anything else."""
    colour(value)
    return value.lower()


FaceChoice = Annotated[str, BeforeValidator(face_choice)]
Background = Annotated[str, AfterValidator(colour_text)]
FACE_CHOICE = "which of several faces speaks: largest, left, right, or a number counted from the left"
BACKGROUND = "#RRGGBB that lies behind what is transparent in the portrait"


def face_parameter(choice: str) -> dict[str, str]:
    """The parameter of a stage that finds the face."""
    return {} if choice == LARGEST else {"face": choice}


def background_parameter(background: str) -> dict[str, str]:
    """The parameter of a stage that reads the portrait. background: an option's value, which
    may say other things than a colour.
    """
    return {"background": background} if background.startswith("#") and background != WHITE_TEXT else {}


def chosen(parameters: Mapping[str, Any]) -> str:
    """The face that a stage's parameters ask for."""
    return str(parameters.get("face", LARGEST))


def ground(background: str) -> Colour:
    """The colour behind transparent places; white for an option that says other things."""
    return colour(background) if background.startswith("#") else WHITE


def picture_of(inputs: StageInputs) -> Image:
    """The portrait's picture as a stage is to see it."""
    from personare.perception.portrait import read_portrait

    return read_portrait(inputs.portrait, ground(str(inputs.parameters.get("background", WHITE_TEXT))))


def own_photo(avatar: Avatar, background: str) -> Image:
    """The photo that an avatar was prepared from, for who puts something back into it. Raises
    EngineError without one, UnreadableMedia if the file has become another since.
    """
    from personare.perception.portrait import read_portrait

    photo = avatar.portrait_file
    if photo is None:
        raise EngineError("framing=original needs the avatar's photo", hint="prepare the avatar again")
    if avatar.portrait and file_digest(photo) != avatar.portrait:
        raise UnreadableMedia(
            f"{photo} is not the photo that was prepared: it has changed", hint="prepare the avatar again"
        )
    return read_portrait(photo, ground(background))


def template_of(inputs: StageInputs) -> Template:
    """The portrait as a template, as a stage is to see it."""
    return shown_template(inputs.portrait, str(inputs.parameters.get("background", WHITE_TEXT)))


def shown_template(portrait: Path, background: str, **rate: Any) -> Template:
    """The same for a performance. rate: `fps`."""
    from personare.perception.portrait import portrait_template

    return portrait_template(portrait, background=ground(background), **rate)
