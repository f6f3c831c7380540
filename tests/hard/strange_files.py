"""Files that are no images, or lie about what they are: small, made here, each with a name."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable

import numpy as np
import tifffile
from PIL import Image

SEED = 20


def picture(height: int = 24, width: int = 30) -> np.ndarray:
    """Return an image of 8 bits with something to see in it."""
    y, x = np.mgrid[0:height, 0:width]
    return (128 + 60 * np.sin(x / 3.0) + 50 * np.cos(y / 4.0)).astype(np.uint8)


def saved(image: np.ndarray, kind: str, **options: object) -> bytes:
    """Return the bytes that pillow writes."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind, **options)
    return file.getvalue()


def tiff(image: np.ndarray, **options: object) -> bytes:
    """Return the bytes that tifffile writes."""
    file = io.BytesIO()
    tifffile.imwrite(file, image, **{"photometric": "minisblack", "metadata": None, **options})
    return file.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    """Return a chunk of a PNG with a right check sum."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, depth: int = 8, colour: int = 0, data: bytes = b"", before: bytes = b"") -> bytes:
    """Return a PNG that announces what it is told to."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + before + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def jpeg_of_size(width: int, height: int) -> bytes:
    """Return a small JPEG whose frame header announces another size."""
    data = bytearray(saved(picture(), "JPEG"))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def directory(entries: list[tuple[int, int, int, int]], following: int = 0, at: int = 8) -> bytes:
    """Return a little-endian TIFF with one directory of (tag, type, count, value), and where the next one lies."""
    body = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<I", at) + body + struct.pack("<I", following) + b"\x80" * 64


def entries(width: int = 4, height: int = 4, offset: int = 200, count: int = 16, **more: int) -> list:
    """Return the entries of a plain grey page."""
    plain = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: offset, 277: 1, 278: height, 279: count}
    plain |= {int(tag[1:]): value for tag, value in more.items()}
    return [(tag, 4, 1, value) for tag, value in sorted(plain.items())]


def _zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("image.jpg", saved(picture(), "JPEG"))
    return file.getvalue()


