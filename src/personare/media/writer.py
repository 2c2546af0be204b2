"""Clips: frames and a voice into an MP4, encoded while the next frames are rendered."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import numpy as np
from numpy.typing import NDArray

from personare.errors import EngineError, UnwritableOutput
from personare.ground.durable import replaced_when_complete
from personare.media.encoder import (
    BinaryWriter,
    ClipFormat,
    EncodingThread,
    FileSink,
    Quality,
    Sink,
    encoding_thread,
    unwritable,
)
from personare.media.local import shown

VERSION = 3
"""Raised whenever the same frames and voice give other bytes than before."""

_VOICE_PIECE_SECONDS = 1
_CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov"}


class ClipWriter(AbstractContextManager["ClipWriter"]):
    """Writes one clip: H.264 (High, 4:2:0) and AAC in MP4; used as a context manager.

    target: a path ending in .mp4, .m4v or .mov, where the file appears when the block succeeds
        (nothing stays if it fails); or, for live use, a blocking file object open for writing,
        which the writer does not close.
    size: (height, width); odd sizes are encoded with their last row or column repeated.
    fps: exact; frame i is shown at i / fps.
    voice_rate: Hz, None for a silent clip; the voice keeps its rate where AAC has it, else it
        gets the next higher one, at most 48 kHz.
    voice_channels: 1 or 2.
    fragmented: playable while it grows (always so for file objects); else the index comes
        first.
    metadata: title, comment and so on, and any key of one's own; a live clip tells them in its
        first bytes.
    when_complete: called with the complete file just before it gets its name; never for file
        objects.

    The same input gives the same bytes. Encoding runs in a thread of its own, at most 8 frames
    behind. Raises UnwritableOutput, as early as the constructor for what can be known by then,
    and EngineError for frames or voice of another shape than announced.
    """

    def __init__(
        self,
        target: Path | BinaryWriter,
        *,
        size: tuple[int, int],
        fps: Fraction,
        voice_rate: int | None = None,
        voice_channels: int = 1,
        fragmented: bool = False,
        quality: Quality | None = None,
        metadata: Mapping[str, str] | None = None,
        when_complete: Callable[[Path], None] | None = None,
    ) -> None:
        if voice_channels not in (1, 2):
            raise EngineError(f"a clip has one or two voice channels, not {voice_channels}")
        self._target = checked_target(target) if isinstance(target, Path) else target
        self._clip = ClipFormat(
            "mp4" if not isinstance(target, Path) else _CONTAINERS[target.suffix.lower()],
            (size[0] + size[0] % 2, size[1] + size[1] % 2),
            fps,
            voice_rate,
            voice_channels,
            fragmented or not isinstance(target, Path),
            quality or Quality(),
            dict(metadata or {}),
        )
        self._size = size
        self._when_complete = when_complete
        self._scope: AbstractContextManager[EncodingThread] | None = None
        self._thread: EncodingThread | None = None

    @staticmethod
    def settings() -> str:
        """What decides the bytes of a clip, given frames and voice: encoder settings and
        versions of the libraries behind them.
        """
        libraries = " ".join(
            f"{name} {'.'.join(map(str, number))}" for name, number in sorted(av.library_versions.items())
        )
        return f"{Quality()} {VERSION} {libraries}"

    def write_frames(self, images: NDArray[np.uint8]) -> None:
        """The next frames, uint8 [n, H, W, 3] RGB, not to be written into any more. Waits while
        the encoder is 8 frames behind.
        """
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (*self._size, 3):
            raise EngineError(
                f"frames of {images.dtype} {images.shape} for a clip of uint8 [n, {self._size}, 3]"
            )
        for image in images:
            self._running().put(image)

    def write_voice(self, voice: NDArray[np.float32]) -> None:
        """The next samples of the voice, float32 [m, channels] in [-1, 1] at the voice's rate."""
        if self._clip.voice_rate is None:
            raise EngineError("this clip was opened without a voice")
        if voice.ndim != 2 or voice.shape[1] != self._clip.voice_channels:
            raise EngineError(
                f"voice of shape {voice.shape} for a clip with {self._clip.voice_channels} channels"
            )
        step = self._clip.voice_rate * _VOICE_PIECE_SECONDS
        for start in range(0, len(voice), step):
            self._running().put(np.array(voice[start : start + step], dtype=np.float32))

    def __enter__(self) -> ClipWriter:
        self._scope = self._encoding()
        self._thread = self._scope.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        assert self._scope is not None
        self._thread = None
        return self._scope.__exit__(kind, error, trace)

    def _running(self) -> EncodingThread:
        if self._thread is None:
            raise EngineError("a clip is written inside its with block only")
        return self._thread

    @contextmanager
    def _encoding(self) -> Iterator[EncodingThread]:
        if not isinstance(self._target, Path):
            with encoding_thread(self._clip, Sink(self._target), name="the clip") as thread:
                yield thread
            return
        callers_own = False
        try:
            with replaced_when_complete(self._target) as part:
                with (
                    part.open("wb", buffering=0) as file,
                    encoding_thread(self._clip, FileSink(file, part), name=shown(self._target)) as thread,
                ):
                    try:
                        yield thread
                    except BaseException:
                        callers_own = True
                        raise
                if self._when_complete is not None:
                    self._when_complete(part)
        except OSError as error:
            if callers_own:
                raise
            raise unwritable(shown(self._target), error) from error


def checked_target(target: Path) -> Path:
    """The target with links resolved. Raises UnwritableOutput for what can be known before
    anything is rendered.
    """
    if target.suffix.lower() not in _CONTAINERS:
        raise UnwritableOutput(
            f"{shown(target)} does not end in {', '.join(_CONTAINERS)}",
            hint="clips are MP4 files: end its name in .mp4",
        )
    try:
        target = target.resolve()
        if target.is_dir():
            raise UnwritableOutput(f"{shown(target)} is a folder", hint="name a file inside it")
        if target.exists() and not target.is_file():
            raise UnwritableOutput(f"{shown(target)} is not a regular file", hint="choose another name")
        if not target.parent.is_dir():
            raise UnwritableOutput(
                f"there is no folder {shown(target.parent)} for {target.name!r}",
                hint=f"make it first: mkdir -p {shown(target.parent)!r}",
            )
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except (
        OSError,
        ValueError,
        RuntimeError,
    ) as error:  # ValueError: a NUL in the name; RuntimeError: a loop of links
        raise unwritable(shown(target), error) from error
    return target
