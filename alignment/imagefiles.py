"""Images on disk: read exactly what is stored, write all of it or nothing.

Every decoder is named, because one left to choose may turn 16 bits into 8 without a word: TIFF goes through tifffile,
PNG and JPEG through pillow. A file is recognised by its first bytes, never by its suffix; one that is damaged, cut
short or something else altogether is refused in one sentence. Files are written under a temporary name in the same
folder and renamed when they are complete, so nobody ever finds half a picture.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import secrets
import stat
import threading
import warnings
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, Final, Literal

import numpy as np
import numpy.typing as npt

from . import srgb
from ._checks import InputError, in_words
from ._version import __version__

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

MAX_PIXELS: Final = 500_000_000
"""Images with more pixels than this are refused before they are decoded (a full plate scan has 36 million)."""

IMAGE_SUFFIXES: Final = (".tif", ".tiff", ".png", ".jpg", ".jpeg")
"""The suffixes, in lower case, that `write_image` knows and that a folder is searched for."""

_FORMATS: Final = {".tif": "TIFF", ".tiff": "TIFF", ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
_SIGNATURES: Final = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),  # BigTIFF
    (b"MM\x00+", "TIFF"),
)
_STRANGERS: Final = (
    (b"GIF8", "a GIF image"),
    (b"BM", "a BMP image"),
    (b"RIFF", "a WebP image"),
    (b"\x00\x00\x00\x0cjP", "a JPEG 2000 image"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x93NUMPY", "a NumPy array"),
)
_INTEGERS: Final = ("uint8", "uint16")
_TEXT: Final = frozenset(range(32, 127)) | {9, 10, 13}
_MOST_PAGES: Final = 1_000_000
_JPEG_SIDE: Final = 65_500  # pixels; the format's own limit
_JPEG_COMMENT: Final = 65_533  # bytes in one marker segment
_RANGE_SLACK: Final = 1e-4  # how far rounding may carry a float image out of [0, 1]
_AT_ONCE: Final = 1 << 20  # levels that are converted at a time, so that what is computed on the way stays small
_FINEST: Final = 1e6  # pixels per inch; what says more is no resolution

_ADVICE: Final = "give a TIFF, PNG or JPEG image"

Pathlike = str | os.PathLike[str]
Image = npt.NDArray[Any]


# numbers


def as_float(image: npt.ArrayLike) -> Image:
    """Grey levels as numbers in [0, 1], by the range of the dtype.

    Parameters
    ----------
    image : array of any shape
        ``uint8`` is divided by 255, ``uint16`` by 65535; a float array is passed through as it is, whatever its range.

    Returns
    -------
    ndarray
        ``float32`` for integers, otherwise the very array given.

    Examples
    --------
    >>> import numpy as np
    >>> from alignment.imagefiles import as_float
    >>> as_float(np.array([0, 51, 255], np.uint8))
    array([0. , 0.2, 1. ], dtype=float32)
    """
    array = _array("the image", image)
    if array.dtype.kind == "f":
        return array
    if array.dtype.name not in _INTEGERS:
        raise InputError(
            f"the image has dtype {array.dtype}, which has no known range; give uint8, uint16 or a float type."
        )
    result: Image = np.divide(array, np.float32(np.iinfo(array.dtype).max), dtype=np.float32)
    return result


def to_dtype(image: npt.ArrayLike, dtype: npt.DTypeLike) -> Image:
    """Grey levels as ``uint8`` or ``uint16``: clipped to the range and rounded to the nearest level.

    Parameters
    ----------
    image : array of any shape
        Floats count from 0 (black) to 1 (white), and what lies outside is clipped; ``uint8`` and ``uint16`` count
        from 0 to their largest number, so that white stays white.
    dtype : {"uint8", "uint16"} or the NumPy types of these names
        What to return.

    Returns
    -------
    ndarray
        A new array of that dtype, or the very array given if it has it already.

    Raises
    ------
    InputError
        If a float image holds NaN, for which no grey level exists.

    Examples
    --------
    >>> import numpy as np
    >>> from alignment.imagefiles import to_dtype
    >>> to_dtype(np.array([-0.1, 0.0, 0.5, 1.0, 1.2]), "uint8")
    array([  0,   0, 128, 255, 255], dtype=uint8)
    >>> to_dtype(np.array([0, 128, 255], np.uint8), "uint16")
    array([    0, 32896, 65535], dtype=uint16)
    """
    target = _known_dtype(dtype, _INTEGERS)
    array = _array("the image", image)
    if array.dtype.name == target.name:
        return array.astype(target, copy=False)
    if array.dtype.name not in _INTEGERS and array.dtype.kind != "f":
        raise InputError(
            f"the image has dtype {array.dtype}, which has no known range; give uint8, uint16 or a float type."
        )
    source = array.reshape(-1)
    made = np.empty(source.shape, target)
    unknown = 0
    for first in range(0, source.size, _AT_ONCE):
        part = source[first : first + _AT_ONCE]
        unknown += int(np.isnan(part).sum()) if part.dtype.kind == "f" else 0
        if not unknown:
            made[first : first + _AT_ONCE] = _levels(part, target)
    if unknown:
        raise InputError(
            f"the image holds {unknown} NaN, for which no grey level exists; replace them first (numpy.nan_to_num)."
        )
    return made.reshape(array.shape)


def _levels(values: Image, target: np.dtype[Any]) -> Image:
    """Return uint8, uint16 or floats without NaN as grey levels of the other kind."""
    if values.dtype.name == "uint8":
        return values.astype(np.uint16) * np.uint16(257)
    if values.dtype.name == "uint16":
        return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
    levels: Image = np.asarray(np.clip(values, 0, 1, dtype=np.result_type(values.dtype, np.float32)))
    levels *= int(np.iinfo(target).max)
    np.rint(levels, out=levels)
    return levels.astype(target)


# reading


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
    name = _name(path)
    with _open_regular(name) as file, _quiet_decoders:
        try:
            kind = _recognise(name, file.read(32))
            if kind == "TIFF":
                image = _read_tiff(name, file, page)
            else:
                if page not in (None, 0):
                    raise InputError(
                        f"{name} is a {kind} and has one page, but page {page!r} was asked for; leave the page out."
                    )
                image = (_read_png if kind == "PNG" else _read_jpeg)(name, file)
        except MemoryError as error:
            raise InputError(
                f"{name} is too large for the free memory of this machine; close other programs or crop it."
            ) from error
        except OSError as error:
            raise InputError(_explain(name, "read", error)) from error
    return np.ascontiguousarray(image)


def _name(path: Pathlike) -> str:
    """Return a path as text."""
    try:
        return os.fsdecode(path)
    except TypeError as error:
        raise InputError(
            f"the path is {in_words(path)}; give the name of a file as text or as a pathlib.Path."
        ) from error


def _open_regular(name: str) -> BinaryIO:
    """Open an ordinary file; a pipe, a device or a folder is refused without being waited for."""
    try:
        mode = os.stat(name).st_mode
        if stat.S_ISREG(mode):
            file = open(name, "rb", opener=_open_without_waiting)  # noqa: SIM115
            status = os.fstat(file.fileno())
            mode = status.st_mode
            if stat.S_ISREG(mode) and status.st_size > 0:
                return file
            file.close()
            if stat.S_ISREG(mode):
                raise InputError(f"{name} is empty (0 bytes); {_ADVICE}.")
    except OSError as error:
        raise InputError(_explain(name, "read", error)) from error
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{name!r} cannot be the name of a file, for it holds a null character; {_ADVICE}.") from error
    raise InputError(f"{name} is {_kind_of_file(mode)}, not an image file; {_ADVICE}.")


def _open_without_waiting(name: str, flags: int) -> int:
    """Open a file that has just been an ordinary one; should it be a pipe by now, do not wait for its writer."""
    return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))


def _kind_of_file(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a folder"
    if stat.S_ISFIFO(mode):
        return "a named pipe"
    if stat.S_ISSOCK(mode):
        return "a socket"
    return "a device"


def _recognise(name: str, head: bytes) -> str:
    """Tell the format that the first bytes announce."""
    for signature, kind in _SIGNATURES:
        if head.startswith(signature):
            return kind
    what = "text" if _TEXT.issuperset(head) else f"something that begins with the bytes {head[:8].hex(' ')}"
    for signature, stranger in _STRANGERS:
        if head.startswith(signature):
            what = stranger
    raise InputError(f"{name} is not an image that can be read here, its content is {what}; {_ADVICE}.")


def _check_size(name: str, height: int, width: int) -> None:
    if height * width > MAX_PIXELS:
        raise InputError(
            f"{name} announces {width} x {height} = {width * height / 1e6:.0f} million pixels, more than the "
            f"{MAX_PIXELS // 1_000_000} million accepted here; crop or reduce it first."
        )
    if height < 1 or width < 1:
        raise InputError(f"{name} announces {width} x {height} pixels, which is no image; {_ADVICE}.")


def _damaged(name: str, kind: str, reason: object) -> InputError:
    text = " ".join(str(reason).split()).rstrip(".") or type(reason).__name__
    if len(text) > 200:  # some decoders quote all they were given
        text = f"{text[:160].rstrip()} ..."
    return InputError(f"{name} is a damaged or incomplete {kind} file ({text}); copy or download it again.")


def _read_png(name: str, file: BinaryIO) -> Image:
    from PIL import PngImagePlugin

    depth, colour, colours = _check_png(name, file)
    if depth == 16 and colour != 0:
        raise InputError(
            f"{name} is a colour PNG of 16 bits per channel, which would be read as 8 bits; "
            "save it as TIFF, which is read exactly."
        )
    file.seek(0)
    try:
        # the class, not Image.open: its limit on the number of pixels is global state, ours is checked above
        with PngImagePlugin.PngImageFile(file) as picture:
            if getattr(picture, "n_frames", 1) > 1:
                raise InputError(f"{name} is an animation; save one of its frames as an ordinary PNG.")
            picture.load()
            if picture.mode == "P" and int(np.asarray(picture).max()) >= colours:  # pillow would make it black
                raise _damaged(name, "PNG", f"it uses colours beyond the {colours} of its palette")
            orientation = _exif_orientation(picture)
            image = _picture_to_array(name, picture)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # a decoder fed with damaged bytes may raise anything
        raise _damaged(name, "PNG", error) from error
    if depth == 16 and image.dtype != np.uint16:
        raise InputError(f"{name} holds 16 bits per pixel, but was decoded as {image.dtype}; save it as TIFF.")
    return _upright(image, orientation)


def _check_png(name: str, file: BinaryIO) -> tuple[int, int, int]:
    """Walk through the chunks to the last, checking each sum; return bit depth, colour type and size of the palette."""
    file.seek(8)
    header = b""
    colours = 0
    while True:
        start = file.read(8)
        if len(start) < 8:
            raise _damaged(name, "PNG", "it ends before its last chunk")
        length, kind = int.from_bytes(start[:4], "big"), start[4:]
        if kind == b"PLTE":
            colours = length // 3
        crc, left = zlib.crc32(kind), length
        while left:
            block = file.read(min(left, 1 << 20))
            if not block:
                raise _damaged(name, "PNG", "it ends in the middle of a chunk")
            if kind == b"IHDR" and not header:
                header = block
            crc, left = zlib.crc32(block, crc), left - len(block)
        if file.read(4) != crc.to_bytes(4, "big"):
            raise _damaged(name, "PNG", "a check sum is wrong")
        if kind == b"IEND":
            break
    if len(header) < 13:
        raise _damaged(name, "PNG", "it has no header")
    _check_size(name, int.from_bytes(header[4:8], "big"), int.from_bytes(header[:4], "big"))
    return header[8], header[9], colours


def _read_jpeg(name: str, file: BinaryIO) -> Image:
    from PIL import JpegImagePlugin

    _check_jpeg(name, file)
    file.seek(0)
    try:
        with JpegImagePlugin.JpegImageFile(file) as picture:
            width, height = picture.size
            _check_size(name, height, width)
            picture.load()
            orientation = _exif_orientation(picture)
            image = _picture_to_array(name, picture)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # a decoder fed with damaged bytes may raise anything
        raise _damaged(name, "JPEG", error) from error
    return _upright(image, orientation)


def _check_jpeg(name: str, file: BinaryIO) -> None:
    """Find the end marker behind the start of the scan; a decoder would fill what is missing with grey."""
    file.seek(2)
    while True:
        marker = file.read(2)
        while marker == b"\xff\xff":  # fill bytes
            marker = b"\xff" + file.read(1)
        size = file.read(2)
        if len(marker) < 2 or len(size) < 2 or marker[0] != 0xFF or int.from_bytes(size, "big") < 2:
            raise _damaged(name, "JPEG", "it ends before its picture begins")
        file.seek(int.from_bytes(size, "big") - 2, os.SEEK_CUR)
        if marker[1] == 0xDA:
            break
    start = file.tell()
    end = file.seek(0, os.SEEK_END)
    tail = b""
    while end > start:  # backwards in blocks that overlap by a byte
        begin = max(start, end - (1 << 16))
        file.seek(begin)
        tail = file.read(end - begin) + tail[:1]
        if b"\xff\xd9" in tail:
            return
        end = begin
    raise _damaged(name, "JPEG", "it ends in the middle of the picture")


def _exif_orientation(picture: Any) -> int:
    try:
        return int(picture.getexif().get(0x0112, 1))
    except Exception:  # broken metadata say nothing about the picture
        return 1


def _upright(image: Image, orientation: int) -> Image:
    """Apply the orientation 1 ... 8 of EXIF and TIFF: where the stored first row and first column lie."""
    if orientation in (5, 6, 7, 8):
        image = image.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return image


def _picture_to_array(name: str, picture: Any) -> Image:
    """Take the pixels out of a picture that pillow has loaded, as `read_image` promises them."""
    mode = picture.mode
    if mode.startswith("I;16"):
        image = np.asarray(picture).astype(np.uint16)
        if "transparency" in picture.info and (image == picture.info["transparency"]).any():
            raise InputError(_transparent(name))
        return image
    if "transparency" in picture.info or mode in ("LA", "La", "PA", "RGBA", "RGBa"):
        grey = mode in ("1", "L", "LA", "La")
        both = np.asarray(picture.convert("LA" if grey else "RGBA"))
        if (both[..., -1] != 255).any():
            raise InputError(_transparent(name))
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


def _transparent(name: str) -> str:
    return f"{name} is partly transparent, and colours under transparent pixels are arbitrary; save it without alpha."


def _read_tiff(name: str, file: BinaryIO, page: int | None) -> Image:
    import tifffile

    check_pages(name, file)
    file.seek(0)
    try:
        with tifffile.TiffFile(file) as tiff:
            chosen = _choose_page(name, tiff, page)
            _check_tiff_page(name, chosen, file.seek(0, os.SEEK_END))
            try:
                image: Image = chosen.asarray()
                finished = False
            except (ValueError, KeyError, RuntimeError, ImportError) as error:
                if "imagecodecs" not in str(error) and not isinstance(error, ImportError):
                    raise
                image, finished = _read_tiff_by_pillow(name, file, chosen), True
            tag = chosen.tags.get(274)
            orientation = 1 if tag is None else int(tag.value)
            if not finished:
                image = _upright(_tiff_levels(name, chosen, image), orientation)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # a decoder fed with damaged bytes may raise anything
        raise _damaged(name, "TIFF", error) from error
    return image


def check_pages(name: str, file: BinaryIO) -> None:
    """Follow the chain of the directories of a TIFF to its end; one that goes round in a circle would never end.

    Raises
    ------
    InputError
        If the chain leads back, out of the file, or through more than 1,000,000 pages.
    """
    file.seek(0)
    head = file.read(16)
    order: Literal["little", "big"] = "big" if head[:2] == b"MM" else "little"
    big = head[2:4] in (b"+\0", b"\0+")
    # bytes of an offset, of the number of entries, of an entry
    wide, counted, entry = (8, 8, 20) if big else (4, 2, 12)
    size = file.seek(0, os.SEEK_END)
    offset = int.from_bytes(head[8:16] if big else head[4:8], order)
    seen: set[int] = set()
    while offset:
        if offset in seen:
            raise _damaged(name, "TIFF", "its pages go round in a circle")
        seen.add(offset)
        if len(seen) > _MOST_PAGES:
            raise InputError(f"{name} has more than {_MOST_PAGES} pages; split it into several files.")
        if not 8 <= offset <= size - counted:
            raise _damaged(name, "TIFF", f"it has {size} bytes and refers to a page at {offset}")
        file.seek(offset)
        entries = int.from_bytes(file.read(counted), order)
        end = offset + counted + entries * entry
        if end > size:
            raise _damaged(name, "TIFF", f"it has {size} bytes and a page whose description ends at {end}")
        file.seek(end)
        offset = int.from_bytes(file.read(wide), order)  # the last may be cut off, by writers of old


def _choose_page(name: str, tiff: Any, page: int | None) -> Any:
    pages = [p.aspage() for p in tiff.pages]
    pages = [p for p in pages if not p.is_reduced] or pages
    if not pages:
        raise _damaged(name, "TIFF", "it has no page")
    several = f"{name} holds {len(pages)} pages"
    if page is None and len(pages) > 1:
        raise InputError(
            f"{several}, and which one is meant cannot be guessed; choose one with page=0 to page={len(pages) - 1}."
        )
    if page is not None and not 0 <= page < len(pages):
        raise InputError(f"{several}, but page {page!r} was asked for; choose a page from 0 to {len(pages) - 1}.")
    if len(pages) == 1 and tiff.is_imagej and (tiff.imagej_metadata or {}).get("images", 1) > 1:
        raise InputError(f"{name} is an ImageJ stack without page marks; save its frames as separate TIFF files.")
    return pages[page or 0]


def _check_tiff_page(name: str, page: Any, size: int) -> None:
    """Refuse a page that cannot be returned as it is, before anything is decoded."""
    height, width, samples = int(page.imagelength), int(page.imagewidth), int(page.samplesperpixel)
    _check_size(name, height, width)
    if page.imagedepth != 1 or samples > 4:
        raise InputError(
            f"{name} has {samples} channels and a depth of {page.imagedepth}; give a grey or an RGB image."
        )
    photometric = getattr(page.photometric, "name", str(page.photometric))
    colours = {"MINISBLACK": 1, "MINISWHITE": 1, "PALETTE": 1, "RGB": 3, "YCBCR": 3}.get(photometric)
    if colours is None or samples not in (colours, colours + 1):
        raise InputError(f"{name} stores {samples} channel(s) as {photometric}; convert it to grey or RGB first.")
    kind = "none" if page.dtype is None else page.dtype.name
    if page.bitspersample not in (1, 8, 16, 32, 64) or kind not in (
        "bool", "uint8", "uint16", "float16", "float32", "float64",
    ):  # fmt: skip
        raise InputError(
            f"{name} stores {page.bitspersample} bits per channel as {kind}; save it with 8 or 16 bits, or as floats."
        )
    ends = [o + n for o, n in zip(page.dataoffsets, page.databytecounts, strict=True)]
    if not ends or max(ends) > size:
        raise _damaged(name, "TIFF", f"it has {size} bytes where {max(ends, default=0)} are needed")
    if min(page.databytecounts) == 0:
        raise _damaged(name, "TIFF", "a part of the picture is missing")


def _tiff_levels(name: str, page: Any, image: Image) -> Image:
    """Turn what tifffile decoded into grey or RGB: planes last, palettes expanded, zero is black, no alpha."""
    samples = int(page.samplesperpixel)
    if samples > 1 and page.planarconfig == 2:
        image = np.moveaxis(image, 0, -1)
    if image.shape != (page.imagelength, page.imagewidth, samples)[: image.ndim] or image.ndim != (
        3 if samples > 1 else 2
    ):
        raise InputError(f"{name} was decoded with shape {image.shape}; give a grey or an RGB image.")
    if image.dtype == np.bool_:
        image = image.astype(np.uint8) * np.uint8(255)
    top = 1 if image.dtype.kind == "f" else np.iinfo(image.dtype).max
    if samples in (2, 4):
        if (image[..., -1] != top).any():
            raise InputError(_transparent(name))
        image = image[..., 0] if samples == 2 else image[..., :3]
    photometric = page.photometric.name
    if photometric == "MINISWHITE":
        return (top - image).astype(image.dtype)
    if photometric == "PALETTE":
        colours = np.asarray(page.colormap, np.uint16)
        if np.isin(colours & 255, (0, 255)).all() or (colours & 255 == colours >> 8).all():
            colours = (colours >> 8).astype(np.uint8)  # 8-bit colours, padded to 16 as the format demands
        return np.moveaxis(colours[:, image], 0, -1)
    if photometric == "YCBCR" and page.compression == 1:
        raise InputError(f"{name} stores luminance and colour differences; convert it to RGB first.")
    return image


def _read_tiff_by_pillow(name: str, file: BinaryIO, page: Any) -> Image:
    """Decode what tifffile alone cannot, where pillow is known to be exact: 8 bits, or 16 bits of grey."""
    from PIL import TiffImagePlugin

    dtype, photometric = page.dtype, page.photometric.name
    compression = getattr(page.compression, "name", str(page.compression))
    exact = dtype in (np.uint8, np.bool_) or (
        dtype == np.uint16 and photometric == "MINISBLACK" and page.samplesperpixel == 1
    )
    if exact:
        file.seek(0)
        with TiffImagePlugin.TiffImageFile(file) as picture:
            picture.seek(page.index)
            picture.load()  # this also applies the orientation
            image = _picture_to_array(name, picture)
        exact = image.dtype == (np.uint16 if dtype == np.uint16 else np.uint8)
        exact &= sorted(image.shape[:2]) == sorted((page.imagelength, page.imagewidth))
    if not exact:
        raise InputError(
            f"{name} is compressed with {compression}, which needs one more package at this depth; "
            "install imagecodecs, or save the image without compression."
        )
    return image


class _QuietDecoders:
    """Silence the warnings and log records of pillow and tifffile while any thread is decoding.

    What they have to say about a file comes out as an error with a sentence, or does not matter. The filters are
    global, so they are set by the first thread to enter and restored by the last to leave.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._stack.enter_context(warnings.catch_warnings())
                warnings.filterwarnings("ignore", module=r"(PIL|tifffile|imageio)(\.|$)")
                for name in ("PIL", "tifffile", "imageio"):
                    self._stack.enter_context(_muted(logging.getLogger(name)))

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._stack.close()


