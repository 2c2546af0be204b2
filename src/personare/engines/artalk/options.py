"""Every parameter of ARTalk."""

from __future__ import annotations

from pydantic import Field

from personare.engines.neural import DeviceOptions


class ArTalkOptions(DeviceOptions):
    style: str = Field(
        "default",
        description="how the head moves: default, the name of a style (`personare styles list`), or a file "
        "of two seconds of FLAME motion (.pt or .npz)",
    )
    smoothing: bool = Field(
        True,
        description="false: motion as the network makes it; true: smoothed as published, four frames later",
    )
    fix_pose: bool = Field(False, description="true: the head stays straight; the face alone moves")
    clip_length: int | None = Field(
        None, ge=1, description="frames of a clip at most; what is said after them is neither heard nor shown"
    )
    official_frame_count: bool = Field(
        False,
        description="true: frames are counted in floating point as published, for some lengths one more than "
        "there are",
    )
