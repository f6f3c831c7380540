"""A pass over an image in bands of its rows, shared by threads, and the same to the last bit however many there are.

Sums that are taken in another order have other last digits. The cuts therefore depend on the image alone, never on the
machine, and what the bands give is added from top to bottom.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

# (top, bottom, left, right), bottom and right exclusive
Window = tuple[int, int, int, int]

# rows that a pass adds up at a time, and the pixels from which on threads are worth their start
_BAND = 400
_WORTH_THREADS = 1 << 22


def in_bands(
    run: Callable[[NDArray[np.int64]], NDArray[np.float64]],
    rectangles: NDArray[np.int64],
    window: Window,
    threads: int,
) -> NDArray[np.float64]:
    """Return the sums of a pass over some rectangles, band by band of their rows.

    Parameters
    ----------
    run : callable
        Takes rectangles of shape (K, 4) and returns their sums, of any shape; of rectangles without rows, zeros.
    rectangles : int64 array of shape (K, 4)
        Each (top, bottom, left, right).
    window : (top, bottom, left, right)
        The smallest rectangle `around` them, which whoever prepares the pass knows.
    threads : int
        How many threads share the bands.

    Examples
    --------
    >>> image = np.ones((1000, 5000))
    >>> def run(rectangles):
    ...     return np.array([image[top:bottom, left:right].sum() for top, bottom, left, right in rectangles])
    >>> rectangles = np.array([[0, 1000, 0, 5000], [300, 500, 0, 10]])
    >>> in_bands(run, rectangles, around(rectangles), threads=2)
    array([5.e+06, 2.e+03])
    """
    first, last, left, right = window
    if last - first <= _BAND or (last - first) * (right - left) < _WORTH_THREADS:
        return run(rectangles)
    bands = []
    for y in range(first, last, _BAND):
        bands.append(rectangles.copy())
        bands[-1][:, :2] = rectangles[:, :2].clip(y, y + _BAND)
    if threads == 1:
        return np.asarray(sum(run(band) for band in bands))
    with ThreadPoolExecutor(min(threads, len(bands))) as pool:
        return np.asarray(sum(pool.map(run, bands)))


def around(rectangles: NDArray[np.int64]) -> Window:
    """Return the smallest rectangle that holds all of some.

    Examples
    --------
    >>> around(np.array([[0, 4, 3, 9], [2, 6, 1, 5]]))
    (0, 6, 1, 9)
    """
    if len(rectangles) == 1:
        top, bottom, left, right = rectangles[0].tolist()
        return top, bottom, left, right
    top, _, left, _ = rectangles.min(axis=0).tolist()
    _, bottom, _, right = rectangles.max(axis=0).tolist()
    return top, bottom, left, right
