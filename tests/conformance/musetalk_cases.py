"""musetalk: each golden name and the function that replays it. Tolerances are those of
musetalk/README.md.
"""

from __future__ import annotations

from collections.abc import Mapping

from tests.conformance import musetalk_networks, musetalk_pictures, musetalk_speech_to_frames, musetalk_voice
from tests.conformance.case import Case

CASES: Mapping[str, Case] = {
    **musetalk_networks.CASES,
    **musetalk_voice.CASES,
    **musetalk_pictures.CASES,
    **musetalk_speech_to_frames.CASES,
}
