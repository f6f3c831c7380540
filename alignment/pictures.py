"""Pictures as pillow opens them: their pixels exactly as stored, and which side is up."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._checks import InputError
from .guards import transparent
from .levels import Image


def pixels(name: str, picture: Any) -> Image:
    """Take the pixels out of a picture that pillow has loaded, as `read_image` promises them."""
    mode = picture.mode
    if mode.startswith("I;16"):
        image = np.asarray(picture).astype(np.uint16)
        if "transparency" in picture.info and (image == picture.info["transparency"]).any():
            raise transparent(name)
        return image
    if "transparency" in picture.info or mode in ("LA", "La", "PA", "RGBA", "RGBa"):
        grey = mode in ("1", "L", "LA", "La")
        both = np.asarray(picture.convert("LA" if grey else "RGBA"))
        if (both[..., -1] != 255).any():
            raise transparent(name)
        return both[..., 0] if grey else both[..., :3]
    if mode == "1":
        return np.asarray(picture.convert("L"))
    if mode == "P":
        return np.asarray(picture.convert("RGB"))
    if mode in ("L", "RGB"):
        return np.asarray(picture)
    raise InputError(
        f"{name} stores its pixels as {mode}, which is neither grey nor RGB; convert it to grey or RGB first."
    )


def exif_orientation(picture: Any) -> int:
    """Return which side of a picture is up, by the number of EXIF: 1 if it does not say."""
    try:
        return int(picture.getexif().get(0x0112, 1))
    except Exception:  # broken metadata say nothing about the picture
        return 1


def upright(image: Image, orientation: int) -> Image:
    """Apply the orientation 1 ... 8 of EXIF and TIFF: where the stored first row and first column lie."""
    if orientation in (5, 6, 7, 8):
        image = image.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return image
