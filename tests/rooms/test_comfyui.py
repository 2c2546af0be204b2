"""The ComfyUI nodes by the program's contract: types, shapes, ranges, widgets, its bar. Loaded
as the program loads them, with a stand-in for the program itself.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from personare.shelf.manifest import Consent
from personare.studio.installed import installed_engines

torch = pytest.importorskip("torch")

pytestmark = [pytest.mark.slow, pytest.mark.neural]

FOLDER = Path(__file__).parents[2] / "integrations" / "comfyui"
WIDGETS = {"INT", "FLOAT", "STRING", "BOOLEAN"}
SMALL = {"size": 256, "head_motion": 0.0}


@pytest.fixture(scope="module")
def pack() -> ModuleType:
    """As ComfyUI imports a folder of `custom_nodes`. Its studio is that of the module's first
    test, so the avatar is prepared once.
    """
    spec = importlib.util.spec_from_file_location(
        "personare-comfyui", FOLDER / "__init__.py", submodule_search_locations=[str(FOLDER)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Program:
    """What of ComfyUI the nodes reach for."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.steps: list[tuple[int, int]] = []
        self.stops_after = 10**9
        self.folder = folder
        program = self

        class ProgressBar:
            def __init__(self, total: int) -> None:
                self.total = total

            def update_absolute(self, value: int, total: int | None = None) -> None:
                program.steps.append((value, total or self.total))

        def throw_exception_if_processing_interrupted() -> None:
            if len(program.steps) >= program.stops_after:
                raise KeyError("InterruptProcessingException")

        management = SimpleNamespace(
            throw_exception_if_processing_interrupted=throw_exception_if_processing_interrupted
        )
        folders = {
            f"get_{kind}_directory": lambda kind=kind: str(folder / kind)
            for kind in ("input", "output", "temp")
        }
        patch.setitem(sys.modules, "comfy", SimpleNamespace(model_management=management))
        patch.setitem(sys.modules, "comfy.utils", SimpleNamespace(ProgressBar=ProgressBar))
        patch.setitem(sys.modules, "folder_paths", SimpleNamespace(**folders))


@pytest.fixture
def program(tmp_path, monkeypatch) -> Program:
    return Program(tmp_path, monkeypatch)


def node(pack: ModuleType, node_name: str, /, **given: Any) -> tuple[Any, ...]:
    """Run a node as the program does: defaults for the widgets that are not given."""
    made = pack.NODE_CLASS_MAPPINGS[node_name]
    types = made.INPUT_TYPES()
    for key, (_, *extra) in types["required"].items():
        if key not in given:
            given[key] = extra[0]["default"]
    assert set(given) <= set(types["required"]) | set(types.get("optional", {}))
    values = getattr(made(), made.FUNCTION)(**given)
    assert len(values) == len(made.RETURN_TYPES) == len(made.RETURN_NAMES)
    return values


@pytest.fixture
def avatar(pack, program, portrait) -> Any:
    import cv2

    picture = cv2.cvtColor(cv2.imread(str(portrait)), cv2.COLOR_BGR2RGB)
    image = torch.from_numpy(picture).float()[None] / 255
    (options,) = node(pack, "PersonareOptions_puppet", **SMALL)
    return node(pack, "PersonareAvatar", image=image, options=options)[0]


def sound(samples: np.ndarray, rate: int = 16000, channels: int = 1) -> dict[str, Any]:
    return {"waveform": torch.from_numpy(np.tile(samples, (1, channels, 1))), "sample_rate": rate}


def test_a_picture_and_a_sound_become_images_and_a_sound(pack, program, avatar, voice_samples) -> None:
    audio = sound(voice_samples[:9600], 24000, channels=2)
    images, heard, fps, motion = node(pack, "PersonareSpeak", avatar=avatar, audio=audio)
    assert (images.dtype, tuple(images.shape)) == (torch.float32, (10, 256, 256, 3))
    assert 0 <= float(images.min()) < 0.1
    assert 0.9 < float(images.max()) <= 1
    assert float((images[0] - images[5]).abs().max()) > 0.1
    assert heard["sample_rate"] == 24000
    torch.testing.assert_close(heard["waveform"], audio["waveform"])
    assert fps == 25.0
    assert motion.values.shape == (10, 60)
    values, totals = zip(*program.steps[-1:], strict=True)
    assert (values[-1], totals[-1]) == (10, 10)

    plain = node(pack, "PersonareSpeak", avatar=avatar, audio=audio, badge=False)[0]
    differs = (plain - images).abs().amax(dim=(0, 3)) > 0.02
    assert differs[200:, 200:].any()
    assert not differs[:200].any()


