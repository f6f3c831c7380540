"""A loss sampled over the plane of displacements, and the minima of the samples."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._checks import InputError, finite_number

Array = NDArray[np.float64]
Region = tuple[float, float, float, float]


def grid(region: Region, step: float) -> tuple[Array, Array]:
    """Return evenly spaced displacements that fill a region, its edges among them.

    Parameters
    ----------
    region : (left, right, top, bottom)
        Least and largest dx, least and largest dy, in pixels.
    step : float
        About how far apart, in pixels; the next that divides each side evenly is taken.

    Returns
    -------
    dx : ndarray of shape (N,)
    dy : ndarray of shape (M,)

    Raises
    ------
    InputError
        If the region is empty or the step does not fit into it twice.

    Examples
    --------
    >>> [values.tolist() for values in grid((-1, 1, 0, 2), 0.5)]
    [[-1.0, -0.5, 0.0, 0.5, 1.0], [0.0, 0.5, 1.0, 1.5, 2.0]]
    """
    edges = [finite_number(f"region[{i}]", value) for i, value in enumerate(region)]
    step = finite_number("step", step)
    if len(edges) != 4 or not (edges[0] < edges[1] and edges[2] < edges[3]):
        raise InputError(f"region is {tuple(region)}; give (left, right, top, bottom) with left < right, top < bottom")
    if not 0 < step <= min(edges[1] - edges[0], edges[3] - edges[2]) / 2:
        raise InputError(f"step is {step:g}; give a number above 0 that fits into the region {tuple(edges)} twice")
    sides = []
    for low, high in (edges[:2], edges[2:]):
        # rounded, so that an integer is exactly that: the kinks lie there
        sides.append(np.round(np.linspace(low, high, round((high - low) / step) + 1), 9))
    return sides[0], sides[1]


def surface(objective: Any, dx: Array, dy: Array) -> Array:
    """Return the loss on a grid of displacements.

    Parameters
    ----------
    objective : object
        Has ``landscape(dx, dy)``, as the objectives of this package do, or ``value_and_gradient(dx, dy)``.
    dx : ndarray of shape (N,)
    dy : ndarray of shape (M,)
        In pixels.

    Returns
    -------
    ndarray of shape (M, N)
    """
    if hasattr(objective, "landscape"):
        return np.asarray(objective.landscape(dx, dy))
    return np.array([[objective.value_and_gradient(float(u), float(v))[0] for u in dx] for v in dy])


def local_minima(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Say which samples of a surface are lower than all eight around; those on its border never are.

    Parameters
    ----------
    values : ndarray of shape (M, N)

    Returns
    -------
    ndarray of bool, of shape (M, N)

    Examples
    --------
    >>> import numpy as np
    >>> bowl = np.array([[2.0, 2, 2, 2], [2, 0, 2, 2], [2, 2, 2, 1]])
    >>> np.argwhere(local_minima(bowl)).tolist()
    [[1, 1]]
    """
    lowest = np.zeros(values.shape, bool)
    if min(values.shape) < 3:
        return lowest
    height, width = values.shape[0] - 2, values.shape[1] - 2
    inner = values[1:-1, 1:-1]
    around = [(i, j) for i in range(3) for j in range(3) if (i, j) != (1, 1)]
    lowest[1:-1, 1:-1] = np.all([inner < values[i : i + height, j : j + width] for i, j in around], axis=0)
    return lowest
