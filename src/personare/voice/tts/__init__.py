"""Text to speech, offline: text in, a `Speech` with phone times out.

    text -> clean_text, guess_language -> match_voice -> back end (a child process) -> phones, soxr -> Speech

Back ends, in the order they are tried: the espeak-ng library of the package `espeakng_loader` (extra `[tts]`; GPL-3.0,
so it is optional), the system's libespeak-ng, an installed `espeak-ng` or `espeak` program (sound only: `phones` is
None and the engine listens).
"""

from personare.voice.tts.backends import BackEnd, find_back_ends
from personare.voice.tts.catalogue import VoiceInfo, voices
from personare.voice.tts.speech import VOICE_RATE, open_text

__all__ = ["VOICE_RATE", "BackEnd", "VoiceInfo", "find_back_ends", "open_text", "voices"]
