"""Small clips with marks, and what others do to them: another container, a cut, another
encoder.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from personare.media.writer import ClipWriter
from personare.provenance.boxes import with_marks
from personare.provenance.content import content_of
from personare.provenance.marks import Mark, content_id

FRAMES = 75
SIDE = 64


def write_plain(path: Path, *, fragmented: bool = False, metadata: Mapping[str, str] | None = None) -> Path:
    """Three seconds of a moving pattern with noise for sound."""
    noise = np.random.default_rng(1)
    with ClipWriter(
        path, size=(SIDE, SIDE), fps=Fraction(25), voice_rate=16000, fragmented=fragmented, metadata=metadata
    ) as writer:
        ramp = np.add.outer(np.arange(SIDE), np.arange(SIDE))
        for number in range(FRAMES):
            picture = ((ramp * 2 + 5 * number) % 256).astype(np.uint8)
            writer.write_frames(np.repeat(picture[None, ..., None], 3, axis=3))
            writer.write_voice(noise.normal(0, 0.1, (640, 1)).astype(np.float32))
    return path


def mark_of(plain: Path, producer: str = "Bärbel & <Co>") -> Mark:
    made = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)
    name = content_id(content_of(plain).digest)
    return Mark(producer, name, "puppet 6", "personare 0.1.0", made, "c" * 64)


def write_marked(path: Path, plain: Path, mark: Mark | None = None) -> Path:
    mark = mark or mark_of(plain)
    with plain.open("rb") as source, path.open("w+b") as target:
        with_marks(source, target, mark.tags(), mark.xmp())
    return path


def remuxed(source: Path, path: Path, *, keeping: tuple[str, ...] = (), until: float = 1e9) -> Path:
    """The same packets in a new file, as FFmpeg's -c copy makes it. keeping: of the tags."""
    options = {"movflags": "use_metadata_tags"} if keeping and path.suffix == ".mp4" else {}
    with av.open(str(source)) as old, av.open(str(path), "w", container_options=options) as new:
        new.metadata.update({key: old.metadata[key] for key in keeping})
        streams = {stream.index: new.add_stream_from_template(stream) for stream in old.streams}
        for packet in old.demux():
            if packet.dts is not None and packet.pts * packet.time_base < until:
                packet.stream = streams[packet.stream.index]
                new.mux(packet)
    return path


def reencoded(source: Path, path: Path) -> Path:
    """The pictures at another size and quality, their tags lost."""
    with av.open(str(source)) as old, av.open(str(path), "w") as new:
        stream = new.add_stream("libx264", rate=25, options={"crf": "30"})
        stream.width = stream.height = 48
        for frame in old.decode(video=0):
            new.mux(stream.encode(frame.reformat(48, 48)))
        new.mux(stream.encode())
    return path


def flipped(source: Path, path: Path, share: float = 0.5) -> Path:
    data = bytearray(source.read_bytes())
    data[int(len(data) * share)] ^= 1
    path.write_bytes(data)
    return path


def decoded(path: Path) -> np.ndarray:
    """Pictures as bytes, uint8 [n, ...]."""
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray() for frame in container.decode(video=0)])
