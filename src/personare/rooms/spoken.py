"""What a streamed face says: texts, sound files, or the lines of the standard input."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, NoReturn

from personare.errors import EngineError, InvalidOption, PersonareError
from personare.media.audio import open_speech
from personare.media.local import read_at_most
from personare.rooms.face import Ended, Face, Moment

KEY = "PERSONARE_STREAM_KEY"
_MOST_KEY = 4096


def parser(what: str) -> argparse.ArgumentParser:
    """The switches that all streams have."""
    made = argparse.ArgumentParser(description=what)
    made.add_argument("portrait", nargs="?", help="a picture; without one the bundled portrait")
    made.add_argument("--avatar", default="", help="the name of a kept avatar, instead")
    made.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="an engine's option")
    made.add_argument("--say", action="append", default=[], metavar="TEXT", help="a text to say")
    made.add_argument("--speech", action="append", default=[], type=Path, help="a sound file to say")
    made.add_argument("--voice", help="of the texts: a name of `personare voices`")
    made.add_argument("--no-badge", action="store_true", help="no sign in the picture: you tell viewers")
    return made


def take_key(made: argparse.ArgumentParser, what: str) -> None:
    """A secret of a server, from where no list of processes shows it."""
    told = f"file whose first line is {what}; without one, the variable {KEY} may have it"
    made.add_argument("--key-file", type=Path, metavar="FILE", help=told)


def key_of(given: argparse.Namespace) -> str:
    """The secret, "" for none. Raises UnreadableMedia, InvalidOption."""
    if given.key_file is None:
        return os.environ.get(KEY, "").strip()
    try:
        return read_at_most(given.key_file, _MOST_KEY).decode("ascii").partition("\n")[0].strip()
    except UnicodeDecodeError:
        raise InvalidOption(f"{given.key_file} holds no key", hint="one line of plain letters") from None


def face_of(given: argparse.Namespace, rate: int) -> Face:
    """The face that switches ask for."""
    options = dict(pair.partition("=")[::2] for pair in given.set)
    return Face(given.avatar, portrait=given.portrait, options=options, rate=rate, badge=not given.no_badge)


async def speak(face: Face, given: argparse.Namespace) -> None:
    """Say what switches name, files first; without any, each line of the standard input."""
    for path in given.speech:
        speech = open_speech(path)
        for chunk in speech.chunks():
            await face.hear(chunk.voice.mean(axis=1), speech.voice_rate)
        face.end()
    for text in given.say:
        face.say(text, given.voice)
    while not (given.say or given.speech):
        line = await asyncio.to_thread(sys.stdin.readline)
        if not line:
            return
        if line.strip():
            face.say(line.strip(), given.voice)


async def moments(face: Face, speaking: Coroutine[Any, Any, None]) -> AsyncIterator[Moment]:
    """What a face shows while it is told what to say, until all has been said. Raises
    EngineError at the end if something was not.
    """
    task, unsaid = asyncio.ensure_future(speaking), 0
    try:
        async for what in face:
            if isinstance(what, Moment):
                yield what
            unsaid += isinstance(what, Ended) and what.interrupted
            if task.done() and face.is_silent:
                break
        await task
    finally:
        task.cancel()
    if unsaid:
        raise EngineError(
            f"not all was said: {unsaid} of it stopped or had no voice", hint="personare voices"
        )


def main(run: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a stream as a command: errors in one line, Ctrl-C ends it."""
    try:
        asyncio.run(run())
    except PersonareError as error:
        hint = f"\nhint: {error.hint}" if error.hint else ""
        sys.stderr.write(f"error: {error.message}{hint}\n")
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def lacks(package: str, extra: str, name: str) -> NoReturn:
    """A room's package is not there. name: of the room's module; as a command it ends with one
    line. Raises ImportError, SystemExit.
    """
    told = f"{package} is not installed"
    hint = f"pip install 'personare[{extra}]'"
    if name == "__main__":
        sys.stderr.write(f"error: {told}\nhint: {hint}\n")
        raise SystemExit(EngineError.exit_code)
    raise ImportError(f"{told}: {hint}")


def arguments(made: argparse.ArgumentParser, words: Sequence[str] | None) -> argparse.Namespace:
    """Parsed, or a one-line refusal."""
    given = made.parse_args(words)
    for pair in given.set:
        if "=" not in pair:
            made.error(f"--set {pair}: KEY=VALUE is expected")
    return given
