r"""The colour space sRGB as an ICC profile, made from its definition.

A file that carries it tells every viewer how its numbers are meant. The profile is built here, not copied, from the
chromaticities and the curve of the standard; it is the same bytes every time, so that pictures can be compared byte by
byte.
"""

from __future__ import annotations

import functools
import struct

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

# chromaticities (x, y) of red, green and blue, and of the white D65; the white D50 that profiles are referred to
_PRIMARIES = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
_D65 = (0.3127, 0.3290)
_D50 = np.array([0.9642, 1.0, 0.8249])
# from XYZ to the responses of the cones, in which whites are adapted (Bradford)
_CONES = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_ENTRIES = 1024  # of the curve


def linear(levels: NDArray[np.float64]) -> NDArray[np.float64]:
    r"""Return the light that sRGB levels stand for, both in [0, 1].

    Notes
    -----
    .. math:: v / 12.92 \quad (v \le 0.04045), \qquad \left(\frac{v + 0.055}{1.055}\right)^{2.4} \quad \text{above}

    References
    ----------
    IEC 61966-2-1, "Default RGB colour space: sRGB", 1999.

    Examples
    --------
    >>> import numpy as np
    >>> linear(np.array([0.0, 0.5, 1.0])).round(4)
    array([0.   , 0.214, 1.   ])
    """
    return np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)


@functools.cache
def profile() -> bytes:
    """Return the profile, version 2 of the format, which every program reads.

    Returns
    -------
    bytes

    References
    ----------
    ICC.1:2001-04, "File format for color profiles".

    Examples
    --------
    >>> made = profile()
    >>> made[36:40], int.from_bytes(made[:4], "big") == len(made)
    (b'acsp', True)
    """
    adaptation = _adaptation()
    columns = adaptation @ _primaries()
    curve = b"curv" + bytes(4) + struct.pack(">I", _ENTRIES) + _curve()
    tags = [
        (b"desc", _description("sRGB")),
        (b"cprt", b"text" + bytes(4) + b"No copyright, use freely\0"),
        (b"wtpt", b"XYZ " + bytes(4) + _fixed(_D50)),
        (b"chad", b"sf32" + bytes(4) + _fixed(adaptation.ravel())),
        *((name + b"XYZ", b"XYZ " + bytes(4) + _fixed(columns[:, i])) for i, name in enumerate((b"r", b"g", b"b"))),
        *((name + b"TRC", curve) for name in (b"r", b"g", b"b")),
    ]
    return _assembled(tags)


def _assembled(tags: list[tuple[bytes, bytes]]) -> bytes:
    """Put header, table and data together; data that are equal are stored once."""
    places: dict[bytes, int] = {}
    data = b""
    start = 128 + 4 + 12 * len(tags)
    for _, value in tags:
        if value not in places:
            places[value] = start + len(data)
            data += value + bytes(-len(value) % 4)
    table = struct.pack(">I", len(tags))
    table += b"".join(name + struct.pack(">II", places[value], len(value)) for name, value in tags)
    header = struct.pack(">I", start + len(data)) + bytes(4) + bytes((2, 0x10, 0, 0)) + b"mntrRGB XYZ "
    header += struct.pack(">6H", 2000, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + _fixed(_D50)
    return header.ljust(128, b"\0") + table + data


def _primaries() -> Matrix:
    """Return XYZ of red, green and blue as columns, scaled to add up to the white D65."""
    columns = np.array([(x / y, 1.0, (1 - x - y) / y) for x, y in _PRIMARIES]).T
    scaled: Matrix = columns * np.linalg.solve(columns, _white())
    return scaled


def _white() -> Matrix:
    x, y = _D65
    return np.array([x / y, 1.0, (1 - x - y) / y])


def _adaptation() -> Matrix:
    """Return the matrix that takes D65 to D50."""
    ratio = (_CONES @ _D50) / (_CONES @ _white())
    adapted: Matrix = np.linalg.solve(_CONES, ratio[:, None] * _CONES)
    return adapted


def _curve() -> bytes:
    """Return the curve at evenly spaced levels, 16 bits each."""
    light = linear(np.linspace(0.0, 1.0, _ENTRIES))
    return np.rint(light * 65535).astype(">u2").tobytes()


def _fixed(values: Matrix) -> bytes:
    """Write numbers with 16 bits behind the point."""
    return np.rint(values * 65536).astype(">i4").tobytes()


def _description(text: str) -> bytes:
    """Write the name in the form of version 2: ASCII, no Unicode, no Macintosh script."""
    ascii_ = text.encode("ascii") + b"\0"
    return b"desc" + bytes(4) + struct.pack(">I", len(ascii_)) + ascii_ + bytes(4 + 4 + 2 + 1 + 67)
