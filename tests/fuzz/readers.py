"""Everything that reads a file which somebody else wrote: sound samples of it, and how it is
read to its end.
"""

from __future__ import annotations

import io
import json
import pickle
import random
import sqlite3
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from fractions import Fraction
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import ClassVar

import av
import numpy as np
import PIL.Image
from blake3 import blake3

from personare.cache.form import Form
from personare.types import Feature

PORTRAIT = Path(str(files("personare") / "assets" / "portrait.jpg"))
CHECKSUM = b'"checksum":"'
FRAMES_READ = 60
"""Of a video; damaged time stamps can make any number of them."""


class Reader(ABC):
    """samples: (suffix, bytes) of sound files. `read` reads one, or raises PersonareError."""

    neural: ClassVar[bool] = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.samples: list[tuple[str, bytes]] = list(self.made())

    @abstractmethod
    def made(self) -> Iterable[tuple[str, bytes]]: ...

    @abstractmethod
    def read(self, path: Path) -> None: ...


class Picture(Reader):
    def made(self) -> Iterable[tuple[str, bytes]]:
        with PIL.Image.open(PORTRAIT) as whole:
            small = whole.resize((96, 80))
        for suffix, how in (
            (".jpg", {"format": "JPEG"}),
            (".jpeg", {"format": "JPEG", "progressive": True}),
            (".png", {"format": "PNG"}),
            (".tif", {"format": "TIFF", "compression": "tiff_lzw"}),
            (".webp", {"format": "WEBP"}),
            (".gif", {"format": "GIF"}),
            (".bmp", {"format": "BMP"}),
        ):
            buffer = io.BytesIO()
            small.save(buffer, **how)
            yield suffix, buffer.getvalue()

    def read(self, path: Path) -> None:
        from personare.media.image import is_picture, read_image

        is_picture(path)
        read_image(path)


class Sound(Reader):
    def made(self) -> Iterable[tuple[str, bytes]]:
        time = np.arange(6000) / 16000
        voice = (np.sin(1400 * time) * 8000).astype(np.int16)[None]
        for suffix, codec in (
            (".wav", "pcm_s16le"),
            (".flac", "flac"),
            (".ogg", "libopus"),
            (".m4a", "aac"),
            (".mp3", "libmp3lame"),
            (".mka", "libopus"),
        ):
            path = self.folder / f"sample{suffix}"
            with av.open(str(path), "w") as container:
                stream = container.add_stream(
                    codec, rate=48000 if codec == "libopus" else 16000, layout="mono"
                )
                frame = av.AudioFrame.from_ndarray(voice, format="s16", layout="mono")
                frame.sample_rate = 16000
                resampler = av.AudioResampler(
                    stream.codec_context.format, "mono", stream.codec_context.rate, stream.frame_size or None
                )
                for piece in (*resampler.resample(frame), *resampler.resample(None)):
                    container.mux(stream.encode(piece))
                container.mux(stream.encode())
            yield suffix, path.read_bytes()

    def read(self, path: Path) -> None:
        from personare.media.audio import open_speech

        for _ in islice(open_speech(path).chunks(), 2000):
            pass


class Video(Reader):
    def made(self) -> Iterable[tuple[str, bytes]]:
        with PIL.Image.open(PORTRAIT) as whole:
            picture = np.asarray(whole.resize((96, 64)).convert("RGB"))
        for suffix, codec in (
            (".mp4", "libx264"),
            (".mkv", "libx264"),
            (".avi", "mpeg4"),
            (".webm", "libvpx-vp9"),
        ):
            path = self.folder / f"sample{suffix}"
            with av.open(str(path), "w") as container:
                stream = container.add_stream(codec, rate=25)
                stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
                for shift in range(6):
                    shown = np.ascontiguousarray(np.roll(picture, 3 * shift, axis=1))
                    container.mux(stream.encode(av.VideoFrame.from_ndarray(shown, format="rgb24")))
                container.mux(stream.encode())
            yield suffix, path.read_bytes()

    def read(self, path: Path) -> None:
        from personare.media.template import Template

        for _ in islice(Template(path), FRAMES_READ):
            pass