@contextlib.contextmanager
def _muted(logger: logging.Logger) -> Iterator[None]:
    def deny(record: logging.LogRecord) -> bool:
        return False

    logger.addFilter(deny)
    try:
        yield
    finally:
        logger.removeFilter(deny)


_quiet_decoders: Final = _QuietDecoders()


# writing


def image_format(path: Pathlike) -> str:
    """Tell the format that the suffix of a path asks for: "TIFF", "PNG" or "JPEG".

    Raises
    ------
    InputError
        If the suffix is none of `IMAGE_SUFFIXES`.

    Examples
    --------
    >>> from alignment.imagefiles import image_format
    >>> image_format("plate.TIF")
    'TIFF'
    """
    name = _name(path)
    suffix = os.path.splitext(name)[1]
    kind = _FORMATS.get(suffix.lower())
    if kind is None:
        received = f"the suffix {suffix!r}" if suffix else "no suffix"
        raise InputError(
            f"{name} has {received}, so its format is unknown; end the name in {', '.join(IMAGE_SUFFIXES)}."
        )
    return kind


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
    prepared = _prepared(_name(path), image, dtype, description, resolution, colour_space)
    with replace_file(path, overwrite=overwrite) as file:
        _encode(file, *prepared)


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
    _encode(file, *_prepared(_name(path), image, dtype, description, resolution, colour_space))


