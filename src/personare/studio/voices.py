"""What an order says: its voice, or its text spoken."""

from __future__ import annotations

from pathlib import Path

from personare.errors import UnreadableMedia
from personare.media.audio import open_speech
from personare.studio.order import Order
from personare.types import Speech


def open_voice(order: Order) -> Speech:
    """The speech of an order that has one, or a text. Raises PersonareError."""
    if order.speech is not None:
        return open_speech(order.speech)
    from personare.voice.tts import open_text

    return open_text(order_text(order), order.voice)


def order_text(order: Order) -> str:
    """The text of an order that has one. Raises UnreadableMedia."""
    if order.text_file is None:
        return order.text or ""
    try:
        return decoded_text(order.text_file.read_bytes(), str(order.text_file))
    except OSError as error:
        raise UnreadableMedia(
            f"{order.text_file}: {error.strerror or error}", hint="check the path"
        ) from None


def decoded_text(raw: bytes, name: str | Path) -> str:
    """UTF-8, with or without a byte-order mark. name: for the message. Raises UnreadableMedia."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UnreadableMedia(f"{name}: not a UTF-8 text", hint="save the text as UTF-8") from None
