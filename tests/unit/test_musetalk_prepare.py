"""The recipe of a template, from seeded checkpoint files, through the store."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from personare.cache.run import changed_by, prepare
from personare.cache.store import FeatureStore
from personare.engines.engine import EngineOptions
from personare.engines.musetalk import checkpoints
from personare.engines.musetalk.options import MuseTalkOptions
from personare.engines.musetalk.painter import Painter
from personare.engines.musetalk.prepare import BOXES, LABELS, LATENTS, MASKS, POINTS, TRACK, recipe
from personare.engines.musetalk.template import masks
from personare.engines.musetalk.template.prepared import PreparedFaces
from personare.errors import NoFaceFound, WeightsMismatch, WeightsMissing
from personare.ground.stopwatch import Stopwatch
from personare.types import Feature
from personare.weights.finder import Weights
from tests.conformance.seeded_checkpoint import main as seeded_checkpoint
from tests.conformance.seeded_checkpoint import write_checkpoints
from tests.unit.template_videos import moved_portrait, numbered, write_video

pytestmark = pytest.mark.neural

OURS = MuseTalkOptions(detector="landmarks", parser="landmarks", batch_size=2)


@pytest.fixture(scope="module")
def weights(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Weights:
    """Those of all tests, without the network of 2024."""
    folder = tmp_path_factory.mktemp("weights") / "without-v1"
    shutil.copytree(weights, folder, copy_function=os.link, ignore=lambda *_: ["musetalk"])
    return Weights(folder)


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(tmp_path / "store")


def _template(path: Path, pictures: list[np.ndarray]) -> Path:
    return write_video(path, pictures)


@pytest.fixture(scope="module")
def sometimes_a_face(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five frames, of which the third is noise."""
    pictures = moved_portrait(5)
    pictures[2] = numbered(1, 256, 256)[0]
    return _template(tmp_path_factory.mktemp("template") / "template.mp4", pictures)


@pytest.fixture(scope="module")
def features(sometimes_a_face: Path, weights: Weights) -> Mapping[str, Feature]:
    """Its features."""
    return prepare(recipe(OURS, weights), sometimes_a_face, None).features


def test_frames_without_a_face_misalign_nothing(
    features: Mapping[str, Feature], weights: Weights, store: FeatureStore, tmp_path: Path
) -> None:
    faces = PreparedFaces(features)
    assert (faces.frames, faces.size, faces.fps) == (5, (256, 256), 25)
    assert faces.present.tolist() == [True, True, False, True, True]
    assert faces.latents.shape == (5, 8, 32, 32)
    assert not faces.latents[2].any()
    # The row of each frame belongs to that frame: the same frame alone gives the same latents
    # and mask.
    alone = prepare(recipe(OURS, weights), _template(tmp_path / "alone.mp4", moved_portrait(5)[3:4]), store)
    single = PreparedFaces(alone.features)
    close = np.abs(np.array(single.box(0)) - faces.box(3)).max() <= 2
    assert close
    assert np.corrcoef(single.latents[0].ravel(), faces.latents[3].ravel())[0, 1] > 0.98
    mask = faces.mask(3)
    x0, y0, x1, y1 = faces.box(3)
    height, width = mask.alpha.shape
    assert mask.alpha.max() == 255
    assert mask.y + height > (y0 + y1) / 2
    assert x0 - width < mask.x < x1


def test_a_mouth_at_rest_refers_to_the_frame_with_the_mouth_most_shut(
    features: Mapping[str, Feature], weights: Weights
) -> None:
    """By what changes the face that is painted at rest on another frame: the reference half of
    the most shut frame's latents, and not that of its own.
    """
    faces = PreparedFaces(features)
    options = OURS.model_copy(update={"device": "cpu", "precision": "float32"})
    own = next(i for i in range(5) if faces.present[i] and i != faces.most_shut)
    tokens = np.zeros((1, 50, 48), np.float32)
    painter = Painter(options, weights, faces, Stopwatch())

    def painted(speaking: float) -> np.ndarray:
        return painter.paint([own], tokens, np.full(1, speaking, np.float32), lambda: tokens)[0].astype(int)

    at_rest, speaks = painted(0), painted(1)
    faces.latents = faces.latents.copy()
    faces.latents[own, 4:] += 1
    assert np.array_equal(painted(0), at_rest)
    assert np.abs(painted(1) - speaks).mean() > 1
    faces.latents[own, 4:] -= 1
    faces.latents[faces.most_shut, 4:] += 1
    assert np.abs(painted(0) - at_rest).mean() > 1
    assert np.abs(painted(1) - speaks).max() <= 1
    painter.close()


