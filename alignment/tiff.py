"""TIFF: one page, decoded by tifffile, or by pillow where that is known to be exact."""

from __future__ import annotations

import os
from typing import Any, BinaryIO

import numpy as np

from ._checks import InputError
from .directories import check_pages
from .guards import check_size, damaged, transparent
from .levels import Image
from .pictures import pixels, upright


def read_tiff(name: str, file: BinaryIO, page: int | None) -> Image:
    """Read a page of an open TIFF as `read_image` promises it."""
    import tifffile

    check_pages(name, file)
    file.seek(0)
    try:
        with tifffile.TiffFile(file) as tiff:
            chosen = _choose_page(name, tiff, page)
            check_page(name, chosen, file.seek(0, os.SEEK_END))
            try:
                image: Image = chosen.asarray()
                finished = False
            except (ValueError, KeyError, RuntimeError, ImportError) as error:
                if "imagecodecs" not in str(error) and not isinstance(error, ImportError):
                    raise
                image, finished = _read_by_pillow(name, file, chosen), True
            orientation = orientation_of(chosen)
            if not finished:
                image = upright(page_levels(name, chosen, image), orientation)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # a decoder fed with damaged bytes may raise anything
        raise damaged(name, "TIFF", error) from error
    return image


def _choose_page(name: str, tiff: Any, page: int | None) -> Any:
    """Return the page asked for, not counting reduced copies; without a number there has to be one only."""
    pages = [p.aspage() for p in tiff.pages]
    pages = [p for p in pages if not p.is_reduced] or pages
    if not pages:
        raise damaged(name, "TIFF", "it has no page")
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


def check_page(name: str, page: Any, size: int) -> None:
    """Refuse a page that cannot be returned as it is, before anything is decoded."""
    height, width, samples = int(page.imagelength), int(page.imagewidth), int(page.samplesperpixel)
    check_size(name, height, width)
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
        raise damaged(name, "TIFF", f"it has {size} bytes where {max(ends, default=0)} are needed")
    if min(page.databytecounts) == 0:
        raise damaged(name, "TIFF", "a part of the picture is missing")


def orientation_of(page: Any) -> int:
    """Return which side of a page is up, by the number of its tag."""
    tag = page.tags.get(274)
    return 1 if tag is None else int(tag.value)


def page_levels(name: str, page: Any, image: Image) -> Image:
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
            raise transparent(name)
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


def _read_by_pillow(name: str, file: BinaryIO, page: Any) -> Image:
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
            image = pixels(name, picture)
        exact = image.dtype == (np.uint16 if dtype == np.uint16 else np.uint8)
        exact &= sorted(image.shape[:2]) == sorted((page.imagelength, page.imagewidth))
    if not exact:
        raise InputError(
            f"{name} is compressed with {compression}, which needs one more package at this depth; "
            "install imagecodecs, or save the image without compression."
        )
    return image
