"""The loss over the plane of displacements: its contours, its minima, and the way that a descent took through it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._checks import InputError, whole_number
from ..surfaces import Array, Region, grid, local_minima, surface
from .descents import mark, path
from .style import INK, SEQUENTIAL, SIZES, axes_or_new, name_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def landscape(
    ax: Axes | None,
    objective: Any,
    *,
    region: Region = (-4.0, 4.0, -4.0, 4.0),
    step: float = 0.1,
    trace: NDArray[Any] | None = None,
    truth: tuple[float, float] | None = None,
    minima: bool = True,
    levels: int = 16,
    bar: bool = True,
    unit: str = "loss",
) -> Axes:
    """Draw the loss as filled contours, with its local minima and, if given, the path of a descent.

    Parameters
    ----------
    ax : Axes, optional
        None makes new ones.
    objective : object
        Has ``landscape(dx, dy)``, as the objectives of this package do, or ``value_and_gradient(dx, dy)``.
    region : (left, right, top, bottom)
        Least and largest dx, least and largest dy, in pixels.
    step : float
        Distance of the samples, in pixels. With the objectives of this package, only cells cost anything.
    trace : structured ndarray, optional
        Has the fields dx and dy: the path to draw.
    truth : (float, float), optional
        The true (dx, dy), marked by a cross.
    minima : bool
        Mark each local minimum of the samples by a ring, the lowest of all by a star.
    levels : int
        Number of contours, spaced so that as many samples lie between each two.
    bar : bool
        Whether to draw the scale of the loss beside.
    unit : str
        What the loss is called on it.

    Returns
    -------
    Axes

    Raises
    ------
    InputError
        If the region is empty or an argument is not as described.

    Examples
    --------
    >>> from alignment import MSE, datasets, plots
    >>> reference, moving = datasets.shifted_pair(1.5, -0.5, shape=(60, 60))
    >>> ax = plots.landscape(None, MSE(reference, moving, domain="interior"), region=(-1, 3, -2, 1), step=0.25)
    >>> ax.get_xlabel()
    'dx  (px, right)'
    """
    across, down = grid(region, step)
    levels = whole_number("levels", levels, at_least=2)
    ax = axes_or_new(ax, 6.6, 5.6)
    values = surface(objective, across, down)
    # as many samples between each two contours: basins show, however steep the slopes around them are
    heights = np.unique(np.quantile(values, np.linspace(0, 1, levels + 1)))
    if len(heights) < 2:
        raise InputError(f"the loss is {values.flat[0]:g} everywhere in the region {region}; give one where it varies")
    colours = ax.contourf(across, down, values, levels=heights, cmap=SEQUENTIAL, norm=_ranks(heights))
    ax.contour(across, down, values, levels=heights, colors="white", linewidths=0.5, linestyles="solid", alpha=0.6)
    if minima:
        _mark_minima(ax, across, down, values)
    if trace is not None:
        path(ax, trace, truth, colour="#FFFFFF", outline=INK)
    elif truth is not None:
        mark(ax, truth)
    if bar:
        _bar(ax, colours, heights, unit)
    ax.set_aspect("equal", adjustable="box")
    ax.set(xlim=(across[0], across[-1]), ylim=(down[-1], down[0]))
    name_axes(ax, "dx  (px, right)", "dy  (px, down)")
    ax.grid(False)
    return ax


def _ranks(heights: Array) -> Any:
    """Return the norm that gives each band between two contours a colour of its own."""
    from matplotlib.colors import BoundaryNorm

    return BoundaryNorm(heights, 256)


def _mark_minima(ax: Axes, across: Array, down: Array, values: Array) -> None:
    """Mark the local minima by rings, the lowest by a star."""
    rows, columns = np.nonzero(local_minima(values))
    if len(rows) == 0:
        return
    best = int(np.argmin(values[rows, columns]))
    others = np.arange(len(rows)) != best
    look: dict[str, Any] = {"markerfacecolor": "none", "markeredgecolor": "white", "linestyle": "none", "zorder": 5}
    if others.any():
        at = across[columns[others]], down[rows[others]]
        ax.plot(*at, "o", markersize=9, markeredgewidth=1.8, label="local minimum", **look)
    at = across[columns[best : best + 1]], down[rows[best : best + 1]]
    ax.plot(*at, "*", markersize=15, markeredgewidth=1.6, label="lowest minimum", **look)


def _bar(ax: Axes, colours: Any, heights: Array, unit: str) -> None:
    """Draw the scale beside the axes."""
    bar = ax.figure.colorbar(colours, ax=ax, fraction=0.046, pad=0.03, spacing="uniform")
    ticks = heights[:: max(1, len(heights) // 6)].tolist()
    bar.set_ticks(ticks, labels=[f"{value:.3g}" for value in ticks])
    bar.set_label(unit, fontsize=SIZES["label"])
    bar.ax.tick_params(labelsize=SIZES["tick"] - 1)
