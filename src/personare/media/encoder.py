"""One clip's encoders and muxer, and the thread in which they run."""

from __future__ import annotations

import errno
import queue
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorTrc
from av.video.stream import VideoStream
from numpy.typing import NDArray

from personare.errors import EngineError, PersonareError, UnwritableOutput
from personare.media.colour import even_sized, i420
from personare.media.resample import StreamResampler

_QUEUE_LENGTH = 8
_BUFFER_BYTES = 1 << 18
_KEY_FRAME_SECONDS = 2
_LIVE_KEY_FRAME_SECONDS = 1
_AAC_RATES_HZ = (7350, 8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_MATRIX_BT601 = 6
_LIMITED_RANGE = 1
_FAST_VOICE_BITS = 64_000
"""From these bits per second and channel on FFmpeg's fast AAC coder is as good as its slow one
(16 kHz: 31.6 against 31.5 dB, for a fifth of the time).
"""
_KNOWN_TAGS = {"title", "artist", "album", "comment", "copyright", "date", "description", "genre"}
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


class BinaryWriter(Protocol):
    """What a live clip is written to. `write` takes all or says how many bytes it took."""

    def write(self, data: bytes, /) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Quality:
    """How much the clip may cost.

    preset, crf: x264's speed and constant rate factor (0 lossless ... 51 worst). voice_bits:
    AAC bits per second and channel, or None for what suits the rate. Measured at 512x512:
    veryfast takes a third of medium's time for 1.5 dB less.
    """

    preset: str = "veryfast"
    crf: float = 18
    voice_bits: int | None = None


@dataclass(frozen=True, slots=True)
class ClipFormat:
    """What the encoder has to know; size is even."""

    container: str
    size: tuple[int, int]
    fps: Fraction
    voice_rate: int | None
    voice_channels: int
    fragmented: bool
    quality: Quality
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def aac_rate(self) -> int | None:
        if self.voice_rate is None:
            return None
        return next((rate for rate in _AAC_RATES_HZ if rate >= self.voice_rate), _AAC_RATES_HZ[-1])


class Sink:
    """Takes every byte or raises; FFmpeg would not notice a short write. Once `closed`, it
    refuses more.
    """

    name = "clip"

    def __init__(self, target: BinaryWriter) -> None:
        self._target = target
        self.closed = False

    def write(self, data: bytes) -> int:
        if self.closed:
            raise OSError(errno.ECANCELED, "the clip was given up")
        rest = memoryview(data)
        while rest:
            taken = self._target.write(bytes(rest))
            if taken is not None and not 0 < taken <= len(rest):
                raise OSError(errno.EIO, f"it took {taken} of {len(rest)} bytes")
            rest = rest[len(rest) if taken is None else taken :]
        return len(data)


class FileSink(Sink):
    """A file that FFmpeg may also rewrite and read back."""

    def __init__(self, file: BinaryIO, part: Path) -> None:
        super().__init__(file)
        self.seek = file.seek
        self.tell = file.tell
        self._part = part

    def reopened(self, url: str, flags: int, options: Mapping[str, str]) -> BinaryIO:  # noqa: ARG002
        """A second handle to read from, which FFmpeg needs to put the index in front."""
        return self._part.open("rb")


class _Encoder:
    """The two encoders and the muxer. Not thread-safe."""

    def __init__(self, clip: ClipFormat, sink: Sink) -> None:
        live = "+frag_keyframe+empty_moov+default_base_moof+delay_moov"
        options = {"movflags": live if clip.fragmented else "+faststart"}
        if set(clip.metadata) - _KNOWN_TAGS:
            options["movflags"] += "+use_metadata_tags"  # else MP4 drops them without a word
        if clip.fragmented:
            options["flush_packets"] = "1"
        self._clip = clip
        self._container: OutputContainer = av.open(
            sink,
            mode="w",
            format=clip.container,
            container_options=options,
            buffer_size=_BUFFER_BYTES,
            io_open=sink.reopened if isinstance(sink, FileSink) else None,
        )
        self._container.metadata.update(clip.metadata)
        self._video = self._add_video()
        self._voice = None if clip.aac_rate is None else self._add_voice(clip.aac_rate)
        self._frames = 0
        self._samples = 0

    def picture(self, image: NDArray[np.uint8]) -> None:
        planes = i420(np.ascontiguousarray(even_sized(image)))
        frame = VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.pts = self._frames
        frame.time_base = 1 / self._clip.fps
        self._frames += 1
        self._container.mux(self._video.encode(frame))

    def sound(self, voice: NDArray[np.float32]) -> None:
        self._encode_voice(self._resampler.push(voice))

    def finish(self) -> None:
        self._container.mux(self._video.encode(None))
        if self._voice is not None:
            self._encode_voice(self._resampler.finish())
            self._container.mux(self._voice.encode(None))
        self._container.close()

    def _encode_voice(self, voice: NDArray[np.float32]) -> None:
        if self._voice is None or len(voice) == 0:
            return
        frame = AudioFrame.from_ndarray(
            np.ascontiguousarray(voice.T),
            format="fltp",
            layout="mono" if self._clip.voice_channels == 1 else "stereo",
        )
        frame.sample_rate = self._voice.rate
        frame.pts = self._samples
        frame.time_base = Fraction(1, self._voice.rate)
        self._samples += len(voice)
        self._container.mux(self._voice.encode(frame))

    def _add_video(self) -> VideoStream:
        clip = self._clip
        seconds = _LIVE_KEY_FRAME_SECONDS if clip.fragmented else _KEY_FRAME_SECONDS
        options = {"preset": clip.quality.preset, "crf": f"{clip.quality.crf:g}", "profile": "high"}
        options["g"] = str(max(1, round(clip.fps * seconds)))
        # chromaloc: the chroma sits where colour.i420 puts it. The short look-ahead keeps
        # memory and delay small. me=dia: heads move little; a tenth of the time for 0.4 % of
        # the bytes and 0.02 dB at most. weightb=0: means of two pictures without weights are
        # smaller where nothing fades.
        options["x264-params"] = "chromaloc=1:rc-lookahead=10:me=dia:weightb=0"
        if clip.fragmented:
            options["tune"] = "zerolatency"
        stream = self._container.add_stream("libx264", rate=clip.fps, options=options)
        stream.height, stream.width = clip.size
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.thread_count = 1  # more would change the bytes with the machine
        context.colorspace = _MATRIX_BT601
        context.color_range = _LIMITED_RANGE
        context.color_primaries = ColorPrimaries.BT709
        context.color_trc = ColorTrc.IEC61966_2_1
        return stream

    def _add_voice(self, rate: int) -> AudioStream:
        clip = self._clip
        assert clip.voice_rate is not None
        self._resampler = StreamResampler(clip.voice_rate, rate, clip.voice_channels)
        bits = clip.quality.voice_bits or min(96_000, 4 * rate)
        coder = "fast" if bits >= _FAST_VOICE_BITS else "twoloop"
        stream = self._container.add_stream("aac", rate=rate, options={"aac_coder": coder})
        stream.layout = "mono" if clip.voice_channels == 1 else "stereo"
        stream.bit_rate = bits * clip.voice_channels
        return stream


class EncodingThread:
    """An encoder in a thread behind a bounded queue; its failure is raised in the caller."""

    def __init__(self, clip: ClipFormat, sink: Sink, name: str) -> None:
        self._clip, self._sink, self._name = clip, sink, name
        self._items: queue.Queue[NDArray[Any] | None] = queue.Queue(_QUEUE_LENGTH)
        self._abandoned = False
        self._end_taken = False
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._encode, name="personare-encoder", daemon=True)
        self._thread.start()

    def put(self, item: NDArray[Any]) -> None:
        """Queue a picture (uint8 [H, W, 3]) or a piece of voice (float32)."""
        self._raise_failure()
        self._items.put(item)

    def finish(self) -> None:
        """Encode what is queued, end the file; raises what went wrong."""
        self._items.put(None)
        self._thread.join()
        self._raise_failure()

    def abandon(self) -> None:
        """Drop what is queued and end without ending the file."""
        self._abandoned = True
        self._sink.closed = True
        while self._thread.is_alive():
            with suppress(KeyboardInterrupt):  # a second Ctrl-C must not leave the thread behind
                with suppress(queue.Full):
                    self._items.put_nowait(None)
                self._thread.join(timeout=0.05)

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise _as_ours(self._name, self._failure) from self._failure

    def _encode(self) -> None:
        encoder: _Encoder | None = None
        try:
            encoder = _Encoder(self._clip, self._sink)
            while (item := self._items.get()) is not None and not self._abandoned:
                if item.dtype == np.uint8:
                    encoder.picture(item)
                else:
                    encoder.sound(item)
            self._end_taken = True
            if not self._abandoned:
                encoder.finish()
        except Exception as error:  # handed to the caller's thread, whatever it is
            self._failure = error
            self._sink.closed = True  # else PyAV would try to end the file when it drops the container
            # The caller must not wait for a queue that nobody empties, nor this thread for an
            # end that it took already.
            while not (self._abandoned or self._end_taken):
                self._end_taken = self._items.get() is None