def test_curves_go_out_and_come_in_and_show_the_same(pack, program, avatar, voice_samples) -> None:
    audio = sound(voice_samples[:6400])
    images, heard, _, motion = node(pack, "PersonareSpeak", avatar=avatar, audio=audio)
    (path,) = node(pack, "PersonareSaveMotion", motion=motion, file="run/curves.json")
    assert Path(path) == program.folder / "output" / "run" / "curves.json"
    kept = program.folder / "input" / "curves.json"
    kept.parent.mkdir(parents=True, exist_ok=True)
    Path(path).rename(kept)
    assert pack.NODE_CLASS_MAPPINGS["PersonareLoadMotion"].IS_CHANGED("curves.json")
    (again,) = node(pack, "PersonareLoadMotion", file="curves.json")
    assert np.abs(again.values - motion.values).max() < 0.01
    shown, silence, _, _ = node(pack, "PersonareShow", avatar=avatar, motion=again)
    assert shown.shape == images.shape
    assert float((shown - images).abs().mean()) < 0.01
    assert silence["waveform"].shape[-1] == 6400
    assert not silence["waveform"].any()
    voiced = node(pack, "PersonareShow", avatar=avatar, motion=motion, audio=audio)[1]
    torch.testing.assert_close(voiced["waveform"], heard["waveform"])


def test_it_follows_the_pictures_of_a_video(pack, program, avatar, voice_samples) -> None:
    spoken = node(pack, "PersonareSpeak", avatar=avatar, audio=sound(voice_samples[4800:9600]), badge=False)[
        0
    ]
    images, heard, fps, motion = node(pack, "PersonareFollow", avatar=avatar, images=spoken, fps=12.5)
    assert len(heard["waveform"][0, 0]) == round(len(spoken) / 12.5 * 16000)
    assert len(images) == round(len(spoken) / 12.5 * fps)
    assert np.ptp(motion.values, axis=0).max() > 0.05
    folders = list((program.folder / "temp" / "personare").glob("guide-*"))
    assert len(folders) == 1
    assert len(list(folders[0].glob("*.png"))) == len(spoken)


def test_cancel_stops_a_node(pack, program, avatar, voice_samples) -> None:
    program.steps.clear()
    program.stops_after = 2
    with pytest.raises(KeyError, match="InterruptProcessing"):
        node(pack, "PersonareSpeak", avatar=avatar, audio=sound(voice_samples))
    assert program.steps[-1][0] < 50


def test_what_cannot_be_is_told_with_its_hint(pack, program, avatar, voice_samples) -> None:
    grey = torch.full((1, 64, 64, 3), 0.5)
    for given, says in (
        ({"image": grey, "engine": "puppet"}, "no face"),
        ({"image": torch.cat([grey, grey]), "engine": "puppet"}, r"one picture, not 2\. pick one"),
        ({"image": grey[0], "engine": "puppet"}, r"\[B, H, W, 3\]"),
    ):
        with pytest.raises(Exception, match=says):
            node(pack, "PersonareAvatar", **given)
    audio = sound(voice_samples)
    with pytest.raises(Exception, match=r"most_seconds is 1\. raise it"):
        node(pack, "PersonareSpeak", avatar=avatar, audio=audio, most_seconds=1.0)
    two = {**audio, "waveform": audio["waveform"].repeat(2, 1, 1)}
    with pytest.raises(Exception, match="one at a time"):
        node(pack, "PersonareSpeak", avatar=avatar, audio=two)
    for name, given in (("PersonareSaveMotion", {}), ("PersonareShow", {"avatar": avatar})):
        with pytest.raises(Exception, match=r"tells no curves\. take"):
            node(pack, name, motion=None, **given)
    for file in ("../secret.json", "/etc/passwd", "", "a/../../b.json"):
        with pytest.raises(Exception, match="is no file of input"):
            node(pack, "PersonareLoadMotion", file=file)
        with pytest.raises(Exception, match="is no file of output"):
            node(pack, "PersonareSaveMotion", motion=None, file=file)