def test_an_option_computes_only_what_reads_it(
    sometimes_a_face: Path, weights: Weights, store: FeatureStore
) -> None:
    digest = store.file_digest(sometimes_a_face)
    cold = recipe(OURS, weights)

    def changed(**options: object) -> set[str]:
        return set(changed_by(cold, recipe(OURS.model_copy(update=options), weights), {"portrait": digest}))

    assert set(cold.portrait_keys(digest)) == {TRACK, BOXES, LATENTS, LABELS, MASKS}
    assert changed(parsing_mode="raw") == {MASKS}
    assert changed(left_cheek_width=70) == {MASKS}
    assert changed(mask_blur=0.1) == {MASKS}
    assert changed(bbox_shift=5) == {BOXES, LATENTS, LABELS, MASKS}
    assert changed(latents="sample") == {LATENTS}
    assert changed(precision="bfloat16") == {LATENTS}
    assert changed(parsing_mode="original") == {LABELS, MASKS}
    for nothing in (
        {"fps": None},
        {"seed": 5},
        {"device": "cpu"},
        {"batch_size": 1},
        {"audio": "streaming"},
        {"faceless": "nearest"},
    ):
        assert changed(**nothing) == set()


def test_what_is_automatic_is_decided_before_it_enters_a_key(
    sometimes_a_face: Path, weights: Weights, store: FeatureStore
) -> None:
    digest = store.file_digest(sometimes_a_face)
    automatic = recipe(MuseTalkOptions(), weights)  # without dwpose, s3fd and bisenet: ours
    assert automatic.portrait_keys(digest) == recipe(OURS, weights).portrait_keys(digest)
    released = MuseTalkOptions().concrete(lambda name: True)
    assert (released.detector, released.parser, released.front_end) == ("dwpose", "bisenet", "current")
    assert (released.parsing_mode, released.extra_margin) == ("jaw", 10)
    first = MuseTalkOptions(version="v1").concrete(lambda name: name != "s3fd")
    assert (first.detector, first.parser, first.front_end) == ("landmarks", "bisenet", "original")
    assert (first.parsing_mode, first.extra_margin) == ("raw", 0)
    assert isinstance(first, EngineOptions)


def test_samples_of_the_latents_are_repeatable(portrait: Path, weights: Weights, store: FeatureStore) -> None:
    def latents(**options: object) -> np.ndarray:
        chosen = OURS.model_copy(update=options)
        return prepare(recipe(chosen, weights), portrait, store).features[LATENTS].arrays["latents"]

    mean, first, other = latents(), latents(latents="sample", seed=1), latents(latents="sample", seed=2)
    assert mean.shape == (1, 8, 32, 32)  # a photo is a template of one frame
    assert np.abs(first - mean).max() > 1e-3
    assert np.abs(first - other).max() > 1e-3
    again = FeatureStore(store.folder.parent / "again")
    repeated = prepare(
        recipe(OURS.model_copy(update={"latents": "sample", "seed": 1}), weights), portrait, again
    )
    np.testing.assert_array_equal(repeated.features[LATENTS].arrays["latents"], first)


def test_no_face_at_all_is_refused(weights: Weights, store: FeatureStore, tmp_path: Path) -> None:
    noise = _template(tmp_path / "noise.mp4", numbered(3, 256, 256))
    with pytest.raises(NoFaceFound, match="any of the template's 3 frames"):
        prepare(recipe(OURS, weights), noise, store)


