"""What is wrong with an order at first sight, told before anything is made."""

from __future__ import annotations

from pathlib import Path

from av.stream import Disposition

from personare.errors import UnreadableMedia
from personare.ground.outputs import check_apart
from personare.media.demux import opened_container
from personare.media.image import is_picture
from personare.media.local import shown
from personare.studio.order import Order


def check_order(order: Order, portrait: Path) -> None:
    """Raises UnwritableOutput if an output is a file that is read or written already,
    UnreadableMedia if portrait and voice, or portrait and guide, have changed places.

    portrait: that of the cast, which may be an avatar's own or an engine's.
    """
    check_apart(order.outputs(), [*order.inputs(), ("the portrait", portrait)])
    if order.portrait is not None and _is_sound(order.portrait):
        raise UnreadableMedia(
            f"{shown(order.portrait)} is a sound: the portrait comes first",
            hint="give a photo or a video, then the voice",
        )
    if order.speech is not None and _is_picture(order.speech):
        raise UnreadableMedia(
            f"{shown(order.speech)} is a picture: the voice comes second",
            hint="give the portrait, then a sound file",
        )
    if order.guide is None or order.portrait is None:
        return
    if _is_picture(order.guide) and not _is_picture(order.portrait):
        raise UnreadableMedia(
            f"{shown(order.guide)} is a picture: the guide comes second",
            hint="give the portrait, then the video that shows what to do",
        )


def _is_picture(path: Path) -> bool:
    try:
        return is_picture(path)
    except UnreadableMedia:  # whoever opens it says what is wrong with it
        return False


def _is_sound(path: Path) -> bool:
    """Whether the file has sound and no pictures but the cover of an album."""
    if _is_picture(path):
        return False
    try:
        with opened_container(path, "sound") as container:
            moving = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
            return bool(container.streams.audio) and not moving
    except UnreadableMedia:
        return False