def _animation() -> bytes:
    file = io.BytesIO()
    frames = [Image.fromarray(picture() // n) for n in (1, 2)]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    return file.getvalue()


def _animated_png() -> bytes:
    file = io.BytesIO()
    frames = [Image.fromarray(picture() // n) for n in (1, 2)]
    frames[0].save(file, "PNG", save_all=True, append_images=frames[1:])
    return file.getvalue()


def _alpha(kind: str) -> bytes:
    levels = np.dstack([picture()] * 3 + [picture()])
    return saved(levels, kind)


def _cmyk() -> bytes:
    file = io.BytesIO()
    Image.new("CMYK", (16, 16), (10, 20, 30, 40)).save(file, "JPEG")
    return file.getvalue()


def _circle() -> bytes:
    first = directory(entries(), following=400)
    second = struct.pack("<H", 9) + b"".join(struct.pack("<HHII", *entry) for entry in entries())
    return first + b"\0" * (400 - len(first)) + second + struct.pack("<I", 8)


# name: (suffix, content); None of them is an image that could be returned as it is
REFUSED: dict[str, tuple[str, Callable[[], bytes]]] = {
    "empty": (".png", lambda: b""),
    "one byte": (".png", lambda: b"\x89"),
    "text named .jpg": (".jpg", lambda: b"Dear reader,\nthis is no picture.\n"),
    "zip named .jpg": (".jpg", _zip),
    "animated GIF": (".png", _animation),
    "animated PNG": (".png", _animated_png),
    "BMP named .png": (".png", lambda: saved(picture(), "BMP")),
    "WebP named .jpg": (".jpg", lambda: saved(picture(), "WEBP")),
    "PNG of 10 gigapixels": (".png", lambda: png(100_000, 100_000)),
    "PNG of 4 billion rows": (".png", lambda: png(1, 2**32 - 1)),
    "PNG of no width": (".png", lambda: png(0, 5)),
    "PNG with too little data": (".png", lambda: png(20_000, 20_000, data=b"\0" * 1000)),
    "PNG of depth 3": (".png", lambda: png(4, 4, depth=3, data=b"\0" * 20)),
    "PNG of colour type 9": (".png", lambda: png(4, 4, colour=9, data=b"\0" * 20)),
    "PNG with a palette out of reach": (".png", lambda: png(4, 4, colour=3, data=b"\0\7\7\7\7" * 4)),
    "PNG of 16-bit colour": (".png", lambda: png(1, 1, depth=16, colour=2, data=b"\0" * 7)),
    "PNG with half transparent pixels": (".png", lambda: _alpha("PNG")),
    "PNG whose chunk is 2 GB long": (
        ".png", lambda: b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 2**31 - 1) + b"IHDR" + b"\0" * 50),
    "PNG without data": (
        ".png", lambda: b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 8, 0, 0, 0, 0))
        + chunk(b"IEND", b"")),
    "JPEG of 65,500 x 65,500": (".jpg", lambda: jpeg_of_size(65_500, 65_500)),
    "JPEG of CMYK": (".jpg", _cmyk),
    "JPEG with nothing but markers": (".jpg", lambda: b"\xff\xd8\xff\xff\xff\xff\xff\xd9"),
    "JPEG whose segment has length 0": (".jpg", lambda: b"\xff\xd8\xff\xe0\0\0\xff\xd9"),
    "TIFF without a page": (".tif", lambda: b"II*\0\0\0\0\0"),
    "TIFF whose directory lies beyond": (".tif", lambda: b"II*\0\xff\xff\xff\x7f" + b"\0" * 40),
    "TIFF whose directory is itself": (".tif", lambda: directory(entries(), following=8)),
    "TIFF whose directory lies in the header": (".tif", lambda: b"II*\0\0\0\0\0" + b"\0" * 20),
    "TIFF with 65,535 entries": (".tif", lambda: b"II*\0\x08\0\0\0\xff\xff" + b"\0" * 100),
    "TIFF of 10 gigapixels": (".tif", lambda: directory(entries(100_000, 100_000, count=2**31 - 1))),
    "TIFF of 4 billion columns": (".tif", lambda: directory(entries(2**32 - 1, 1))),
    "TIFF of no height": (".tif", lambda: directory(entries(4, 0))),
    "TIFF whose data lie beyond": (".tif", lambda: directory(entries(offset=10_000))),
    "TIFF of 3 bits": (".tif", lambda: directory(entries(t258=3))),
    "TIFF of 65,535 channels": (".tif", lambda: directory(entries(t277=65_535))),
    "TIFF with an unknown compression": (".tif", lambda: directory(entries(t259=12_345))),
    "TIFF with an unknown colour model": (".tif", lambda: directory(entries(t262=999))),
    "TIFF with tiles of no size": (".tif", lambda: directory(entries(t322=0, t323=0))),
    "TIFF in a circle of two": (".tif", _circle),
    "TIFF nested in itself": (".tif", lambda: directory(entries(t330=8), following=8)),
    "TIFF of two pages": (".tif", lambda: tiff(np.stack([picture(), picture()]))),
    "TIFF of CMYK": (".tif", lambda: tiff(np.zeros((8, 8, 4), np.uint8), photometric="separated")),
    "TIFF of complex numbers": (".tif", lambda: tiff(np.zeros((8, 8), np.complex64))),
    "TIFF of 32-bit integers": (".tif", lambda: tiff(np.zeros((8, 8), np.uint32))),
    "TIFF that ends in its header": (".tif", lambda: b"II*\0\x08\0"),
    "BigTIFF that ends in its header": (".tif", lambda: b"II+\0\x08\0\0\0"),
    "a gzip": (".tif", lambda: b"\x1f\x8b\x08" + b"\0" * 40),
    "a NumPy array": (".tif", lambda: b"\x93NUMPY\x01\0" + b"\0" * 60),
    "a pickle": (".tif", lambda: b"\x80\x04\x95\x05\0\0\0\0\0\0\0K\x01."),
}  # fmt: skip


def _palette() -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture()).convert("P").save(file, "PNG")
    return file.getvalue()


def _one_bit(kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture() > 128).save(file, kind)
    return file.getvalue()


def _rotated() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved(picture(), "JPEG", exif=exif, quality=95)


