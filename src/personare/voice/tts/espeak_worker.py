"""The child process that holds libespeak-ng: one JSON request on stdin, framed messages on
stdout.

    python espeak_worker.py < request

libespeak-ng can take its process down (it has crashed when voices are switched and on some
texts), so it never runs in ours. This file needs the standard library only: the parent starts
it with `python -I`, by path.

Request: {"library": path or name, "data": folder or null}, and to speak "voice": identifier and
"texts": [...]; without them the voices are listed; with "ipa": true the texts are not spoken
but written as phonemes. Message: one byte kind, uint32 length (little-endian), payload:

    V  JSON {"voices": [{"name", "identifier", "languages": [[priority, tag], ...]}], "variants": [...]}
    R  uint32: samples per second; before any sound
    A  mono int16 sound, native byte order (both ends run on one machine)
    P  JSON [[sample, IPA symbol], ...]: where phonemes start, counted from the first sample of the utterance;
       comes after the sound that holds those samples
    I  JSON ["ipa of a text, with its commas and full stops", ...]: one string per text
    E  JSON {"message"}: what went wrong; nothing follows
    Z  empty: complete
"""

from __future__ import annotations

import ctypes
import json
import re
import signal
import struct
import sys
from typing import Any

HEADER = struct.Struct("<cI")

# speak_lib.h
_AUDIO_OUTPUT_SYNCHRONOUS = 2
_INITIALIZE_PHONEME_EVENTS = 0x0001
_INITIALIZE_PHONEME_IPA = 0x0002
_INITIALIZE_DONT_EXIT = 0x8000
_CHARS_UTF8 = 1
_END_PAUSE = 0x1000
_EVENT_LIST_TERMINATED = 0
_EVENT_PHONEME = 7
_PHONEMES_IPA = 0x02
_BUFFER_MILLISECONDS = 250

_CLAUSE_END = re.compile(r"([,.;:!?…，。；：！？、])[^,.;:!?…，。；：！？、]{0,3}$")
_MARKS = {"，": ",", "、": ",", "。": ".", "；": ";", "：": ":", "！": "!", "？": "?", "…": "."}


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("string", ctypes.c_char * 8),
    )


class _Voice(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_void_p),
        ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("reserved", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    )


_SynthCallback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


class RequestError(Exception):
    """The library refused; the message goes to the parent."""


def send(kind: bytes, payload: bytes = b"") -> None:
    sys.stdout.buffer.write(HEADER.pack(kind, len(payload)) + payload)
    sys.stdout.buffer.flush()


def _load(path: str, data: str | None) -> tuple[ctypes.CDLL, int]:
    try:
        library = ctypes.CDLL(path)
    except OSError as error:
        raise RequestError(f"{path} cannot be loaded: {error}") from None
    options = _INITIALIZE_PHONEME_EVENTS | _INITIALIZE_PHONEME_IPA | _INITIALIZE_DONT_EXIT
    folder = data.encode() if data else None
    rate = library.espeak_Initialize(_AUDIO_OUTPUT_SYNCHRONOUS, _BUFFER_MILLISECONDS, folder, options)
    if rate <= 0:
        raise RequestError(f"{path} found no voice data")
    return library, rate


def _languages(address: int) -> list[tuple[int, str]]:
    """The list that espeak keeps as (priority byte, zero-terminated tag) pairs, ended by a zero
    priority.
    """
    found = []
    while priority := ctypes.c_ubyte.from_address(address).value:
        tag = ctypes.string_at(address + 1)
        found.append((priority, tag.decode("utf-8", "replace").lower()))
        address += len(tag) + 2
    return found


def _list(library: ctypes.CDLL) -> dict[str, Any]:
    library.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_Voice))
    library.espeak_ListVoices.argtypes = [ctypes.POINTER(_Voice)]

    def entries(specification: _Voice | None) -> list[dict[str, Any]]:
        listed = library.espeak_ListVoices(ctypes.byref(specification) if specification else None)
        found = []
        position = 0
        while listed[position]:
            voice = listed[position].contents
            found.append(
                {
                    "name": voice.name.decode("utf-8", "replace").strip(),
                    "identifier": voice.identifier.decode("utf-8", "replace"),
                    "languages": _languages(voice.languages),
                }
            )
            position += 1
        return found

    variant_tag = ctypes.create_string_buffer(b"variant")
    variants = entries(_Voice(languages=ctypes.cast(variant_tag, ctypes.c_void_p)))
    return {
        "voices": entries(None),
        "variants": [
            v["identifier"].removeprefix("!v/") for v in variants if v["identifier"].startswith("!v/")
        ],
    }


