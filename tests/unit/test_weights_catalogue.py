"""The catalogue: what it says is consistent, and wrong entries are refused."""

from __future__ import annotations

import pytest

from personare.errors import UnknownName
from personare.weights.catalogue import catalogue, component, components, read_catalogue
from personare.weights.finder import size_of

NAMES = {
    "musetalk-unet-v15", "musetalk-unet-v1", "sd-vae-ft-mse", "whisper-tiny", "whisper-tiny-openai",
    "dwpose", "face-parse-bisent", "s3fd", "float", "wav2vec2-base-960h", "wav2vec2-emotion",
    "artalk", "gagavatar", "flame", "mimicmotion-1-1", "mimicmotion-1", "svd-vae", "svd-image-encoder",
    "yolox", "dwpose-onnx",
    "stylenerf-ffhq-1024", "lipaintnet", "sadtalker", "deep3d-recon", "nerffacespeech-seg",
    "vgg16-imagenet", "alexnet-imagenet", "lpips-vgg", "lpips-alex", "bfm",
}  # fmt: skip


def test_every_component_of_all_engines_is_listed() -> None:
    assert set(catalogue()) == NAMES
    assert {entry.name for entry in components(engine="musetalk")} >= {
        "musetalk-unet-v15",
        "sd-vae-ft-mse",
        "whisper-tiny",
    }
    assert {entry.name for entry in components(engine="float") if entry.is_required_by("float")} == {
        "float",
        "wav2vec2-base-960h",
        "wav2vec2-emotion",
    }
    assert {entry.name for entry in components(engine="musetalk") if entry.is_required_by("musetalk")} == {
        "musetalk-unet-v15",
        "sd-vae-ft-mse",
        "whisper-tiny",
    }


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_component_has_a_licence_a_size_and_a_way_to_get_it(name: str) -> None:
    entry = component(name)
    assert entry.licence
    assert entry.bytes
    assert entry.sources or entry.by_hand.startswith("https://")
    for (
        source
    ) in entry.sources:  # what `pull --to` writes and what the hub cache holds are found by the same names
        assert source.path_of(entry.files[0]).endswith(entry.files[0].name)


def test_recorded_facts() -> None:
    (unet, config) = component("musetalk-unet-v15").files
    assert (unet.bytes, config.bytes) == (3400074924, 748)
    assert unet.is_genuine("7ebf6c98" + "0" * 56) is True
    assert unet.is_genuine("0" * 64) is False
    assert component("float").files[0].is_genuine("0" * 64) is None
    assert component("s3fd").files[0].name[5:15] == (component("s3fd").files[0].sha256 or "")[:10]
    assert component("whisper-tiny-openai").files[0].sha256 in component("whisper-tiny-openai").by_hand


def test_sizes_in_words() -> None:
    assert size_of(component("musetalk-unet-v15")) == "3.4 GB"
    assert size_of(component("float")) == "about 827 MB"
    assert size_of(component("dwpose")) == "407 MB"


def test_unknown_names_are_answered_with_the_known_ones() -> None:
    with pytest.raises(UnknownName, match="no weights named 'unet'") as caught:
        component("unet")
    assert "musetalk-unet-v15" in caught.value.hint
    with pytest.raises(UnknownName, match="no engine named 'puppet' uses weights") as caught:
        components(engine="puppet")
    assert "float, mimicmotion, musetalk" in caught.value.hint


VALID = """
[net]
summary = "s"
kind = "file"
licence = "MIT"
places = ["net"]
by_hand = "https://example.org"
files = [{ role = "weights", name = "net.pth", bytes = 5 }]
needed_by = { musetalk = "always" }
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('by_hand = "https://example.org"', ""),
        ('role = "weights"', 'role = "config"'),
        ("bytes = 5", "bytes = 5, about_bytes = 6"),
        ("bytes = 5", 'sha256 = "abc"'),
        ("bytes = 5", f'sha256 = "{"a" * 64}", sha256_prefix = "{"a" * 8}"'),
        ('places = ["net"]', 'places = ["../net"]'),
        ('places = ["net"]', 'places = ["/net"]'),
        ('name = "net.pth"', 'name = "../net.pth"'),
        ('kind = "file"', 'kind = "zip"'),
        ('licence = "MIT"', 'license = "MIT"'),
    ],
)
def test_a_wrong_catalogue_is_refused(old: str, new: str) -> None:
    assert read_catalogue(VALID)["net"].path == "net/net.pth"
    assert old in VALID
    with pytest.raises(ValueError, match="validation error"):
        read_catalogue(VALID.replace(old, new))