@contextmanager
def encoding_thread(clip: ClipFormat, sink: Sink, name: str) -> Iterator[EncodingThread]:
    """A running encoder whose file is ended when the block succeeds; in any case its thread is
    gone afterwards.
    """
    thread = EncodingThread(clip, sink, name)
    try:
        yield thread
        thread.finish()
    except BaseException:
        thread.abandon()
        raise


def _as_ours(name: str, error: Exception) -> PersonareError:
    if isinstance(error, OSError | ValueError | av.FFmpegError):
        return unwritable(name, error)
    return EngineError(f"the encoder of {name} failed: {type(error).__name__}: {error}")


def unwritable(name: str, error: Exception) -> UnwritableOutput:
    """The error for an output called `name` that failed with `error`."""
    code = getattr(error, "errno", None)
    if code in _DISK_FULL:
        return UnwritableOutput(
            f"{name} cannot be written: the disk is full", hint="free some space and try again"
        )
    if code == errno.EFBIG:
        return UnwritableOutput(
            f"{name} cannot be written: it grows larger than the file system or the user's limit allows",
            hint="raise the limit (ulimit -f) or choose another disk",
        )
    reason = getattr(error, "strerror", None) or str(error)
    return UnwritableOutput(
        f"{name} cannot be written: {reason}", hint="check the folder, its permissions and the disk"
    )
