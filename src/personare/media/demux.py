"""Containers of sound and video, opened so that a hostile file can reach nothing but itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal, NoReturn, cast

import av
from av.container import InputContainer
from av.frame import Frame
from av.stream import Stream

from personare.errors import UnreadableMedia
from personare.media.local import open_local, shown

# Playlists and scripts (hls, concat, dash, sdp), devices, filters and still pictures are left
# out on purpose: they read other files or other machines, or are handled as pictures.
_DEMUXERS = (
    "aac", "ac3", "aiff", "amr", "amrnb", "amrwb", "ape", "asf", "au", "avi", "caf", "dts", "eac3", "flac",
    "flv", "matroska", "mov", "mp3", "mpeg", "mpegts", "mxf", "nut", "ogg", "tta", "voc", "w64", "wav", "wv",
    "yuv4mpegpipe",
)  # fmt: skip

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


def decoded_frames(container: InputContainer, stream: Stream, path: Path, what: Kind) -> Iterator[Frame]:
    """The frames of one stream. Packets that do not decode are left out, and so is all behind a
    break of the container.

    Raises UnreadableMedia if something was there but none of it could be decoded.
    """
    anything = False
    damage: Exception | None = None
    try:
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except av.FFmpegError as error:
                damage = error
                continue
            for frame in frames:
                anything = True
                yield cast(Frame, frame)
    except _DECODING_ERRORS as error:
        damage = error
    if damage is not None and not anything:
        raise _not_playable(path, what) from damage


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


class _Nameless:
    """A file without its name, so that FFmpeg judges content alone."""

    def __init__(self, file: BinaryIO) -> None:
        self.read = file.read
        self.seek = file.seek
        self.tell = file.tell


def _refuse_reference(url: str, flags: int, options: dict[str, str]) -> NoReturn:  # noqa: ARG001
    raise PermissionError("a media file may not refer to other files")
