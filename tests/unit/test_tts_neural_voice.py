"""Neural voices: a tiny graph in Piper's and in Kokoro's layout through the whole way, and what
is wrong with files.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from personare.errors import EngineError, UnknownName, WeightsMismatch, WeightsMissing
from personare.voice.tts import open_text, voices
from personare.voice.tts.kokoro import kokoro_symbols
from personare.voice.tts.neural_voice import Said, phoneme_starts
from personare.voice.tts.text import sentences

RATE = 16000
TEXT = "Bob may come. Is it so? A map!"


def graph(
    path: Path, ids: str, sound: str, durations: str, hop: int, extra: list[tuple[str, int, list[Any]]]
) -> None:
    """Every id lasts 5 hops; the sound is noise from the graph's own random source. `durations`
    is an inner value.
    """
    constants = {"five": np.float32(5), "hop": np.array([5 * hop], np.int64), "quiet": np.float32(0.1)}
    nodes = [
        helper.make_node("Cast", [ids], ["as_float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["as_float", "zero"], ["zeros"]),
        helper.make_node("Add", ["zeros", "five"], ["fives"]),
        helper.make_node("Ceil", ["fives"], [durations]),
        helper.make_node("Shape", [durations], ["shape"]),
        helper.make_node("ReduceProd", ["shape"], ["count"], keepdims=1),
        helper.make_node("Mul", ["count", "hop"], ["length"]),
        helper.make_node("ConstantOfShape", ["length"], ["silence"]),
        helper.make_node("RandomNormalLike", ["silence"], ["noise"]),
        helper.make_node("Mul", ["noise", "quiet"], [sound]),
    ]
    constants["zero"] = np.float32(0)
    inputs = [helper.make_tensor_value_info(ids, TensorProto.INT64, [1, "n"])]
    inputs += [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in extra]
    output = helper.make_tensor_value_info(sound, TensorProto.FLOAT, ["m"])
    tensors = [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    model = helper.make_model(
        helper.make_graph(nodes, "tiny", inputs, [output], tensors),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.save(model, path)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PERSONARE_VOICES", str(tmp_path))
    return tmp_path


def piper_voice(folder: Path, **changes: Any) -> Path:
    path = folder / "xx-tiny.onnx"
    floats, ints = TensorProto.FLOAT, TensorProto.INT64
    graph(
        path,
        "input",
        "output",
        "/Ceil_output_0",
        256,
        [("input_lengths", ints, [1]), ("scales", floats, [3])],
    )
    letters = " .,!?bɑmeɪkʌɪzɹtsoʊɐæpːˈ"
    config = {
        "audio": {"sample_rate": RATE},
        "espeak": {"voice": "en-us"},
        "phoneme_id_map": {
            "_": [0],
            "^": [1],
            "$": [2],
            **{c: [3 + i] for i, c in enumerate(dict.fromkeys(letters))},
        },
        **changes,
    }
    path.with_name(path.name + ".json").write_text(json.dumps(config))
    return path


def kokoro_voice(folder: Path) -> None:
    floats = TensorProto.FLOAT
    extra = [("style", floats, [1, 256]), ("speed", floats, [1])]
    graph(folder / "kokoro-v1.0.onnx", "tokens", "audio", "/encoder/Round_output_0", 600, extra)
    with (folder / "voices-v1.0.bin").open("wb") as file:
        np.savez(file, af_tiny=np.zeros((510, 1, 256), np.float32))


def heard(voice: str) -> tuple[list[Any], np.ndarray[Any, Any]]:
    chunks = list(open_text(TEXT, voice).chunks())
    return chunks, np.concatenate([chunk.samples for chunk in chunks])


def test_a_piper_voice_says_sentence_after_sentence(folder: Path) -> None:
    piper_voice(folder)
    chunks, samples = heard("piper:xx-tiny")
    assert len(chunks) >= 3
    assert open_text(TEXT, "piper:xx-tiny").voice_rate == RATE
    phones = [phone for chunk in chunks for phone in chunk.phones]
    spoken = "".join(phone.symbol for phone in phones)
    assert spoken.startswith("bɑbmeɪkʌm")
    assert phones[-1].end == len(samples)
    first_b = next(phone for phone in phones if phone.symbol == "b")
    # after ^ and its padding, 5 hops of 256 each; 40 ms earlier
    assert first_b.start == pytest.approx(2 * 5 * 256 - 0.040 * RATE, abs=2)
    pauses = [phone for phone in phones if not phone.symbol and phone.end - phone.start > 0.2 * RATE]
    assert len(pauses) >= 3
    quiet = samples[pauses[0].start : pauses[0].end] == 0
    assert quiet.sum() > 0.15 * RATE  # the rest of it is in the next chunk


def test_the_same_text_is_the_same_sound(folder: Path) -> None:
    path = piper_voice(folder)
    _, first = heard("piper:xx-tiny")
    onnxruntime.set_seed(123)  # another process starts from another seed
    _, again = heard(str(path))
    assert first.any()
    assert np.array_equal(first, again)


def test_a_kokoro_voice(folder: Path) -> None:
    kokoro_voice(folder)
    chunks, samples = heard("kokoro:af_tiny")
    assert len(chunks) >= 3
    assert open_text(TEXT, "kokoro:af_tiny").voice_rate == 24000
    phones = [phone for chunk in chunks for phone in chunk.phones]
    assert "".join(phone.symbol for phone in phones).startswith("bɑbmeɪkʌm")
    assert len(samples) == -(-sum(len(chunk.voice) for chunk in chunks) * 2 // 3)


def test_what_there_is_and_what_would_be_needed(folder: Path) -> None:
    needed = {v.backend: v.needed for v in voices() if v.needed}
    assert {"Piper", "Kokoro", "gTTS", "edge-tts"} <= needed.keys()
    piper_voice(folder)
    kokoro_voice(folder)
    ready = {v.name for v in voices() if v.available}
    assert {"piper:xx-tiny", "kokoro:af_tiny", "en-us"} <= ready


@pytest.mark.parametrize("voice", ["piper:nobody", "kokoro:nobody", "/nowhere/x.onnx"])
def test_voices_that_are_not_there(folder: Path, voice: str) -> None:
    with pytest.raises(WeightsMissing) as caught:
        open_text("Hello.", voice)
    assert caught.value.hint


def test_names_that_are_not_there(folder: Path) -> None:
    piper_voice(folder)
    kokoro_voice(folder)
    for voice in ("piper:nobody", "kokoro:nobody"):
        with pytest.raises(UnknownName, match="nobody") as caught:
            open_text("Hello.", voice)
        assert "tiny" in caught.value.hint


def test_damaged_files(folder: Path) -> None:
    path = piper_voice(folder)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(WeightsMismatch, match="not a voice"):
        heard(str(path))
    path.write_text("<html>not found</html>")
    with pytest.raises(WeightsMismatch, match="not a voice"):
        heard(str(path))
    for text, said in (
        ("{", "not that of a Piper voice"),
        ("{}", "audio"),
        ('{"audio": {"sample_rate": 5}}', "sample_rate"),
    ):
        path.with_name(path.name + ".json").write_text(text)
        with pytest.raises(WeightsMismatch, match=said):
            open_text("Hello.", str(path))
    kokoro_voice(folder)
    (folder / "voices-v1.0.bin").write_bytes(b"PK no")
    with pytest.raises(WeightsMismatch, match="style vectors"):
        open_text("Hello.", "kokoro:af_tiny")


def test_a_voice_with_pickled_styles_runs_nothing(folder: Path) -> None:
    kokoro_voice(folder)
    with (folder / "voices-v1.0.bin").open("wb") as file:
        np.savez(file, af_tiny=np.array([{"a": 1}], dtype=object))
    with pytest.raises(WeightsMismatch):
        heard("kokoro:af_tiny")


def test_phoneme_starts_share_out_marks() -> None:
    symbols = ["", "ˈ", "b", "ː", " ", "ɑ", ".", ""]
    seconds = np.array([0.1, 0.1, 0.1, 0.1, 0.05, 0.1, 0.3, 0.1])
    starts = phoneme_starts(Said(np.zeros(1, np.float32), symbols, seconds), 0.0)
    assert [(round(at, 3), symbol) for at, symbol in starts] == [
        (0, ""),
        (0.15, "b"),
        (0.45, "ɑ"),
        (0.55, ""),
    ]
    late = phoneme_starts(Said(np.zeros(1, np.float32), symbols, seconds), 0.1)
    assert late[1][0] == pytest.approx(0.05)


def test_kokoros_letters() -> None:
    assert kokoro_symbols("mˈaɪ tʃˈɜːtʃ", "en-us") == "mˈI ʧˈɜɹʧ"
    assert kokoro_symbols("(en)kˈaza", "it") == "kˈaza"


def test_sentences() -> None:
    assert sentences("One. Two! Three? 4.5 is one.\n\nLast") == [
        "One.",
        "Two!",
        "Three?",
        "4.5 is one.",
        "Last",
    ]
    assert sentences("妈妈好。爸爸好！") == ["妈妈好。", "爸爸好！"]
    long = sentences("word, " * 200)
    assert max(map(len, long)) <= 240
    assert "".join(long).replace(" ", "") == "word," * 200


NETWORK_VOICE = """
import io, wave
class gTTS:
    def __init__(self, text, lang, timeout):
        assert timeout
        if lang == "xx":
            raise ValueError("Language not supported: xx")
        self.length = 1600 * len(text)
    def write_to_fp(self, fp):
        held = io.BytesIO()
        with wave.open(held, "wb") as file:
            file.setnchannels(1); file.setsampwidth(2); file.setframerate(24000)
            file.writeframes(b"\\x00\\x10" * self.length)
        fp.write(held.getvalue())
"""


def test_a_network_voice_is_heard_without_phones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package's own interface, spoken by a stand-in: the service cannot be reached from a
    test.
    """
    with pytest.raises(WeightsMissing, match="not installed"):
        open_text("Hello.", "gtts:en")
    (tmp_path / "gtts.py").write_text(NETWORK_VOICE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "gtts", raising=False)
    chunks = list(open_text("Hello there. And again.", "gtts:en").chunks())
    assert all(chunk.phones is None for chunk in chunks)
    assert sum(len(chunk.samples) for chunk in chunks) == pytest.approx(
        (12 + 10) * 1600 * 16000 / 24000, abs=20
    )
    with pytest.raises(EngineError, match="not supported"):
        list(open_text("Hello.", "gtts:xx").chunks())
    sys.modules.pop("gtts", None)
