"""Which voices there are, and which one a name means."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

from personare.errors import EngineError, InputError, UnknownName, WeightsMissing
from personare.voice.tts import kokoro, network, piper
from personare.voice.tts.backends import BackEnd, Catalogue, CatalogueVoice, EspeakLibrary, find_back_ends
from personare.voice.tts.neural_voice import Phonemizer

INSTALL_HINT = "pip install 'personare[tts]'  or  apt install espeak-ng"

# what people write -> the tag of the voice that is meant; "en" alone would be British
_ALIASES = {
    "en": "en-us",
    "zh-cn": "zh",
    "zh-hans": "zh",
    "zh-tw": "zh",
    "zh-hant": "zh",
    "zh-hk": "yue",
    "iw": "he",
}
_EXPECTED = (
    ("English (America)", "en-us"), ("Chinese (Mandarin)", "zh"), ("Japanese", "ja"), ("German", "de"),
    ("French (France)", "fr"), ("Spanish (Spain)", "es"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class VoiceInfo:
    """A voice, as `personare voices` shows it.

    name: what open_text and --voice take, a language tag wherever it is unique. language: the
    tag without region. needed: how to install it, "" if it can speak now.
    """

    name: str
    language: str
    description: str
    backend: str
    needed: str = ""

    @property
    def available(self) -> bool:
        return not self.needed


@lru_cache(maxsize=8)
def _catalogue(back_end: BackEnd) -> Catalogue:
    return back_end.catalogue()


def working_back_end(back_ends: Sequence[BackEnd] | None = None) -> tuple[BackEnd, Catalogue]:
    """The first back end that answers, and its voices.

    Raises WeightsMissing if nothing is installed, and the last back end's EngineError if all
    that are installed fail.
    """
    failure: EngineError | None = None
    for back_end in find_back_ends() if back_ends is None else back_ends:
        try:
            return back_end, _catalogue(back_end)
        except EngineError as error:
            failure = error
    if failure:
        raise failure
    raise WeightsMissing("no speech synthesiser is installed", hint=INSTALL_HINT)


Chosen = tuple[BackEnd, str, CatalogueVoice]
"""A back end, what it calls the voice (with its variant), and the voice."""


def choose_voice(wanted: str, back_ends: Sequence[BackEnd] | None = None) -> Chosen:
    """The back end, the identifier (with variant) and the voice that a name means.

    A name with a prefix ("piper:", "kokoro:", "gtts:", "edge:") or the path of a Piper voice
    names that back end; everything else is espeak's. Raises UnknownName with close matches,
    WeightsMissing with what to install, EngineError.
    """
    kind, colon, name = wanted.strip().partition(":")
    if wanted.strip().endswith(".onnx"):
        return piper.voice_at(wanted.strip(), _ipa_of(back_ends))
    if colon and kind in ("piper", "kokoro"):
        ipa = _ipa_of(back_ends)
        return piper.choose(name, ipa) if kind == "piper" else kokoro.choose(name, ipa)
    if colon and kind in network.KINDS:
        return network.choose(kind, name)
    back_end, catalogue = working_back_end(back_ends)
    identifier, entry = match_voice(catalogue, wanted)
    return back_end, identifier, entry


def voice_for(language: str, text: str, like: str, back_ends: Sequence[BackEnd] | None = None) -> Chosen:
    """A voice that reads `text` beside the voice that `like` names, in its style where there is
    one.

    For a Kokoro voice one of Kokoro, of the same sex if possible; for a neural voice the first
    one on this disk that knows the language; else espeak's, with the same variant ("+f3").
    language: a tag, or the name of a script that no language here is written in. Raises
    InputError.
    """
    kind, colon, name = like.strip().partition(":")
    neural = bool(colon) or like.strip().endswith(".onnx")
    if neural and kind == "kokoro":
        known = [voice for voice, tag in kokoro.on_disk() if tag == language]
        for voice in sorted(known, key=lambda voice: voice[1:2] != name.strip()[1:2]):
            return choose_voice(f"kokoro:{voice}", back_ends)
    if neural:
        for found in piper.on_disk():
            if found.language in (language, {"zh": "cmn"}.get(language)):
                return choose_voice(f"piper:{found.name}", back_ends)
    _, plus, variant = like.partition("+") if not neural else ("", "", "")
    try:
        return choose_voice(f"{language}{plus}{variant}", back_ends)
    except UnknownName:
        letter = next((c for c in text if c.isalpha() and not c.isascii()), text[:1])
        raise InputError(
            f"no installed voice reads {letter!r} (language or script: {language})",
            hint="leave it out, or write it in letters that the voice reads; `personare voices` lists them",
        ) from None


def _ipa_of(back_ends: Sequence[BackEnd] | None) -> Phonemizer:
    """What writes phonemes for neural voices. Raises WeightsMissing without espeak-ng's
    library.
    """
    for back_end in find_back_ends() if back_ends is None else back_ends:
        if isinstance(back_end, EspeakLibrary):
            return partial(_write_ipa, back_end)
    raise WeightsMissing("neural voices need espeak-ng's library to write phonemes", hint=INSTALL_HINT)


def _write_ipa(library: EspeakLibrary, texts: Sequence[str], language: str) -> list[str]:
    identifier, _ = match_voice(_catalogue(library), language)
    return library.ipa(texts, identifier)


def voices(back_ends: Sequence[BackEnd] | None = None) -> list[VoiceInfo]:
    """All voices by language: those of the first working espeak (without one, the usual ones
    and what they need), then the neural voices on this disk, then network voices.

    espeak's can be varied, as in "en-us+f3". Its Japanese voice reads kana only (it says
    "Chinese letter" for every kanji), so open_text refuses kanji for it. Raises EngineError if
    no installed one works.
    """
    return [*_espeak_voices(back_ends), *_neural_voices(), *_network_voices()]


def _neural_voices() -> list[VoiceInfo]:
    found = [VoiceInfo(f"piper:{v.name}", v.language, v.description, "Piper") for v in piper.on_disk()]
    found += [
        VoiceInfo(f"kokoro:{name}", language, "Kokoro-82M", "Kokoro") for name, language in kokoro.on_disk()
    ]
    if not any(v.backend == "Piper" for v in found):
        found.append(VoiceInfo("piper:NAME", "", "any Piper voice", "Piper", piper.NEEDED))
    if not any(v.backend == "Kokoro" for v in found):
        found.append(VoiceInfo("kokoro:NAME", "", "Kokoro-82M", "Kokoro", kokoro.NEEDED))
    return found


def _network_voices() -> list[VoiceInfo]:
    return [
        VoiceInfo(f"{kind}:{example}", "", what, what, needed)
        for kind, example, what, needed in network.listed()
    ]


def _espeak_voices(back_ends: Sequence[BackEnd] | None) -> list[VoiceInfo]:
    try:
        back_end, catalogue = working_back_end(back_ends)
    except WeightsMissing as error:
        return [
            VoiceInfo(tag, tag.partition("-")[0], name, "espeak-ng", error.hint) for name, tag in _EXPECTED
        ]
    found: dict[str, VoiceInfo] = {}
    for voice in catalogue.voices:
        tags = [tag for _, tag in voice.languages]
        name = voice.name if not tags or tags[0] in found else tags[0]
        language = min(tags, key=len, default="").partition("-")[0]
        found[name] = VoiceInfo(name, language, voice.name, back_end.name)
    return sorted(found.values(), key=lambda v: (v.language, v.name))


def match_voice(catalogue: Catalogue, wanted: str) -> tuple[str, CatalogueVoice]:
    """The identifier (with variant) and the voice meant by a language tag or voice name, either
    with "+variant".

    A name wins over a tag, a tag over its language alone ("fr-ca" -> "fr"). Raises UnknownName
    with close matches.
    """
    name, plus, variant = wanted.strip().partition("+")
    voice = _find(catalogue, name.strip().lower())
    if voice is None:
        raise UnknownName(f"no voice named {wanted!r}", hint=_suggest(catalogue, name.lower()))
    if plus:
        known = {v.lower(): v for v in catalogue.variants}
        if variant.lower() not in known:
            close = difflib.get_close_matches(variant.lower(), known, n=3) or sorted(known)[:3]
            raise UnknownName(
                f"no voice variant {variant!r}", hint=f"variants: {', '.join(known[c] for c in close)}, ..."
            )
        return f"{voice.identifier}+{known[variant.lower()]}", voice
    return voice.identifier, voice


def _find(catalogue: Catalogue, name: str) -> CatalogueVoice | None:
    for voice in catalogue.voices:
        if name in (voice.name.lower(), voice.identifier.lower()):
            return voice
    tag = name.replace("_", "-")
    tag = _ALIASES.get(tag, tag)
    tried: set[str] = set()
    while tag and tag not in tried:  # "en-us" is cut to "en", which means "en-us"
        tried.add(tag)
        matches = [
            (priority, i) for i, v in enumerate(catalogue.voices) for priority, t in v.languages if t == tag
        ]
        if matches:
            return catalogue.voices[min(matches)[1]]
        tag = tag.rpartition("-")[0]
        tag = _ALIASES.get(tag, tag)
    return None


def _suggest(catalogue: Catalogue, name: str) -> str:
    names = {v.name.lower(): v.name for v in catalogue.voices} | {
        t: t for v in catalogue.voices for _, t in v.languages
    }
    close = difflib.get_close_matches(name, names, n=4, cutoff=0.5)
    listed = ", ".join(names[c] for c in close)
    return (
        f"did you mean {listed}?" if close else "`personare voices` lists them; try en, zh, ja, de, fr or es"
    )
