"""The marks themselves: what a clip says of itself, as the AIGC tag and as XMP.

AIGC: Chinese GB 45438-2025, Annex E: a JSON object under the key "AIGC".
XMP: ISO 16684-1; DigitalSourceType, AISystemUsed and AISystemVersionUsed are those of the IPTC
Photo Metadata Standard 2025.1.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

from personare.errors import InvalidOption

AIGC = "AIGC"
"""The key of the Chinese standard."""
XMP_TAG = "xmp"
"""The key under which a stream carries its XMP packet, where no box can follow."""
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
ID_PREFIX = "personare-"
CONTENT_DIGITS = 32
"""Hex digits of the content's digest that an id has."""
GENERATED = "1"
"""The standard's Label for what is generated, not "2" (possibly) or "3" (suspected)."""
_CONTENT_ID = re.compile(rf"{ID_PREFIX}([0-9a-f]{{{CONTENT_DIGITS}}})")
_SPACES = {
    "x": "adobe:ns:meta/",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "xmpMM": "http://ns.adobe.com/xap/1.0/mm/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "personare": "https://personare.org/ns/1.0/",
}
_TEXT_LENGTH = 500


@dataclass(frozen=True, slots=True)
class Mark:
    """What a clip says of itself.

    producer: who answers for the clip: the operator's name, or the code that a provider has in
        China.
    id: names the clip; `content_id` of its streams, or any name of a live session.
    engine: with its version, "puppet 6".
    software: with its version, "personare 0.1.0".
    time: when it was made.
    consent: digest of the consent that the avatar keeps, "" without one.
    """

    producer: str
    id: str
    engine: str
    software: str
    time: datetime
    consent: str = ""

    def aigc(self) -> str:
        """The value of the AIGC tag."""
        fields = {
            "Label": GENERATED,
            "ContentProducer": self.producer,
            "ProduceID": self.id,
            "ReservedCode1": "",
            "ContentPropagator": "",
            "PropagateID": "",
            "ReservedCode2": "",
        }
        return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))

    def xmp(self) -> bytes:
        """The XMP packet."""
        fields = {
            "xmp:CreatorTool": f"{self.software} ({self.engine})",
            "xmp:CreateDate": time_text(self.time),
            "xmpMM:DocumentID": self.id,
            "photoshop:Credit": self.producer,
            "Iptc4xmpExt:DigitalSourceType": SOURCE_TYPE,
            "Iptc4xmpExt:AISystemUsed": self.engine,
            "Iptc4xmpExt:AISystemVersionUsed": self.software,
        }
        if self.consent:
            fields["personare:consent"] = self.consent
        used = {name.partition(":")[0] for name in fields}
        spaces = "".join(f' xmlns:{short}="{_SPACES[short]}"' for short in sorted(used))
        values = "".join(f" {name}={quoteattr(value)}" for name, value in fields.items())
        text = (
            '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
            f'<x:xmpmeta xmlns:x="{_SPACES["x"]}"><rdf:RDF xmlns:rdf="{_SPACES["rdf"]}">'
            f'<rdf:Description rdf:about=""{spaces}{values}/>'
            '</rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
        )
        return text.encode("utf-8")

    def tags(self) -> dict[str, str]:
        """What a clip's index tells."""
        return {AIGC: self.aigc()}

    def stream_tags(self) -> dict[str, str]:
        """What a stream tells in its first bytes: `ClipWriter(metadata=...)`."""
        return {AIGC: self.aigc(), XMP_TAG: self.xmp().decode("utf-8")}


def content_id(digest: str) -> str:
    """The id of a clip by the digest of its content (`content.content_digest`)."""
    return ID_PREFIX + digest[:CONTENT_DIGITS]


def content_of_id(text: str) -> str | None:
    """The digits of the content's digest that an id tells; None for other ids."""
    found = _CONTENT_ID.fullmatch(text)
    return found[1] if found else None


def checked_producer(name: str) -> str:
    """A producer's name in the form in which it is written. Raises InvalidOption."""
    kept = " ".join(name.split())
    if not kept or not kept.isprintable() or len(kept) > 200:
        raise InvalidOption(
            f"{name[:40]!r} is no name of a producer", hint="give 1 to 200 letters: who answers for the clips"
        )
    return kept


def now() -> datetime:
    """The time of a clip that is made now: SOURCE_DATE_EPOCH where it is set (reproducible
    builds), else the clock's; whole seconds. Raises InvalidOption.
    """
    pinned = os.environ.get("SOURCE_DATE_EPOCH")
    try:
        seconds = None if not pinned else int(pinned)
        return datetime.now(UTC).replace(microsecond=0) if seconds is None else _at(seconds)
    except (ValueError, OverflowError, OSError):
        raise InvalidOption(
            f"SOURCE_DATE_EPOCH is {str(pinned)[:40]!r}", hint="set it to seconds since 1970, or not at all"
        ) from None


def time_text(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def read_aigc(text: str | None) -> dict[str, str] | None:
    """The fields of an AIGC tag; None where there is none that can be read."""
    try:
        fields = json.loads(text or "")
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict) or "Label" not in fields:
        return None
    return {str(key)[:100]: str(value)[:_TEXT_LENGTH] for key, value in list(fields.items())[:20]}


def read_xmp(packet: bytes | None) -> dict[str, str] | None:
    """The properties of an XMP packet that we know, by the names that Mark writes; None where
    there is none that can be read. A packet with a document type of its own is not read.
    """
    if packet is None or b"<!DOCTYPE" in packet or b"<!ENTITY" in packet:
        return None
    try:
        root = ElementTree.fromstring(packet)
    except (ElementTree.ParseError, ValueError, LookupError):
        return None
    known = {f"{{{space}}}": f"{short}:" for short, space in _SPACES.items() if short not in ("x", "rdf")}
    found: dict[str, str] = {}
    for element in root.iter(f"{{{_SPACES['rdf']}}}Description"):
        values = dict(element.attrib)
        values |= {child.tag: (child.text or "").strip() for child in element if not len(child)}
        for name, value in values.items():
            space, brace, own = name.partition("}")
            if brace and space + brace in known:
                found.setdefault(known[space + brace] + own, value[:_TEXT_LENGTH])
    return found


def says_generated(aigc: Mapping[str, str] | None, xmp: Mapping[str, str] | None) -> bool:
    """Whether these marks say that a machine made the file, wholly or in part."""
    source = (xmp or {}).get("Iptc4xmpExt:DigitalSourceType", "").lower()
    made = ("trainedalgorithmicmedia", "algorithmicmedia", "compositesynthetic", "algorithmicallyenhanced")
    return (aigc or {}).get("Label") in ("1", "2", "3") or source.endswith(made)


def _at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
