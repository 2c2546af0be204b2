"""`personare verify`: what a file says of itself, ours or anybody's."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from personare.cli.session import print_json, progress_bar, say
from personare.cli.switches import Given, switches
from personare.errors import UnreadableMedia, one_line

if TYPE_CHECKING:
    from personare.provenance.fingerprint import Fingerprint
    from personare.provenance.verify import Verified

MAX_STDIN_BYTES = 4 << 30
LOOK_SECONDS = 60
NOTHING_SAYS_CODE, ALTERED_CODE = 6, 7


@switches()
def verify(
    given: Given,
    file: Annotated[str, typer.Argument(help="A clip; - is stdin.", show_default=False)],
    trust: Annotated[
        list[Path] | None,
        typer.Option(
            "--trust", help="PEM of a root whose signers are known; may be repeated.", show_default=False
        ),
    ] = None,
    look: Annotated[
        bool,
        typer.Option(
            "--look", help="Also compare how its mouth moves with the clips that this machine made."
        ),
    ] = False,
) -> None:
    """Read the marks of FILE. Exit code 0: it says, or this machine knows, that it was
    generated; 6: nothing says so; 7: it is not what its marks were made for.
    """
    from personare.provenance.settings import read_marks_settings
    from personare.provenance.signing import anchors_of
    from personare.provenance.verify import verify as look_at

    anchors = anchors_of(read_marks_settings(), tuple(trust or ()))
    with _file(file) as path:
        name = "stdin" if file == "-" else file
        found = look_at(path, name=name, anchors=anchors)
        if look and found.made is None:
            found = look_at(path, name=name, anchors=anchors, mouth=_mouth(path))
    if given.as_json:
        print_json(found)
    else:
        for line in lines(found):
            say(line)
    if found.verdict == "altered":
        raise typer.Exit(ALTERED_CODE)
    if not found.generated and found.made is None:
        raise typer.Exit(NOTHING_SAYS_CODE)


def lines(found: Verified) -> list[str]:
    """What was found, for people."""
    from personare.provenance.verify import SENTENCES

    first = f"{found.file}: {found.verdict}: {SENTENCES[found.verdict]}"
    return [one_line(first), *(f"  {one_line(line)}" for line in _details(found))]


def _details(found: Verified) -> list[str]:
    told: list[str] = []
    if found.aigc is not None:
        aigc = found.aigc
        told.append(f"AIGC: by {aigc.get('ContentProducer', '?')!r}, id {aigc.get('ProduceID', '?')}")
    if found.xmp is not None:
        xmp = found.xmp
        source = xmp.get("Iptc4xmpExt:DigitalSourceType", "?").rpartition("/")[2]
        made = f"{xmp.get('xmp:CreateDate', '?')} by {xmp.get('xmp:CreatorTool', '?')}"
        told.append(f"XMP: {source}, made {made}")
    if found.content_fits is not None:
        fits = "are those" if found.content_fits else "are not those"
        told.append(f"content: pictures and sound {fits} that the marks name")
    if found.signature is not None:
        signed = found.signature
        failures = f" ({', '.join(signed.failures)})" if signed.failures else ""
        told.append(f"C2PA: {signed.state}{failures}; by {signed.signer or '?'}")
    elif found.signature_unread:
        told.append("C2PA: a signature that was not read; pip install 'personare[provenance]'")
    if found.made is not None:
        by = "" if found.likeness is None else f", its mouth moves alike ({found.likeness:.2f})"
        told.append(f"made here: {found.made.time} as {found.made.name}, {found.made.engine}{by}")
    return told


def _mouth(path: Path) -> Fingerprint:
    from personare.media.video import VideoSource
    from personare.provenance.fingerprint import Fingerprint
    from personare.score.opening import watch

    source = VideoSource(path)
    most = round(LOOK_SECONDS * float(source.fps))
    with progress_bar() as progress:
        seen = watch(islice(source.frames(), most), lambda done: progress("looking", done, most))
    return Fingerprint.of_series(seen.gap, float(source.fps))


@contextmanager
def _file(given: str) -> Iterator[Path]:
    """The file itself, or stdin in one that is gone at the end. Raises UnreadableMedia."""
    if given != "-":
        yield Path(given)
        return
    with tempfile.NamedTemporaryFile(prefix="personare-") as kept:
        left = MAX_STDIN_BYTES
        try:
            while left > 0 and (block := sys.stdin.buffer.read(min(1 << 20, left))):
                kept.write(block)
                left -= len(block)
            kept.flush()
        except OSError as error:
            raise UnreadableMedia(f"-: {error.strerror or error}", hint="check what is piped in") from None
        if not left:
            raise UnreadableMedia(f"stdin holds more than {MAX_STDIN_BYTES >> 30} GB", hint="give a file")
        yield Path(kept.name)
