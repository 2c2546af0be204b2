"""What a clip is, however it is packed: the digest of its encoded pictures and sound.

Another container, another index, marks put on or taken off leave it as it is; a cut, another
encoder and every flipped bit of the media change it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from av import FFmpegError
from blake3 import blake3

from personare.errors import UnreadableMedia
from personare.media.demux import opened_container
from personare.media.local import shown

MOST_PACKETS = 20_000_000


@dataclass(frozen=True, slots=True)
class Content:
    """digest: 64 hex digits. seconds: of the pictures, as the file tells. pictures: how many."""

    digest: str
    seconds: float
    pictures: int


def content_of(path: Path) -> Content:
    """Digest the packets of the first video and the first sound track, in their own order.
    Nothing is decoded. Raises UnreadableMedia for a file without pictures, or a damaged one.
    """
    with opened_container(path, "video") as container:
        if not container.streams.video:
            raise UnreadableMedia(f"{shown(path)} has no moving pictures", hint="give a clip")
        video = container.streams.video[0]
        tracks = [video, *container.streams.audio[:1]]
        hashers = {track.index: blake3() for track in tracks}  # in the order of tracks
        pictures = 0
        try:
            for number, packet in enumerate(container.demux(tracks)):
                if number > MOST_PACKETS:
                    raise UnreadableMedia(f"{shown(path)} has too many packets", hint="split it")
                if packet.size:
                    hasher = hashers[packet.stream_index]
                    hasher.update(struct.pack("<q", packet.size))
                    hasher.update(bytes(packet))
                    pictures += packet.stream_index == video.index
        except (FFmpegError, ValueError, OSError) as error:
            raise UnreadableMedia(f"{shown(path)} is damaged: {error}", hint="get it once more") from None
        fps = video.average_rate
    whole = blake3(b"".join(hasher.digest() for hasher in hashers.values()))
    return Content(whole.hexdigest(), pictures / float(fps) if fps else 0.0, pictures)
