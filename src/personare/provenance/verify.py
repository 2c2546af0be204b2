"""What anybody's file says of itself, whether that fits it, and whether this machine made it.

A verdict is about marks, never about pictures: "unmarked" does not mean that no machine made
the file, for every remux may drop what is not signed into it, and anybody may write a mark.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from personare.errors import UnreadableMedia
from personare.media.demux import opened_container
from personare.media.local import open_local
from personare.provenance.boxes import Embedded, read_embedded
from personare.provenance.content import content_of
from personare.provenance.fingerprint import Fingerprint
from personare.provenance.installed import is_installed
from personare.provenance.ledger import Ledger, Made
from personare.provenance.marks import (
    AIGC,
    XMP_TAG,
    content_id,
    content_of_id,
    read_aigc,
    read_xmp,
    says_generated,
)
from personare.provenance.signature import Signature, read_signature

Verdict = Literal["signed", "marked", "altered", "known", "alike", "unmarked"]
SENTENCES: Mapping[Verdict, str] = {
    "signed": "a whole signature, by somebody who is known here, says what it is",
    "marked": "nothing contradicts its marks, but anybody could have written them",
    "altered": "it is not, or no longer, what its marks were made for",
    "known": "it has no marks, but this machine made it",
    "alike": "it has no marks, but its mouth moves as in a clip that this machine made",
    "unmarked": "nothing says what it is: it may be generated all the same",
}


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found in one file.

    verdict: see SENTENCES. generated: what the marks say; None where they say nothing.
    aigc: fields of the AIGC tag. xmp: properties that we know.
    content: the id that follows from pictures and sound; "" where they cannot be read.
    content_fits: whether that is the id in the marks; None for marks without such an id.
    signature: a C2PA signature; None without one, and where nothing is installed that reads it.
    signature_unread: whether there is one all the same.
    made: the clip of this machine that it is. likeness: of how the mouths move, where that was
        what told; 1 is the same.
    """

    file: str
    verdict: Verdict
    generated: bool | None
    aigc: Mapping[str, str] | None
    xmp: Mapping[str, str] | None
    content: str
    content_fits: bool | None
    signature: Signature | None
    signature_unread: bool
    made: Made | None
    likeness: float | None


def verify(path: Path, *, name: str = "", anchors: str = "", mouth: Fingerprint | None = None) -> Verified:
    """Look at a file. Nothing in it is executed, followed or fetched.

    name: for messages, by default the path.
    anchors: PEM of roots whose signers are trusted.
    mouth: how the mouth in it moves, to look for a clip of this machine by it.

    Raises UnreadableMedia for what is no sound or video at all.
    """
    with open_local(path) as file:
        embedded = read_embedded(file)
    tags, content = _contained(path, embedded)
    aigc = read_aigc(tags.get(AIGC))
    xmp = read_xmp(embedded.xmp) or read_xmp(tags[XMP_TAG].encode() if XMP_TAG in tags else None)
    signature = read_signature(path, anchors) if embedded.signed and is_installed() else None
    claimed = next(
        filter(
            None,
            map(content_of_id, ((aigc or {}).get("ProduceID", ""), (xmp or {}).get("xmpMM:DocumentID", ""))),
        ),
        None,
    )
    fits = None if claimed is None else content_of_id(content) == claimed
    ledger, likeness = Ledger(), None
    made = ledger.find(content)
    if made is None and mouth is not None and (alike := ledger.most_like(mouth)) is not None:
        made, likeness = alike[0], round(alike[1], 3)
    generated = _generated(aigc, xmp, signature)
    return Verified(
        file=name or str(path),
        verdict=_verdict(generated, fits, signature, aigc is not None or xmp is not None, made, likeness),
        generated=generated,
        aigc=aigc,
        xmp=xmp,
        content=content,
        content_fits=fits,
        signature=signature,
        signature_unread=embedded.signed and signature is None,
        made=made,
        likeness=likeness,
    )


def _contained(path: Path, embedded: Embedded) -> tuple[dict[str, str], str]:
    """The tags of the container, and the id of its content ("" for one that breaks off)."""
    with opened_container(path, "video") as container:
        tags = {key.casefold(): value for key, value in container.metadata.items()}
    # Matroska writes its keys in capitals
    found = {key: tags[key.casefold()] for key in (AIGC, XMP_TAG) if key.casefold() in tags}
    try:
        content = content_id(content_of(path).digest)
    except UnreadableMedia:
        content = ""
    return {**found, **embedded.tags}, content


def _generated(
    aigc: Mapping[str, str] | None, xmp: Mapping[str, str] | None, signature: Signature | None
) -> bool | None:
    if signature is not None and signature.state != "broken" and signature.source_type:
        return says_generated(None, {"Iptc4xmpExt:DigitalSourceType": signature.source_type})
    if says_generated(aigc, xmp):
        return True
    return None if aigc is None and "Iptc4xmpExt:DigitalSourceType" not in (xmp or {}) else False


def _verdict(
    generated: bool | None,
    fits: bool | None,
    signature: Signature | None,
    marked: bool,
    made: Made | None,
    likeness: float | None,
) -> Verdict:
    if signature is not None and signature.state == "broken":
        return "altered"
    if fits is False and (signature is None or signature.state != "trusted"):
        return "altered"
    if signature is not None and signature.state == "trusted":
        return "signed"
    if generated is not None and (marked or signature is not None):
        return "marked"
    if made is None:
        return "unmarked"
    return "known" if likeness is None else "alike"