def _prepared(
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
        options | _resolution_options(name, kind, resolution) | _space_options(name, array, colour_space),
    )


def _encode(file: BinaryIO, kind: str, array: Image, options: dict[str, Any]) -> None:
    """Have the plugin of the format write an image into an open file."""
    import imageio.v3 as iio

    plugin = "tifffile" if kind == "TIFF" else "pillow"
    extension = {"TIFF": ".tif", "PNG": ".png", "JPEG": ".jpg"}[kind]
    if "iccprofile" in options and kind != "TIFF":
        options = {("icc_profile" if key == "iccprofile" else key): value for key, value in options.items()}
    with _quiet_decoders:
        iio.imwrite(file, array, plugin=plugin, extension=extension, **options)


def _storable(name: str, kind: str, image: npt.ArrayLike, dtype: npt.DTypeLike | None) -> Image:
    """Return the very numbers to store, or raise the sentence that says why they cannot be stored."""
    array = _array(name, image)
    if array.ndim not in (2, 3) or array.size == 0 or (array.ndim == 3 and array.shape[2] != 3):
        raise InputError(f"{name} cannot be written from an array of shape {array.shape}; give (H, W) or (H, W, 3).")
    if array.dtype.name not in _INTEGERS and array.dtype.kind != "f":
        raise InputError(
            f"{name} cannot be written from an array of dtype {array.dtype}; give uint8, uint16, or floats in [0, 1]."
        )
    if dtype is not None:
        target = _known_dtype(dtype, (*_INTEGERS, "float32"))
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


