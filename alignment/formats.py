"""The formats of image files: a suffix says which one to write, the first bytes say which one is there."""

from __future__ import annotations

import os
from typing import Final

from ._checks import InputError
from .files import Pathlike, name_of
from .guards import ADVICE

__all__ = ["IMAGE_SUFFIXES", "image_format"]

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
_TEXT: Final = frozenset(range(32, 127)) | {9, 10, 13}


def image_format(path: Pathlike) -> str:
    """Tell the format that the suffix of a path asks for: "TIFF", "PNG" or "JPEG".

    Raises
    ------
    InputError
        If the suffix is none of `IMAGE_SUFFIXES`.

    Examples
    --------
    >>> from alignment.formats import image_format
    >>> image_format("plate.TIF")
    'TIFF'
    """
    name = name_of(path)
    suffix = os.path.splitext(name)[1]
    kind = _FORMATS.get(suffix.lower())
    if kind is None:
        received = f"the suffix {suffix!r}" if suffix else "no suffix"
        raise InputError(
            f"{name} has {received}, so its format is unknown; end the name in {', '.join(IMAGE_SUFFIXES)}."
        )
    return kind


def announced(head: bytes) -> str | None:
    """Return the format that the first bytes announce: "TIFF", "PNG" or "JPEG"; None for anything else."""
    return next((kind for signature, kind in _SIGNATURES if head.startswith(signature)), None)


def recognise(name: str, head: bytes) -> str:
    """Tell the format that the first bytes announce, or refuse what they do."""
    kind = announced(head)
    if kind is not None:
        return kind
    what = "text" if _TEXT.issuperset(head) else f"something that begins with the bytes {head[:8].hex(' ')}"
    for signature, stranger in _STRANGERS:
        if head.startswith(signature):
            what = stranger
    raise InputError(f"{name} is not an image that can be read here, its content is {what}; {ADVICE}.")