class Curves(Reader):
    def made(self) -> Iterable[tuple[str, bytes]]:
        from personare.media.motions import motion_written
        from personare.motion import ARKIT

        values = np.random.default_rng(0).random((5, ARKIT.width), np.float32)
        for suffix in (".json", ".csv", ".npz"):
            path = self.folder / f"sample{suffix}"
            with motion_written(path, ARKIT, Fraction(25)) as sink:
                sink.write(values)
            yield suffix, path.read_bytes()

    def read(self, path: Path) -> None:
        from personare.media.motions import read_motion

        read_motion(path)


class Jobs(Reader):
    def made(self) -> Iterable[tuple[str, bytes]]:
        line = {
            "portrait": "a.jpg", "speech": "v.wav", "output": "one.mp4", "engine": "puppet",
            "options": {"size": 256, "fps": "30000/1001"},
        }  # fmt: skip
        other = {"portrait": "anna", "text": "Hello, <b>you</b>.", "voice": "de", "output": "sub/two.mov"}
        yield ".jsonl", "\n".join((json.dumps(line), json.dumps(other))).encode()
        yield ".jsonl", ("\ufeff" + json.dumps(line)).encode("utf-16")

    def read(self, path: Path) -> None:
        from personare.work.jobs import Defaults, read_jobs

        read_jobs(path, self.folder.resolve(), Defaults())


class Text(Reader):
    def made(self) -> Iterable[tuple[str, bytes]]:
        yield ".txt", "Grüße, ‘Welt’! \u200b https://example.org *so* 😀 123.".encode()
        yield (
            ".srt",
            b"1\n00:00:01,000 --> 00:00:02,500\nHello <i>you</i>.\n\n2\n00:00:03,000 --> 00:00:04\nBye.\n",
        )
        yield ".xml", b'<speak>Hello <break time="200ms"/><prosody rate="slow">you</prosody>.</speak>'

    def read(self, path: Path) -> None:
        from personare.media.text_file import read_text_file
        from personare.voice.tts.text import sentences

        list(sentences(read_text_file(path)))


class Phones(Reader):
    def made(self) -> Iterable[tuple[str, bytes]]:
        yield ".json", b'{"phones": [[0.0, 0.12, "h"], [0.12, 0.3, "\\u0259"], [0.3, 0.5, ""]]}'

    def read(self, path: Path) -> None:
        from personare.cli.score import read_phones

        read_phones(path)


class Manifest(Reader):
    def made(self) -> Iterable[tuple[str, bytes]]:
        from datetime import UTC, datetime

        from personare.shelf.manifest import AvatarManifest, manifest_text

        manifest = AvatarManifest(
            name="anna",
            engine="puppet",
            options={"size": 256, "seed": 0, "fps": "25"},
            portrait="a" * 64,
            portrait_file=f"portrait-{'a' * 16}.jpg",
            keys={"puppet.face": "b" * 64},
            created=datetime(2026, 1, 1, tzinfo=UTC),
        )
        yield ".json", manifest_text(manifest).encode()
        yield ".json", manifest.model_dump_json().encode()

    def read(self, path: Path) -> None:
        from personare.shelf.manifest import MANIFEST, folder_name, read_manifest

        folder = self.folder / folder_name("anna")
        folder.mkdir(exist_ok=True)
        (folder / MANIFEST).write_bytes(path.read_bytes())
        read_manifest(folder)


class Archive(Reader):
    """Of an avatar; every byte may be damaged, features that still fit are taken."""

    def made(self) -> Iterable[tuple[str, bytes]]:
        from personare.studio.settings import Settings
        from personare.studio.studio import Studio
        from personare.studio.transfer import export_avatar

        studio = Studio(Settings(cache_dir=self.folder / "exported"))
        studio.create("anna", studio.cast(PORTRAIT, None, {"size": 256}), replace=True)
        export_avatar(studio, "anna", self.folder / "sample.avatar")
        studio.store.close()
        self.studio = Studio(Settings(cache_dir=self.folder / "imported"))
        yield ".avatar", (self.folder / "sample.avatar").read_bytes()

    def read(self, path: Path) -> None:
        from personare.studio.transfer import import_avatar

        import_avatar(self.studio, path, "bert", replace=True, trust=True)


