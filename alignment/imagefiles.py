"""Images on disk: read exactly what is stored, write all of it or nothing.

Every decoder is named, because one left to choose may turn 16 bits into 8 without a word: TIFF goes through tifffile,
PNG and JPEG through pillow. A file is recognised by its first bytes, never by its suffix; one that is damaged, cut
short or something else altogether is refused in one sentence. Files are written under a temporary name in the same
folder and renamed when they are complete, so nobody ever finds half a picture.

Here are the verbs. What they are made of has files of its own: `guards` and `formats` look at a file before `tiff`,
`png` or `jpeg` decode it, `encoding` prepares what `replacement` puts in its place. The public names of these can be
had from here.
"""

from __future__ import annotations

from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from ._checks import InputError
from .encoding import encode, prepared
from .files import Pathlike, explain, name_of
from .formats import IMAGE_SUFFIXES, image_format, recognise
from .guards import MAX_PIXELS, open_regular
from .jpeg import read_jpeg
from .levels import Image, as_float, to_dtype
from .png import read_png
from .replacement import check_writable, replace_file
from .resolution import read_resolution
from .silence import quiet_decoders
from .tiff import read_tiff

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_PIXELS",
    "as_float",
    "check_writable",
    "encode_image",
    "image_format",
    "read_image",
    "read_resolution",
    "replace_file",
    "to_dtype",
    "write_image",
]


def read_image(path: Pathlike, *, page: int | None = None) -> Image:
    """Read an image exactly as it is stored.

    Parameters
    ----------
    path : str or path
        A TIFF, PNG or JPEG file. Its first bytes decide which, not its suffix.
    page : int, optional
        The page of a TIFF to read, counted from 0. Without it a file of several pages is refused, because which one
        was meant cannot be guessed. Reduced copies that scanners add (thumbnails) are not counted.

    Returns
    -------
    ndarray of shape (H, W) or (H, W, 3)
        The stored numbers: ``uint8`` or ``uint16``, or a float type from a TIFF that holds one.

    Raises
    ------
    InputError
        If the file is missing, is not an ordinary file, is no image, is cut short or damaged, has several pages, has
        more than `MAX_PIXELS` pixels, or holds something that would have to be altered to become such an array.

    Notes
    -----
    - A scan stored as RGB stays RGB, also when its three channels are equal: the caller decides.
    - Palettes become RGB, grey of 1, 2 or 4 bits becomes ``uint8`` from 0 to 255, and a TIFF whose zero is white is
      inverted, so that a large number always means bright.
    - An alpha channel is dropped if it is opaque everywhere; otherwise the image is refused, because the colours under
      transparent pixels are arbitrary.
    - The orientation that a camera or scanner noted (EXIF, or the TIFF tag) is applied: the array is upright,
      as a viewer shows it.
    - Colour profiles are ignored: the numbers are the stored ones.
    - 16-bit colour is exact in TIFF; in PNG it is refused, because pillow would return 8 bits without a word.

    Examples
    --------
    >>> import numpy as np, pathlib, tempfile
    >>> from alignment.imagefiles import read_image, write_image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "scan.tif")
    ...     write_image(path, np.array([[0, 40000], [7, 65535]], np.uint16))
    ...     read_image(path)
    array([[    0, 40000],
           [    7, 65535]], dtype=uint16)
    """
    name = name_of(path)
    with open_regular(name) as file, quiet_decoders:
        try:
            kind = recognise(name, file.read(32))
            if kind == "TIFF":
                image = read_tiff(name, file, page)
            else:
                if page not in (None, 0):
                    raise InputError(
                        f"{name} is a {kind} and has one page, but page {page!r} was asked for; leave the page out."
                    )
                image = (read_png if kind == "PNG" else read_jpeg)(name, file)
        except MemoryError as error:
            raise InputError(
                f"{name} is too large for the free memory of this machine; close other programs or crop it."
            ) from error
        except OSError as error:
            raise InputError(explain(name, "read", error)) from error
    return np.ascontiguousarray(image)


def write_image(
    path: Pathlike,
    image: npt.ArrayLike,
    *,
    overwrite: bool = False,
    dtype: npt.DTypeLike | None = None,
    description: str | None = None,
    resolution: tuple[float, float] | None = None,
    colour_space: str | None = None,
) -> None:
    """Write an image so that either the complete file appears or nothing.

    Parameters
    ----------
    path : str or path
        The suffix chooses the format: ``.tif``, ``.tiff``, ``.png``, ``.jpg`` or ``.jpeg``.
    image : array of shape (H, W) or (H, W, 3)
        ``uint8``, ``uint16``, or floats from 0 (black) to 1 (white).
    overwrite : bool
        Replace a file that is already there; otherwise it is refused.
    dtype : {"uint8", "uint16", "float32"}, optional
        What to store. The default keeps ``uint8`` and ``uint16``, and stores floats as ``uint16`` in a TIFF and as
        ``uint8`` in a PNG or JPEG. ``"float32"`` is for TIFF only.
    description : str, optional
        A text to keep with the image: the image description of a TIFF, the text "Description" of a PNG, the comment
        of a JPEG.
    resolution : (float, float), optional
        Pixels per inch across and down. PNG stores whole pixels per metre, JPEG whole pixels per inch.
    colour_space : {"srgb"}, optional
        Attach the ICC profile of sRGB, for colour images only. The numbers stay as they are.

    Raises
    ------
    InputError
        If the format cannot hold the image (16-bit JPEG, 16-bit colour PNG), if it holds NaN or floats outside [0, 1],
        if the file exists, or if it cannot be written.

    Notes
    -----
    The file is written under a temporary name in the same folder, flushed to the disk and renamed. JPEG is written at
    quality 95 without subsampling of the colours. TIFF is written without compression. Equal arguments give equal
    bytes.

    Examples
    --------
    >>> import numpy as np, pathlib, tempfile
    >>> from alignment.imagefiles import read_image, write_image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "half.png")
    ...     write_image(path, np.full((1, 2), 0.5))
    ...     read_image(path)
    array([[128, 128]], dtype=uint8)
    """
    ready = prepared(name_of(path), image, dtype, description, resolution, colour_space)
    with replace_file(path, overwrite=overwrite) as file:
        encode(file, *ready)


def encode_image(
    file: BinaryIO,
    path: Pathlike,
    image: npt.ArrayLike,
    *,
    dtype: npt.DTypeLike | None = None,
    description: str | None = None,
    resolution: tuple[float, float] | None = None,
    colour_space: str | None = None,
) -> None:
    """Write an image into an open file, for instance that of `replace_file`.

    Parameters
    ----------
    file : binary file
        Open for reading and writing.
    path : str or path
        Its suffix chooses the format; nothing is written there.
    image, dtype, description, resolution, colour_space
        As in `write_image`.

    Raises
    ------
    InputError
        As `write_image`.

    Examples
    --------
    >>> import io, numpy as np
    >>> from alignment.imagefiles import encode_image
    >>> file = io.BytesIO()
    >>> encode_image(file, "black.png", np.zeros((2, 2), np.uint8))
    >>> file.getvalue()[1:4]
    b'PNG'
    """
    encode(file, *prepared(name_of(path), image, dtype, description, resolution, colour_space))
