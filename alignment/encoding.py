"""Images made ready for a format, and encoded; what the format cannot hold is refused."""

from __future__ import annotations

import zlib
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt

from . import srgb
from ._checks import InputError
from ._version import __version__
from .formats import image_format
from .levels import INTEGERS, Image, array_of, as_float, known_dtype, to_dtype
from .resolution import resolution_options
from .silence import quiet_decoders

_JPEG_SIDE: Final = 65_500  # pixels; the format's own limit
_JPEG_COMMENT: Final = 65_533  # bytes in one marker segment
_RANGE_SLACK: Final = 1e-4  # how far rounding may carry a float image out of [0, 1]


def prepared(
    name: str,
    image: npt.ArrayLike,
    dtype: npt.DTypeLike | None,
    description: str | None,
    resolution: tuple[float, float] | None,
    colour_space: str | None,
) -> tuple[str, Image, dict[str, Any]]:
    """Return the format, the numbers to store and what else to tell the plugin, or raise what is wrong with them."""
    kind = image_format(name)
    array = _storable(name, kind, image, dtype)
    options = _writer_options(name, kind, array, description)
    return (
        kind,
        array,
        options | resolution_options(name, kind, resolution) | _space_options(name, array, colour_space),
    )


def _storable(name: str, kind: str, image: npt.ArrayLike, dtype: npt.DTypeLike | None) -> Image:
    """Return the very numbers to store, or raise the sentence that says why they cannot be stored."""
    array = array_of(name, image)
    if array.ndim not in (2, 3) or array.size == 0 or (array.ndim == 3 and array.shape[2] != 3):
        raise InputError(f"{name} cannot be written from an array of shape {array.shape}; give (H, W) or (H, W, 3).")
    if array.dtype.name not in INTEGERS and array.dtype.kind != "f":
        raise InputError(
            f"{name} cannot be written from an array of dtype {array.dtype}; give uint8, uint16, or floats in [0, 1]."
        )
    if dtype is not None:
        target = known_dtype(dtype, (*INTEGERS, "float32"))
    elif array.dtype.kind == "f":
        target = np.dtype(np.uint16 if kind == "TIFF" else np.uint8)
    else:
        target = array.dtype
    if array.dtype.kind == "f":
        low, high = float(np.min(array)), float(np.max(array))
        if not (np.isfinite(low) and np.isfinite(high)):
            raise InputError(
                f"{name} cannot be written, for the image holds NaN or infinity; replace them first (numpy.nan_to_num)."
            )
        if target.kind != "f" and (low < -_RANGE_SLACK or high > 1 + _RANGE_SLACK):
            raise InputError(
                f"{name} cannot be written from floats that run from {low:.6g} to {high:.6g}; "
                "scale or clip them to [0, 1], or give uint8 or uint16."
            )
        if max(-low, high) > float(np.finfo(np.float32).max):
            raise InputError(f"{name} cannot hold {low:.6g} to {high:.6g} as float32; divide the image first.")
    _check_format_holds(name, kind, array.shape, target)
    if target.kind == "f":
        return np.ascontiguousarray(as_float(array), dtype=np.float32)
    return np.ascontiguousarray(to_dtype(array, target))


def _check_format_holds(name: str, kind: str, shape: tuple[int, ...], target: np.dtype[Any]) -> None:
    """Refuse what a format cannot hold, with advice."""
    if target.kind == "f" and kind != "TIFF":
        raise InputError(f"{name} cannot hold float32, which {kind} does not know; use TIFF, or dtype uint8.")
    if target == np.uint16 and kind == "JPEG":
        raise InputError(f"{name} cannot hold uint16, because JPEG stores 8 bits; use TIFF or PNG, or dtype uint8.")
    if target == np.uint16 and kind == "PNG" and len(shape) == 3:
        raise InputError(
            f"{name} cannot hold uint16 in colour, because colour PNG is written with 8 bits; use TIFF, or dtype uint8."
        )
    if kind == "JPEG" and max(shape[:2]) > _JPEG_SIDE:
        raise InputError(
            f"{name} cannot hold {shape[1]} x {shape[0]} pixels, because JPEG ends at {_JPEG_SIDE}; use PNG or TIFF."
        )


def _writer_options(name: str, kind: str, array: Image, description: str | None) -> dict[str, Any]:
    """Collect what to tell the plugin besides the pixels."""
    if description is not None and "\x00" in description:
        raise InputError(f"{name} cannot hold a description with a null character in it; remove it.")
    text = None if description is None else description.encode("utf-8", errors="replace")
    if kind == "TIFF":
        options: dict[str, Any] = {
            "photometric": "rgb" if array.ndim == 3 else "minisblack",
            "metadata": None,
            "software": f"alignment {__version__}",
        }
        return options if text is None else options | {"description": text}
    if kind == "JPEG":
        if text is not None and len(text) > _JPEG_COMMENT:
            raise InputError(
                f"{name} cannot hold a description of {len(text)} bytes, because JPEG ends at {_JPEG_COMMENT}; "
                "shorten it."
            )
        options = {"quality": 95, "subsampling": "4:4:4"}
        return options if text is None else options | {"comment": text}
    # grain and noise, which fill a photograph of 8 bits, repeat nowhere: to look for repetitions, as the default does,
    # takes four times as long and makes the file no smaller; the second byte of 16 bits may repeat, if the first did
    options = {"compress_type": zlib.Z_RLE} if array.dtype == np.uint8 else {}
    if text is None:
        return options
    from PIL.PngImagePlugin import PngInfo

    information = PngInfo()
    information.add_itxt("Description", text.decode("utf-8"))
    return options | {"pnginfo": information}


def _space_options(name: str, array: Image, colour_space: str | None) -> dict[str, Any]:
    """Attach the profile of the colour space."""
    if colour_space is None:
        return {}
    if colour_space != "srgb" or array.ndim != 3:
        kind = "a colour" if array.ndim == 3 else "a grey"
        raise InputError(
            f"{name} is {kind} image and cannot be marked as {colour_space!r}; give 'srgb', for a colour image."
        )
    return {"iccprofile": srgb.profile()}


def encode(file: BinaryIO, kind: str, array: Image, options: dict[str, Any]) -> None:
    """Have the plugin of the format write an image into an open file."""
    import imageio.v3 as iio

    plugin = "tifffile" if kind == "TIFF" else "pillow"
    extension = {"TIFF": ".tif", "PNG": ".png", "JPEG": ".jpg"}[kind]
    if "iccprofile" in options and kind != "TIFF":
        options = {("icc_profile" if key == "iccprofile" else key): value for key, value in options.items()}
    with quiet_decoders:
        iio.imwrite(file, array, plugin=plugin, extension=extension, **options)
