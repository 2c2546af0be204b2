"""Names of the common options in other languages, for pages. Python and the command line have
the options' own names; what has no name here is shown as it is.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

LABELS: Mapping[str, Mapping[str, str]] = {
    "zh": {
        "audio": "语音处理",
        "background": "背景",
        "batch_size": "批大小",
        "blink_rate": "眨眼频率",
        "clip_length": "片段长度",
        "detector": "人脸检测",
        "emotion": "情绪",
        "emotion_strength": "情绪强度",
        "expressiveness": "表现力",
        "face": "选择人脸",
        "face_height": "人脸高度",
        "fps": "帧率",
        "framing": "构图",
        "fix_pose": "固定头部",
        "gaze": "视线",
        "head_motion": "头部动作",
        "look": "外观",
        "mask_blur": "边缘柔化",
        "nfe": "步数",
        "no_crop": "不裁剪",
        "parser": "人脸分割",
        "person": "人物",
        "precision": "精度",
        "rest_in_silence": "静默时休息",
        "seed": "随机种子",
        "shape": "脸型",
        "silence": "静默处理",
        "size": "尺寸",
        "smoothing": "平滑",
        "steps": "步数",
        "style": "风格",
        "version": "版本",
    },
}
"""Language -> option -> its name."""


def labels_of(options: Collection[str]) -> dict[str, dict[str, str]]:
    """Language -> name of those options that have one."""
    return {
        language: {name: label for name, label in labels.items() if name in options}
        for language, labels in LABELS.items()
    }
