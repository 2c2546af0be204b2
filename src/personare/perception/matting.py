"""Which pixels are the person: MediaPipe Selfie Segmentation."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from personare.perception.networks import network
from personare.types import Image

NETWORK = "selfie_segmentation"


def person_matte(image: Image) -> NDArray[np.float32]:
    """Float32 [H, W] in [0, 1]: 1 where the picture shows the person, 0 where it shows the
    background.

    The network works at 256 x 256, so hair is soft; the picture is squeezed to a square, as in
    training.
    """
    reader = network(NETWORK)
    size = (reader.side_px, reader.side_px)
    shrink = cv2.INTER_AREA if min(image.shape[:2]) > 2 * reader.side_px else cv2.INTER_LINEAR
    small = cv2.resize(image, size, interpolation=shrink).astype(np.float32) / 255.0
    matte = reader(small)[0].reshape(size)
    resized = cv2.resize(matte, (image.shape[1], image.shape[0]), interpolation=cv2.INTER_LINEAR)
    return np.clip(resized, 0.0, 1.0).astype(np.float32)