def test_a_kept_avatar_is_found_by_its_name(pack, program, avatar, portrait) -> None:
    studio = sys.modules["personare-comfyui.nodes"].studio()
    studio.create("anna", avatar.cast, replace=True)
    assert node(pack, "PersonareKeptAvatar", name="anna")[0].avatar.keys == avatar.avatar.keys
    made = pack.NODE_CLASS_MAPPINGS["PersonareKeptAvatar"]
    assert made.INPUT_TYPES()["required"]["name"] == (["anna"], {"default": "anna"})
    before = made.IS_CHANGED("anna")
    assert made.IS_CHANGED("anna") == before
    studio.create("anna", avatar.cast, replace=True, consent=Consent(text="I agree"))
    assert made.IS_CHANGED("anna") not in ("", before)
    assert made.IS_CHANGED("bert") == ""
    with pytest.raises(Exception, match="bert"):
        node(pack, "PersonareKeptAvatar", name="bert")


def test_every_option_of_every_engine_is_a_widget_with_its_bounds(pack) -> None:
    for engine in installed_engines():
        made = pack.NODE_CLASS_MAPPINGS[f"PersonareOptions_{engine.name}"]
        widgets = made.INPUT_TYPES()["required"]
        fields = type(engine).Options.model_fields
        without = set(fields) - set(widgets)
        assert all("Path" in str(fields[name].annotation) for name in without)
        for name, (kind, extra) in widgets.items():
            assert isinstance(kind, list) or kind in WIDGETS, name
            if isinstance(kind, list):
                assert extra["default"] in kind
            elif kind in ("INT", "FLOAT"):
                assert extra["min"] <= extra["default"] <= extra["max"]
            assert extra["tooltip"]
        (as_it_is,) = node(pack, f"PersonareOptions_{engine.name}")
        assert as_it_is == (engine.name, {})
        json.dumps(made.INPUT_TYPES())
    (changed,) = node(pack, "PersonareOptions_puppet", size=256, fps=29.97, emotion="happy")
    assert changed == ("puppet", {"size": 256, "fps": 29.97, "emotion": "happy"})


def test_a_number_that_may_be_left_open_is_a_number_with_one_value_for_that(pack) -> None:
    open_ones = 0
    for engine in installed_engines():
        widgets = pack.NODE_CLASS_MAPPINGS[f"PersonareOptions_{engine.name}"].INPUT_TYPES()["required"]
        for name, field in type(engine).Options.model_json_schema()["properties"].items():
            kinds = {form.get("type") for form in field.get("anyOf", ())}
            if not kinds & {"integer", "number"}:
                continue
            kind, extra = widgets[name]
            assert kind == ("INT" if "integer" in kinds else "FLOAT")
            if field.get("default") is None:
                open_ones += 1
                assert extra["default"] == extra["min"]
                assert f"({extra['min']}: the engine's own choice)" in extra["tooltip"]
                with pytest.raises(ValueError, match=name):  # so no value that means something is lost
                    type(engine).Options(**{name: extra["min"]})
            another = extra["default"] + 20
            (told,) = node(pack, f"PersonareOptions_{engine.name}", **{name: another})
            assert told == (engine.name, {name: another})
            type(engine).Options(**told[1])
    assert open_ones > 4


def test_the_pack_declares_what_the_program_reads(pack) -> None:
    assert set(pack.NODE_CLASS_MAPPINGS) == set(pack.NODE_DISPLAY_NAME_MAPPINGS)
    for made in pack.NODE_CLASS_MAPPINGS.values():
        assert callable(getattr(made(), made.FUNCTION))
        assert made.CATEGORY == "personare"
        assert len(made.RETURN_TYPES) == len(made.RETURN_NAMES)
