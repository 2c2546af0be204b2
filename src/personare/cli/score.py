"""`personare score`: how well a clip of one talking face holds together, ours or anybody's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from personare.cli.session import print_json, progress_bar, say
from personare.cli.switches import Given, switches
from personare.errors import UnreadableMedia

if TYPE_CHECKING:
    from personare.types import Phone


@switches()
def score(
    given: Given,
    clip: Annotated[Path, typer.Argument(help="A clip of one talking face.", show_default=False)],
    speech: Annotated[
        Path | None, typer.Option("--speech", help="The voice, if not the clip's own sound.")
    ] = None,
    phones: Annotated[
        Path | None,
        typer.Option(
            "--phones", help="JSON of what is spoken when: [[start s, end s, IPA], ...].", show_default=False
        ),
    ] = None,
    text: Annotated[
        str | None, typer.Option("--text", help="The text that personare's own voice speaks in the clip.")
    ] = None,
    voice: Annotated[str | None, typer.Option("--voice", help="The voice of --text.")] = None,
) -> None:
    """Measure CLIP: lips against sound, silence, stillness, blinks; on its decoded pictures
    alone.
    """
    if phones is not None and text is not None:
        raise typer.BadParameter("give --phones or --text, not both")
    if voice is not None and text is None:
        raise typer.BadParameter("--voice is for --text")

    from personare.score.battery import score_clip
    from personare.score.figures import table

    spoken = (
        read_phones(phones) if phones is not None else None if text is None else phones_of_text(text, voice)
    )
    with progress_bar() as progress:
        result = score_clip(clip, speech, spoken, progress)
    if given.as_json:
        print_json(result)
        return
    say(
        f"{result.clip}: {result.seconds:.1f} s, {result.width}x{result.height} at {result.fps:g} fps, "
        f"{result.frames} pictures"
    )
    for line in table(result.rows):
        say(line)
    say("ed: eye distances, outer corner to outer corner; docs/quality.md says what each row is")


def read_phones(path: Path) -> list[Phone]:
    """Phones from JSON: a list, or the list under "phones", of [start s, end s, IPA]. Raises
    UnreadableMedia.
    """
    from personare.media.text_file import read_text_file
    from personare.types import SAMPLE_RATE, Phone

    hint = (
        'give [[0.00, 0.12, "h"], ...] or {"phones": [...]}: start and end in seconds, then the sound in IPA'
    )
    try:
        content = json.loads(read_text_file(path))
        listed = content["phones"] if isinstance(content, dict) else content
        return [
            Phone(str(symbol), round(float(a) * SAMPLE_RATE), round(float(b) * SAMPLE_RATE))
            for a, b, symbol in listed
        ]
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        raise UnreadableMedia(f"{path}: not a list of phones", hint=hint) from None


def phones_of_text(text: str, voice: str | None) -> list[Phone]:
    """The phones of a text as our synthesiser speaks it. Raises PersonareError; UnreadableMedia
    if it tells no phones.
    """
    from personare.voice.tts import open_text

    found: list[Phone] = []
    for chunk in open_text(text, voice).chunks():
        if chunk.phones is None:
            raise UnreadableMedia(
                "this voice does not tell its phones", hint="pip install 'personare[tts]', or give --phones"
            )
        found += chunk.phones
    return found