class Index(Reader):
    def made(self) -> Iterable[tuple[str, bytes]]:
        from personare.cache.index import Index as TheIndex
        from personare.cache.index import Surroundings
        from personare.cache.index_rows import Row
        from personare.cache.keys import FileStamp

        self.keys = [f"{n:02x}" * 32 for n in range(20)]
        self.stamp = FileStamp(1, 2, 3, 4, 5)
        path = self.folder / "sample.sqlite3"
        index = TheIndex(path, lambda known, pinned: Surroundings((), ()))
        for key in self.keys:
            index.record(Row(key, "toy.one", 10, 1.0, 2.0))
        index.pin("/shelf", "anna", self.keys[:5])
        index.remember_digest(Path("/me.jpg"), self.stamp, self.keys[7])
        index.close()
        with sqlite3.connect(path) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        db.close()
        yield ".sqlite3", path.read_bytes()

    def read(self, path: Path) -> None:
        from personare.cache.index import Index as TheIndex
        from personare.cache.index import Surroundings
        from personare.cache.index_rows import Row

        def look(known: object, pinned: object) -> Surroundings:
            rows = [Row(key, "toy.one", 10, 0.0, 0.0) for key in self.keys]
            return Surroundings(self.keys, rows, "/shelf", {"anna": tuple(self.keys[:5])})

        index = TheIndex(path, look)
        assert index.recall_digest(Path("/me.jpg"), self.stamp) in (None, self.keys[7])
        index.touch(self.keys[0], 5.0)
        index.reconcile()
        assert {row.key for row in index.rows()} == set(self.keys)
        assert set(index.pins()) == set(self.keys[:5])
        index.close()


class FeatureFile(Reader):
    def made(self) -> Iterable[tuple[str, bytes]]:
        from personare.cache.feature_file import storable, write_feature
        from personare.types import Feature

        feature = Feature({"x": np.arange(60.0).reshape(3, 20), "on": np.ones(5, np.bool_)}, {"a": [1, "b"]})
        path = self.folder / "sample.safetensors"
        write_feature(path, storable(feature, "toy.one"), "ab" * 32, "toy.one")
        yield ".safetensors", path.read_bytes()

    def read(self, path: Path) -> None:
        from personare.cache.feature_file import DamagedFeature, read_feature

        for verify in (True, False):
            try:
                with path.open("rb") as file:
                    read_feature(file, "ab" * 32, verify=verify)
            except DamagedFeature:
                continue


class Stranger(Reader):
    """Features of puppet with right checksums: whatever has the form of its stage is computed
    with and drawn.
    """

    def made(self) -> Iterable[tuple[str, bytes]]:
        from personare.cache.run import prepare
        from personare.cache.store import FeatureStore
        from personare.engines.engine import load_engine

        engine = load_engine("puppet")
        self.recipe = engine.recipe(engine.read_options({"size": 256, "background": "keep"}))
        store = FeatureStore(self.folder / "own")
        prepared = prepare(self.recipe, PORTRAIT, store)
        self.own, self.keys = dict(prepared.features), dict(prepared.keys)
        for stage, key in self.keys.items():
            file = store.file(key)
            assert file is not None
            yield f".{stage}", file.read_bytes()
        store.close()

    def read(self, path: Path) -> None:
        from personare.cache.feature_file import DamagedFeature, read_feature
        from personare.cache.run import inputs_of

        data = _with_checksum(path.read_bytes())
        path.write_bytes(data)
        name = path.suffixes[0][1:] + path.suffixes[1]
        chance = random.Random(data)
        try:
            with path.open("rb") as file:
                feature, _ = read_feature(file, self.keys[name], verify=True)
        except DamagedFeature:
            feature = self.own[name]
        features = dict(self.own)
        changed = {name}
        for stage in self.recipe.stages:
            inputs = inputs_of(stage, {"portrait": PORTRAIT}, features)
            if stage.name == name:
                assert stage.form is not None
                if chance.random() < 0.7:
                    feature = _stirred(feature, stage.form(inputs), chance)
                if stage.misfit(inputs, feature):
                    return
                features[name] = feature
            elif changed.intersection(stage.needs):
                features[stage.name] = stage.compute(inputs)
                changed.add(stage.name)
        self._draw(features, chance)

    def _draw(self, features: Mapping[str, Feature], chance: random.Random) -> None:
        from personare.engines.puppet.draw.face import FaceRenderer
        from personare.motion import UNIT, FaceState

        renderer = FaceRenderer(features)
        for most in (0.0, 1.0):
            curves = np.array([most * chance.random() for _ in UNIT], np.float32)
            renderer.render(FaceState(curves, most, (9 * most, 5 * most, 3), (0.02, 0.01), (0.05, 0)))


