"""Text to speech, offline: text in, a `Speech` with phone times out.

    text -> clean_text, guess_language -> match_voice -> back end (a child process) -> phones,
    soxr -> Speech

Back ends of a bare language or voice name, in the order they are tried: the espeak-ng library
of the package `espeakng_loader` (extra `[tts]`; GPL-3.0, so it is optional), the system's
libespeak-ng, an installed `espeak-ng` or `espeak` program (sound only: `phones` is None and the
engine listens). With a prefix: Piper and Kokoro voices that lie on this disk, run on
onnxruntime with phone times from their own durations (`piper:`, `kokoro:`), and voices over the
network (`gtts:`, `edge:`; extras, sound only).
"""

from personare.voice.tts.backends import BackEnd, find_back_ends
from personare.voice.tts.catalogue import VoiceInfo, voices
from personare.voice.tts.speech import open_text

__all__ = ["BackEnd", "VoiceInfo", "find_back_ends", "open_text", "voices"]
