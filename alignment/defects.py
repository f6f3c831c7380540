"""Lines of a sensor that are dead: rows and columns of one value, where their neighbours show a scene."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._checks import Image, Mask

# beyond this share of the lines it is the scene that has stripes
_MOST = 0.25


def living(image: Image) -> Mask | None:
    """Return where an image shows a scene: False on dead rows and columns; None if there are none.

    A line is dead if all its pixels have one value, and that value lies outside the middle half of those on the nearest
    line that has more than one: an even background is as even on both.

    Examples
    --------
    >>> image = np.random.default_rng(0).random((20, 30))
    >>> image[7] = 3
    >>> np.flatnonzero(~living(image).all(axis=1)), living(image[8:]) is None
    (array([7]), True)
    """
    columns = _dead(image.T)
    # a line of one kind that crosses one of the other is constant but for the crossing
    rows = _dead(image[:, ~columns] if columns.any() else image)
    columns = _dead(image[~rows].T) if rows.any() else columns
    if not rows.any() and not columns.any():
        return None
    return np.asarray(~(rows[:, np.newaxis] | columns))


def _dead(image: Image) -> NDArray[np.bool_]:
    """Say which rows are dead."""
    first, middle, last = (image[:, k] for k in (0, image.shape[1] // 2, -1))
    dead = (first == middle) & (middle == last)
    for row in np.flatnonzero(dead):
        dead[row] = bool((image[row] == image[row, 0]).all())
    if not dead.any() or dead.all():
        return np.zeros_like(dead)
    alive = np.flatnonzero(~dead)
    for row in np.flatnonzero(dead):
        low, high = np.quantile(image[alive[np.argmin(np.abs(alive - row))]], (0.25, 0.75))
        dead[row] = not low <= image[row, 0] <= high
    return dead if dead.mean() <= _MOST else np.zeros_like(dead)