def _speak(library: ctypes.CDLL, rate: int, voice: str, texts: list[str]) -> None:
    if library.espeak_SetVoiceByName(voice.encode()) != 0:
        raise RequestError(f"espeak-ng cannot load its voice {voice!r}")
    send(b"R", struct.pack("<I", rate))
    sent = 0
    text_began = 0
    failure: list[BaseException] = []

    def hear(wave: Any, count: int, events: Any) -> int:
        nonlocal sent
        try:
            if wave and count > 0:
                send(b"A", ctypes.string_at(wave, 2 * count))
                sent += count
            phonemes = []
            position = 0
            while (event := events[position]).type != _EVENT_LIST_TERMINATED:
                if event.type == _EVENT_PHONEME:
                    phonemes.append([text_began + event.sample, event.string.decode("utf-8", "ignore")])
                position += 1
            if phonemes:
                send(b"P", json.dumps(phonemes).encode())
        except BaseException as error:  # an exception cannot pass through the C library
            failure.append(error)
            return 1
        return 0

    callback = _SynthCallback(hear)
    library.espeak_SetSynthCallback(callback)
    for position, text in enumerate(texts):
        text_began = sent
        flags = _CHARS_UTF8 if position == len(texts) - 1 else _CHARS_UTF8 | _END_PAUSE
        encoded = text.encode()
        status = library.espeak_Synth(encoded, len(encoded) + 1, 0, 1, 0, flags, None, None)
        if failure:
            raise failure[0]
        if status != 0:
            raise RequestError(f"espeak-ng could not speak the text (status {status})")


def _phonemes(library: ctypes.CDLL, voice: str, texts: list[str]) -> list[str]:
    """IPA of each text. The library reads clause by clause and drops what ended the clause:
    that is put back.
    """
    if library.espeak_SetVoiceByName(voice.encode()) != 0:
        raise RequestError(f"espeak-ng cannot load its voice {voice!r}")
    library.espeak_TextToPhonemes.restype = ctypes.c_char_p
    library.espeak_TextToPhonemes.argtypes = [ctypes.POINTER(ctypes.c_void_p), ctypes.c_int, ctypes.c_int]
    written = []
    for text in texts:
        encoded = ctypes.create_string_buffer(text.encode())
        left = ctypes.c_void_p(ctypes.addressof(encoded))
        clauses = []
        while left.value:
            before = ctypes.string_at(left.value)
            spoken = library.espeak_TextToPhonemes(ctypes.byref(left), _CHARS_UTF8, _PHONEMES_IPA).decode(
                "utf-8", "replace"
            )
            after = ctypes.string_at(left.value) if left.value else b""
            read = before[: len(before) - len(after)].decode("utf-8", "ignore").rstrip()
            mark = _CLAUSE_END.search(read)
            clauses.append(spoken.strip() + (_MARKS.get(mark[1], mark[1]) if mark else ""))
        written.append(" ".join(clauses))
    return written


def main() -> None:
    # Ctrl-C reaches the whole process group; dying silently leaves the words to the parent
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    request = json.loads(sys.stdin.buffer.read())
    try:
        library, rate = _load(request["library"], request["data"])
        if request.get("ipa"):
            send(b"I", json.dumps(_phonemes(library, request["voice"], request["texts"])).encode())
        elif "texts" in request:
            _speak(library, rate, request["voice"], request["texts"])
        else:
            send(b"V", json.dumps(_list(library)).encode())
        send(b"Z")
    except RequestError as error:
        send(b"E", json.dumps({"message": str(error)}).encode())
    except BrokenPipeError:
        # the parent went away; a second failure while the interpreter closes stdout would only
        # add noise
        sys.stderr.close()


if __name__ == "__main__":
    main()