def _with_checksum(content: bytes) -> bytes:
    """A feature file's bytes with the checksum that belongs to them."""
    at = content.find(CHECKSUM) + len(CHECKSUM)
    start, end = content[:at], content[at + 64 :]
    return start + blake3(start + b"0" * 64 + end).hexdigest().encode("ascii") + end


def _stirred(feature: Feature, form: Form, chance: random.Random) -> Feature:
    """One array moved at random, within what the form allows its values."""
    name = chance.choice(sorted(form.arrays))
    if name not in feature.arrays:
        return feature
    bounds, array = form.arrays[name], np.array(feature.arrays[name])
    noise = np.random.default_rng(chance.getrandbits(32)).standard_normal(array.shape)
    spread = (bounds.high - bounds.low) * 10 ** -chance.uniform(0, 5)
    if chance.random() < 0.5:
        noise[:] = noise.reshape(-1)[:1]  # all of them alike
    moved = np.clip(array + noise * spread, bounds.low, bounds.high).astype(array.dtype)
    return Feature({**feature.arrays, name: moved}, feature.metadata)


class MarkedClip(Reader):
    """What `personare verify` reads. The signed one is kept: no two signatures are alike, and a
    case is the same at every run.
    """

    def made(self) -> Iterable[tuple[str, bytes]]:
        from tests.unit.marked_clips import write_marked, write_plain

        for fragmented in (False, True):
            plain = write_plain(self.folder / "plain.mp4", fragmented=fragmented)
            yield ".mp4", write_marked(self.folder / "marked.mp4", plain).read_bytes()
        yield ".mp4", (Path(__file__).parent / "signed.mp4").read_bytes()

    def read(self, path: Path) -> None:
        from personare.cli.verify import lines
        from personare.provenance.verify import verify

        for line in lines(verify(path)):
            assert line.isprintable()


class Checkpoint(Reader):
    neural = True

    def made(self) -> Iterable[tuple[str, bytes]]:
        import torch
        from safetensors.torch import save

        state = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(3).half()}
        for is_zip in (True, False):
            buffer = io.BytesIO()
            torch.save({"state_dict": state, "epoch": 3}, buffer, _use_new_zipfile_serialization=is_zip)
            yield ".pth", buffer.getvalue()
        yield ".safetensors", save(state)
        yield ".pkl", pickle.dumps({"w": np.arange(5), "names": ["a", b"b", (1, 2.5)]}, protocol=4)

    def read(self, path: Path) -> None:
        from personare.weights.loading import read_checkpoint

        held = read_checkpoint(path)
        assert not isinstance(held, zipfile.ZipFile)


READERS: dict[str, type[Reader]] = {
    "picture": Picture,
    "sound": Sound,
    "video": Video,
    "curves": Curves,
    "jobs": Jobs,
    "text": Text,
    "phones": Phones,
    "manifest": Manifest,
    "archive": Archive,
    "index": Index,
    "feature": FeatureFile,
    "stranger": Stranger,
    "marks": MarkedClip,
    "checkpoint": Checkpoint,
}