def test_missing_weights_are_named_and_nothing_is_made_up(
    store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    nothing = Weights(tmp_path)
    with pytest.raises(WeightsMissing, match="sd-vae"):
        recipe(OURS, nothing)
    with pytest.raises(WeightsMissing, match="dwpose"):
        recipe(MuseTalkOptions(detector="dwpose"), nothing)
    assert set(checkpoints.needed(MuseTalkOptions(detector="dwpose", parser="bisenet"), nothing)) == {
        "musetalk-unet-v15", "sd-vae-ft-mse", "whisper-tiny", "dwpose", "s3fd", "face-parse-bisent",
    }  # fmt: skip


def test_released_detector_and_parser_run_from_their_files(portrait: Path, tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    write_checkpoints(
        "musetalk", "tiny", folder, only={"sd-vae-ft-mse", "dwpose", "face-parse-bisent", "s3fd"}
    )
    released = MuseTalkOptions()
    store = FeatureStore(tmp_path / "store")
    steps = recipe(released, Weights(folder))
    assert set(steps.portrait_keys("")) == {POINTS, BOXES, LATENTS, LABELS, MASKS}
    faces = PreparedFaces(prepare(steps, portrait, store).features)
    # Networks of chance see a face in the corner, and key points from which the rule makes no
    # box: the detector's counts, and is limited to the picture.
    assert faces.box(0) == (0, 498, 10, 512)
    assert np.isfinite(faces.latents).all()
    assert faces.latents.any()


def test_networks_are_read_from_their_files(weights: Weights, tmp_path: Path) -> None:
    import torch

    cpu = torch.device("cpu")
    half = OURS.model_copy(update={"precision": "bfloat16"})
    with checkpoints.lease_encoder(half, weights) as vae:
        assert vae.config.block_out_channels == [16, 32, 48, 48]
        assert vae.quant_conv.weight.dtype == torch.bfloat16
    with checkpoints.lease_motion(OURS, weights, cpu, torch.float32) as motion:
        assert motion.dtype == torch.float32
    ears = checkpoints.ears(OURS, weights)
    assert ears.row_shape == (5, 48)
    assert len(ears.sha256[0]) == 64
    with pytest.raises(WeightsMissing, match="musetalk-unet-v1"):
        checkpoints.lease_motion(OURS.model_copy(update={"version": "v1"}), weights, cpu, torch.float32)


def test_a_configuration_that_is_none_is_refused(weights: Weights, tmp_path: Path) -> None:
    from personare.networks.diffusion import read_config

    (tmp_path / "config.json").write_text("<html>not found</html>")
    with pytest.raises(WeightsMismatch, match=r"config\.json"):
        read_config(tmp_path / "config.json")
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(WeightsMismatch, match=r"config\.json"):
        read_config(tmp_path / "config.json")


def test_landmarks_draw_where_another_detector_sees_a_face(features: Mapping[str, Feature]) -> None:
    """Labels for a frame that only the detector knows are those of the nearest frame, moved
    into the box.
    """
    from personare.cache.recipe import StageInputs
    from personare.engines.musetalk.prepare import _drawn_labels

    around = {name: np.array(array) for name, array in features[BOXES].arrays.items()}
    around["present"][2] = True
    around["boxes"][2] = around["boxes"][1]
    seen = {BOXES: Feature(around), TRACK: features[TRACK]}
    drawn = _drawn_labels(
        StageInputs({"parser": "landmarks", "expand": masks.EXPAND}, seen, {"portrait": Path("none")})
    )
    assert len(drawn.arrays["ends"]) == 5


def test_the_tool_says_what_it_does_not_have(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert seeded_checkpoint(["--engine", "nobody", str(tmp_path)]) == 1
    assert seeded_checkpoint(["--engine", "musetalk", "--only", "nothing", str(tmp_path)]) == 1
    assert "sd-vae-ft-mse" in capsys.readouterr().err
    assert seeded_checkpoint(["--engine", "musetalk", "--only", "whisper-tiny", str(tmp_path)]) == 0
    assert (tmp_path / "whisper" / "config.json").is_file()