# odd, but whole: (suffix, content, what must come out as (shape, dtype))
READ: dict[str, tuple[str, Callable[[], bytes], tuple[tuple[int, ...], str]]] = {
    "palette": (".png", _palette, ((24, 30, 3), "uint8")),
    "1 bit PNG": (".png", lambda: _one_bit("PNG"), ((24, 30), "uint8")),
    "1 bit TIFF": (".tif", lambda: _one_bit("TIFF"), ((24, 30), "uint8")),
    "32-bit float": (".tif", lambda: tiff(picture() / np.float32(255)), ((24, 30), "float32")),
    "64-bit float": (".tif", lambda: tiff(picture() / 255.0), ((24, 30), "float64")),
    "float with NaN and infinity": (
        ".tif", lambda: tiff(np.where(picture() > 128, np.nan, np.inf).astype(np.float32)), ((24, 30), "float32")),
    "big-endian": (".tif", lambda: tiff(picture(), byteorder=">"), ((24, 30), "uint8")),
    "BigTIFF": (".tif", lambda: tiff(picture(), bigtiff=True), ((24, 30), "uint8")),
    "rotated by EXIF": (".jpg", _rotated, ((30, 24), "uint8")),
    "opaque alpha": (".png", lambda: saved(np.dstack([picture()] * 3 + [np.full((24, 30), 255, np.uint8)]), "PNG"),
                     ((24, 30, 3), "uint8")),
    "colour profile that is none": (
        ".jpg", lambda: saved(picture(), "JPEG", icc_profile=b"no profile at all" * 10), ((24, 30), "uint8")),
    "TIFF named .png": (".png", lambda: tiff(picture()), ((24, 30), "uint8")),
    "a 1 x 1 image": (".png", lambda: saved(picture()[:1, :1], "PNG"), ((1, 1), "uint8")),
    "one row": (".tif", lambda: tiff(picture()[:1]), ((1, 30), "uint8")),
}  # fmt: skip


def sound() -> dict[str, tuple[str, bytes]]:
    """Return sound files of every kind, to be damaged."""
    grey, colour = picture(), np.dstack([picture(), picture()[::-1], picture()[:, ::-1]])
    return {
        "grey PNG": (".png", saved(grey, "PNG")),
        "colour PNG": (".png", saved(colour, "PNG")),
        "16-bit PNG": (".png", saved(grey.astype(np.uint16) * 257, "PNG")),
        "palette PNG": (".png", _palette()),
        "grey JPEG": (".jpg", saved(grey, "JPEG")),
        "colour JPEG": (".jpg", saved(colour, "JPEG")),
        "progressive JPEG": (".jpg", saved(colour, "JPEG", progressive=True)),
        "rotated JPEG": (".jpg", _rotated()),
        "grey TIFF": (".tif", tiff(grey)),
        "big-endian 16-bit TIFF": (".tif", tiff(grey.astype(np.uint16) * 257, byteorder=">")),
        "float TIFF": (".tif", tiff(grey / np.float32(255))),
        "colour TIFF": (".tif", tiff(colour, photometric="rgb")),
        "deflated TIFF": (".tif", tiff(grey, compression="zlib")),
        "tiled TIFF": (".tif", tiff(np.tile(grey, (2, 2)), tile=(16, 16))),
        "BigTIFF": (".tif", tiff(grey, bigtiff=True)),
        "LZW TIFF by pillow": (".tif", saved(grey, "TIFF", compression="tiff_lzw")),
        "TIFF of several pages": (".tif", tiff(np.stack([grey, grey]))),
    }


def damaged(content: bytes, how: str, draw: np.random.Generator) -> bytes:
    """Return a file with something done to it."""
    data = bytearray(content)
    length = len(data)
    if how == "bits flipped":
        for at in draw.integers(0, length, draw.integers(1, 9)):
            data[at] ^= 1 << int(draw.integers(8))
    elif how == "header altered":
        for at in draw.integers(0, min(length, 160), 3):
            data[at] = int(draw.choice([0, 1, 2, 127, 128, 255]))
    elif how == "cut":
        del data[int(draw.integers(1, length)) :]
    elif how == "a piece missing":
        first = int(draw.integers(0, length))
        del data[first : first + int(draw.integers(1, 40))]
    elif how == "a piece doubled":
        first = int(draw.integers(0, length))
        data[first:first] = data[first : first + int(draw.integers(1, 40))]
    elif how == "numbers made huge":
        first = int(draw.integers(0, max(length - 4, 1)))
        data[first : first + 4] = draw.choice([b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\0\0\0\0"])
    return bytes(data)


WAYS = ("bits flipped", "header altered", "cut", "a piece missing", "a piece doubled", "numbers made huge")
