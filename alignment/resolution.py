"""The resolution of an image file: how many pixels an inch of the scanned thing has, read and told to an encoder."""

from __future__ import annotations

from typing import Any, BinaryIO, Final

from ._checks import InputError
from .files import Pathlike, name_of
from .formats import recognise
from .guards import open_regular
from .pictures import exif_orientation
from .silence import quiet_decoders

__all__ = ["read_resolution"]

_FINEST: Final = 1e6  # pixels per inch; what says more is no resolution


def read_resolution(path: Pathlike) -> tuple[float, float] | None:
    """Read how many pixels per inch a scanner has noted in an image file.

    Parameters
    ----------
    path : str or path
        A TIFF, PNG or JPEG file.

    Returns
    -------
    (float, float) or None
        Pixels per inch across and down the upright image, as `read_image` returns it; None where the file does not
        say, or says what cannot be.

    Raises
    ------
    InputError
        If the file cannot be opened, or is no image.

    Examples
    --------
    >>> import numpy as np, pathlib, tempfile
    >>> from alignment.imagefiles import read_resolution, write_image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "scan.tif")
    ...     write_image(path, np.zeros((4, 4), np.uint8), resolution=(1200, 1200))
    ...     read_resolution(path)
    (1200.0, 1200.0)
    """
    name = name_of(path)
    with open_regular(name) as file, quiet_decoders:
        kind = recognise(name, file.read(32))
        file.seek(0)
        try:
            found, orientation = _of_tiff(file) if kind == "TIFF" else _of_picture(kind, file)
        except Exception:  # broken metadata say nothing about the picture
            return None
    if found is None or not all(0 < number <= _FINEST for number in found):
        return None
    return (found[1], found[0]) if orientation in (5, 6, 7, 8) else found


def _of_tiff(file: BinaryIO) -> tuple[tuple[float, float] | None, int]:
    """Return the resolution of the first page of a TIFF, and its orientation."""
    import tifffile

    with tifffile.TiffFile(file) as tiff:
        tags = tiff.pages.first.tags
        unit = tags.valueof(296, default=2)
        scale = {2: 1.0, 3: 2.54}.get(int(unit))  # inches, centimetres
        across, down = (tags.valueof(code) for code in (282, 283))
        if scale is None or across is None or down is None:
            return None, 1
        pair = (scale * across[0] / across[1], scale * down[0] / down[1])
        return pair, int(tags.valueof(274, default=1))


def _of_picture(kind: str, file: BinaryIO) -> tuple[tuple[float, float] | None, int]:
    """Return the resolution of a PNG or JPEG, and its orientation."""
    from PIL import JpegImagePlugin, PngImagePlugin

    opened = PngImagePlugin.PngImageFile if kind == "PNG" else JpegImagePlugin.JpegImageFile
    with opened(file) as picture:
        noted = picture.info.get("dpi")
        pair = None if noted is None else (float(noted[0]), float(noted[1]))
        return pair, exif_orientation(picture)


def resolution_options(name: str, kind: str, resolution: tuple[float, float] | None) -> dict[str, Any]:
    """Say how many pixels an inch has, as the plugin wants to hear it."""
    if resolution is None:
        return {}
    across, down = (float(number) for number in resolution)
    if not (0 < across <= _FINEST and 0 < down <= _FINEST):
        raise InputError(
            f"{name} cannot be marked with a resolution of {(across, down)} pixels per inch; "
            f"give two numbers above 0, up to {_FINEST:g}."
        )
    if kind == "TIFF":
        return {"resolution": (across, down), "resolutionunit": "INCH"}
    return {"dpi": (across, down)}
