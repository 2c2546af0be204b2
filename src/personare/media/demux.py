"""Containers of sound and video, opened so that a hostile file can reach nothing but itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal, NoReturn, cast

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.frame import Frame
from av.stream import Stream
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from personare.errors import UnreadableMedia
from personare.media.iso_boxes import claims_too_much, still_picture
from personare.media.local import open_local, shown

# Playlists and scripts (hls, concat, dash, sdp), devices, filters and still pictures are left
# out on purpose: they read other files or other machines, or are handled as pictures.
_DEMUXERS = (
    "aac", "ac3", "aiff", "amr", "amrnb", "amrwb", "ape", "asf", "au", "avi", "caf", "dts", "eac3", "flac",
    "flv", "matroska", "mov", "mp3", "mpeg", "mpegts", "mxf", "nut", "ogg", "tta", "voc", "w64", "wav", "wv",
    "yuv4mpegpipe",
)  # fmt: skip

# Decoders, by the names of what they decode: what cameras, recorders, editors and phones write.
# FFmpeg has five hundred; those of old games and scanners are as hostile bytes find them.
_DECODERS = {
    "sound": (
        "aac", "aac_latm", "ac3", "alac", "amr_nb", "amr_wb", "ape", "dts", "eac3", "flac", "g722", "g723_1",
        "g729", "gsm", "gsm_ms", "ilbc", "mlp", "mp1", "mp2", "mp3", "mp4als", "nellymoser", "opus", "qcelp",
        "qdm2", "s302m", "speex", "truehd", "tta", "vorbis", "wavpack", "wmalossless", "wmapro", "wmav1",
        "wmav2", "wmavoice",
    ),
    "video": (
        "apv", "av1", "bmp", "cfhd", "cinepak", "dirac", "dnxhd", "dvvideo", "ffv1", "ffvhuff", "flv1",
        "h261", "h263", "h263p", "h264", "hap", "hevc", "huffyuv", "jpeg2000", "lagarith", "magicyuv",
        "mjpeg", "mjpegb", "mpeg1video", "mpeg2video", "mpeg4", "msmpeg4v1", "msmpeg4v2", "msmpeg4v3",
        "msvideo1", "png", "prores", "qtrle", "r10k", "r210", "rawvideo", "svq1", "svq3", "theora", "utvideo",
        "v210", "v308", "v408", "v410", "vc1", "vp6", "vp6a", "vp6f", "vp7", "vp8", "vp9", "vvc", "webp",
        "wmv1", "wmv2", "wmv3",
    ),
}  # fmt: skip
_DECODER_FAMILIES = ("pcm_", "adpcm_")
_MOST_FAILURES = 5000
"""Packets in a row that do not decode, after which the rest is taken for damaged: a small file
may claim millions.
"""
_HEAD_BYTES = 512

_HINTS = {
    "sound": "give a wav, mp3, ogg, flac, m4a or a video with sound",
    "video": "give an mp4, mov, webm, mkv or avi file",
}

_DECODING_ERRORS = (av.FFmpegError, ValueError, OSError)  # all that PyAV raises for damaged files

Kind = Literal["sound", "video"]


@contextmanager
def opened_container(path: Path, what: Kind) -> Iterator[InputContainer]:
    """The container in a local file, closed at the end.

    FFmpeg gets an open file, never the name (no protocol, no pattern, no guess from the
    suffix), may use the demuxers listed above only, and is refused every further file that the
    container refers to. Raises UnreadableMedia for what `open_local` refuses and for everything
    that is not such a container.
    """
    with open_local(path) as file:
        still = still_picture(_head(file, path, what))
        if still is not None:
            raise UnreadableMedia(f"{shown(path)} is a {still} picture, no {what}", hint=_HINTS[what])
        if claims_too_much(file):
            raise UnreadableMedia(
                f"{shown(path)} is damaged: it claims more samples than it can hold", hint=_HINTS[what]
            )
        try:
            container = av.open(
                _Nameless(file),
                mode="r",
                metadata_errors="replace",
                container_options={"format_whitelist": ",".join(_DEMUXERS), "protocol_whitelist": "file"},
                io_open=_refuse_reference,
            )
        except _DECODING_ERRORS as error:
            raise _not_playable(path, what) from error
        with container:
            yield container


def decoded_frames(
    container: InputContainer,
    stream: Stream,
    path: Path,
    what: Kind,
    decoder: VideoCodecContext | None = None,
) -> Iterator[Frame]:
    """The frames of one stream. Packets that do not decode are left out, and so is all behind a
    break of the container, or behind thousands of such packets.

    decoder: another than the stream's own.

    Raises UnreadableMedia if something was there but none of it could be decoded.
    """
    anything = False
    failures = 0
    damage: Exception | None = None
    try:
        for packet in container.demux(stream):
            try:
                frames = packet.decode() if decoder is None else decoder.decode(packet)
            except av.FFmpegError as error:
                damage = error
                failures += 1
                if failures > _MOST_FAILURES:
                    break
                continue
            for frame in frames:
                anything = True
                failures = 0
                yield cast(Frame, frame)
    except _DECODING_ERRORS as error:
        damage = error
    if damage is not None and not anything:
        raise _not_playable(path, what) from damage


def check_decoder(stream: AudioStream | VideoStream, path: Path, what: Kind) -> None:
    """Raises UnreadableMedia for a stream in a format without a decoder, or with one that is
    not among those that read what people have.
    """
    convert = "convert it to wav" if what == "sound" else "convert it to H.264"
    if stream.codec_context is None:
        raise UnreadableMedia(f"the {what} of {shown(path)} is in a format without a decoder", hint=convert)
    name = stream.codec_context.codec.canonical_name
    if name not in _DECODERS[what] and not (what == "sound" and name.startswith(_DECODER_FAMILIES)):
        raise UnreadableMedia(
            f"the {what} of {shown(path)} is in a format that is not read here: {name}", hint=convert
        )


def claimed_seconds(container: InputContainer, stream: Stream) -> float | None:
    """What the container says about the length of a stream, or of itself; None if nothing."""
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return None if container.duration is None else container.duration / av.time_base


def _not_playable(path: Path, what: Kind) -> UnreadableMedia:
    kind = "a sound or video" if what == "sound" else "a video"
    return UnreadableMedia(
        f"{shown(path)} is not {kind} file that can be read, or it is damaged", hint=_HINTS[what]
    )


def _head(file: BinaryIO, path: Path, what: Kind) -> bytes:
    try:
        head = file.read(_HEAD_BYTES)
        file.seek(0)
    except OSError as error:
        raise _not_playable(path, what) from error
    return head


class _Nameless:
    """A file without its name, so that FFmpeg judges content alone."""

    def __init__(self, file: BinaryIO) -> None:
        self.read = file.read
        self.seek = file.seek
        self.tell = file.tell


def _refuse_reference(url: str, flags: int, options: dict[str, str]) -> NoReturn:  # noqa: ARG001
    raise PermissionError("a media file may not refer to other files")