def _array(name: str, image: npt.ArrayLike) -> Image:
    """Make an array of an image, or say that it is none, or that a mask hides some of it."""
    if np.ma.is_masked(image):
        raise InputError(f"{name} is of a masked array, whose hidden pixels have no level; fill them first (.filled).")
    try:
        return np.asarray(image)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} is of rows that differ in length; give a rectangular array of numbers.") from error


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


def _known_dtype(dtype: npt.DTypeLike, known: tuple[str, ...]) -> np.dtype[Any]:
    with contextlib.suppress(TypeError, ValueError):
        if isinstance(dtype, str | type | np.dtype) and np.dtype(dtype).name in known:
            return np.dtype(dtype)
    raise InputError(
        f"dtype is {in_words(dtype)}, which cannot be stored; choose {', '.join(known[:-1])} or {known[-1]}."
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


def _resolution_options(name: str, kind: str, resolution: tuple[float, float] | None) -> dict[str, Any]:
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
    name = _name(path)
    with _open_regular(name) as file, _quiet_decoders:
        kind = _recognise(name, file.read(32))
        file.seek(0)
        try:
            found, orientation = (_tiff_resolution if kind == "TIFF" else _pillow_resolution)(kind, file)
        except Exception:  # broken metadata say nothing about the picture
            return None
    if found is None or not all(0 < number <= _FINEST for number in found):
        return None
    return (found[1], found[0]) if orientation in (5, 6, 7, 8) else found


def _tiff_resolution(kind: str, file: BinaryIO) -> tuple[tuple[float, float] | None, int]:
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


def _pillow_resolution(kind: str, file: BinaryIO) -> tuple[tuple[float, float] | None, int]:
    """Return the resolution of a PNG or JPEG, and its orientation."""
    from PIL import JpegImagePlugin, PngImagePlugin

    opened = PngImagePlugin.PngImageFile if kind == "PNG" else JpegImagePlugin.JpegImageFile
    with opened(file) as picture:
        noted = picture.info.get("dpi")
        pair = None if noted is None else (float(noted[0]), float(noted[1]))
        return pair, _exif_orientation(picture)


def check_writable(path: Pathlike, *, overwrite: bool = False) -> None:
    """Find out before the work begins whether `replace_file` will be able to write a file.

    Parameters
    ----------
    path : str or path
        The file to be written later. Nothing is left behind by the check.
    overwrite : bool
        Whether a file of this name may be replaced.

    Raises
    ------
    InputError
        If the file exists and `overwrite` is false, if it is a folder or a device, if it is write-protected, or if its
        folder is missing or lets no file be created.

    Examples
    --------
    >>> from alignment.imagefiles import check_writable
    >>> check_writable("no/such/folder/out.png")
    Traceback (most recent call last):
    ...
    alignment._checks.InputError: no/such/folder/out.png cannot be written, because the folder no/such/folder does not
    exist; create it first.
    """
    name = _name(path)
    target = _check_target(name, overwrite=overwrite)
    file = _create_beside(name, target)
    file.close()
    os.unlink(file.name)


@contextlib.contextmanager
def replace_file(path: Pathlike, *, overwrite: bool = False) -> Iterator[BinaryIO]:
    """Write any file so that either all of it appears or nothing.

    Parameters
    ----------
    path : str or path
        The file to write. A symbolic link is followed, and the file it points to is replaced.
    overwrite : bool
        Replace a file that is already there; otherwise it is refused, also when it appears during the writing.

    Yields
    ------
    binary file
        Open for writing and reading. It has a random name in the same folder, and becomes `path` when the block ends
        without an error; otherwise it is removed.

    Raises
    ------
    InputError
        If the file cannot be written; every error of the system while the block runs becomes one sentence.

    Notes
    -----
    The new file has the permissions that the umask leaves, or those of the file that it replaces.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from alignment.imagefiles import replace_file
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "shifts.json")
    ...     with replace_file(path) as file:
    ...         _ = file.write(b"{}")
    ...     path.read_text()
    '{}'
    """
    name = _name(path)
    target = _check_target(name, overwrite=overwrite)
    file = _create_beside(name, target)
    try:
        try:
            with file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            _rename(name, file.name, target, overwrite=overwrite)
        except OSError as error:
            raise InputError(_explain(name, "written", error)) from error
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(file.name)
        raise
    _flush_folder(os.path.dirname(target))


def _check_target(name: str, *, overwrite: bool) -> str:
    """Return the real path to write to, or raise the reason why it will not be written."""
    try:
        target = os.path.realpath(name)
        folder = os.path.dirname(target)
        shown = os.path.dirname(name) or "."
        if not os.path.basename(name):
            raise InputError(f"{name!r} names no file to write; give a name such as aligned.tif.")
        if os.path.isdir(target):
            raise InputError(f"{name} is a folder, so no file of this name can be written; give the name of a file.")
        if not os.path.isdir(folder):
            wrong = "is not a folder" if os.path.exists(folder) else "does not exist"
            advice = "choose another" if os.path.exists(folder) else "create it first"
            raise InputError(f"{name} cannot be written, because the folder {shown} {wrong}; {advice}.")
        try:
            mode = os.stat(target).st_mode
        except FileNotFoundError:
            return target
    except OSError as error:
        raise InputError(_explain(name, "written", error)) from error
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{name!r} cannot be the name of a file, for it holds a null character; remove it.") from error
    if not stat.S_ISREG(mode):
        raise InputError(
            f"{name} is {_kind_of_file(mode)}, which is not written to; give the name of an ordinary file."
        )
    if not overwrite:
        raise InputError(_exists(name))
    if not os.access(target, os.W_OK):
        raise InputError(
            f"{name} is write-protected and will not be replaced; lift the protection or choose another name."
        )
    return target


def _exists(name: str) -> str:
    return f"{name} exists already and will not be replaced; ask for overwriting, or choose another name."


def _create_beside(name: str, target: str) -> BinaryIO:
    """Create an empty file with a random name beside the target, with the permissions the target shall have."""
    temporary = os.path.join(os.path.dirname(target), f".{secrets.token_hex(8)}.tmp")
    try:
        file = open(temporary, "x+b")  # noqa: SIM115 - with the permissions that the umask leaves, as any new file
    except OSError as error:
        raise InputError(_explain(name, "written", error)) from error
    with contextlib.suppress(OSError):
        os.chmod(temporary, stat.S_IMODE(os.stat(target).st_mode))
    return file


def _rename(name: str, temporary: str, target: str, *, overwrite: bool) -> None:
    if overwrite:
        os.replace(temporary, target)
        return
    try:
        os.link(temporary, target)  # unlike renaming, this fails if somebody else has created the target meanwhile
    except FileExistsError as error:
        raise InputError(_exists(name)) from error
    except OSError:  # a file system without hard links
        if os.path.lexists(target):
            raise InputError(_exists(name)) from None
        os.replace(temporary, target)
    else:
        os.unlink(temporary)


def _flush_folder(folder: str) -> None:
    """Make the new name durable where the system can; the content already is."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


_REASONS: Final = {
    errno.ENOENT: ("it does not exist", "check the path"),
    errno.ENOTDIR: ("a part of its path is not a folder", "check the path"),
    errno.EACCES: ("permission is denied", "change the permissions or choose another place"),
    errno.EPERM: ("permission is denied", "change the permissions or choose another place"),
    errno.EROFS: ("it lies on a read-only file system", "choose another place"),
    errno.ENOSPC: ("the disk is full", "free some space or choose another disk"),
    errno.ENAMETOOLONG: ("its name is too long", "choose a shorter one"),
    errno.ELOOP: ("its symbolic links go round in a circle", "check the path"),
    errno.EISDIR: ("it is a folder", "give the name of a file"),
}


def _explain(name: str, action: str, error: OSError) -> str:
    """One sentence for an error of the system."""
    unknown = (
        (error.strerror or str(error) or type(error).__name__).rstrip(".").lower(),
        "check the disk and the path",
    )
    reason, advice = _REASONS.get(error.errno or 0, unknown)
    return f"{name} cannot be {action}, because {reason}; {advice}."
