"""What an order says: its voice, or its text spoken."""

from __future__ import annotations

from personare.media.audio import open_speech
from personare.media.text_file import read_text_file
from personare.studio.order import Order
from personare.types import Speech


def open_voice(order: Order) -> Speech:
    """The speech of an order that has one, or a text. Raises PersonareError."""
    if order.speech is not None:
        return open_speech(order.speech, order.track)
    from personare.voice.tts import open_text

    return open_text(order_text(order), order.voice, timing=order.timing or "cues")


def order_text(order: Order) -> str:
    """The text of an order that has one. Raises UnreadableMedia."""
    return order.text or "" if order.text_file is None else read_text_file(order.text_file)
