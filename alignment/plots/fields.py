"""Displacements over an image: an arrow wherever one was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from .._checks import InputError, positive_number
from .style import INK, SEQUENTIAL, SIZES, Image, axes_or_new, name_axes, show

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def displacement_map(
    ax: Axes | None,
    x: ArrayLike,
    y: ArrayLike,
    dx: ArrayLike,
    dy: ArrayLike,
    *,
    image: Image | None = None,
    magnify: float | None = None,
    bar: bool = True,
) -> Axes:
    """Draw displacements as arrows at the places where they were measured, dy downwards as in an image.

    Parameters
    ----------
    ax : Axes, optional
        None makes new ones.
    x, y : array_like of one shape
        The places, in pixels of the image.
    dx, dy : array_like of the same shape
        The displacements there, in pixels; what is not finite is marked by a cross.
    image : ndarray of shape (H, W) or (H, W, 3), optional
        Shown faintly underneath.
    magnify : float, optional
        How many times longer than they are the arrows are drawn; unless given, so that the longest reaches most of the
        way to the next place.
    bar : bool
        Whether to draw the scale of lengths beside.

    Returns
    -------
    Axes

    Raises
    ------
    InputError
        If the shapes differ.

    Examples
    --------
    >>> import numpy as np
    >>> from alignment import plots
    >>> y, x = np.mgrid[20:100:3j, 20:100:3j]
    >>> ax = plots.displacement_map(None, x, y, 0.01 * (x - 60), 0.01 * (y - 60))
    >>> bool(ax.yaxis_inverted())
    True
    """
    from matplotlib.ticker import AutoLocator

    at_x, at_y, u, v = (np.asarray(values, np.float64).ravel() for values in (x, y, dx, dy))
    if not len(at_x) or len({len(values) for values in (at_x, at_y, u, v)}) > 1:
        sizes = ", ".join(str(len(values)) for values in (at_x, at_y, u, v))
        raise InputError(f"x, y, dx and dy have {sizes} elements; give one of each for every place, one at the least")
    ax = axes_or_new(ax, 6.4, 5.4)
    if image is not None:
        show(ax, image, "")
        ax.images[-1].set_alpha(0.35)
        ax.xaxis.set_major_locator(AutoLocator())
        ax.yaxis.set_major_locator(AutoLocator())
    known = np.isfinite(u) & np.isfinite(v)
    lengths = np.hypot(u, v)
    scale = _magnification(at_x, at_y, lengths[known]) if magnify is None else positive_number("magnify", magnify)
    arrows = ax.quiver(
        at_x[known], at_y[known], u[known], v[known], lengths[known], angles="xy", scale_units="xy", scale=1 / scale,
        cmap=SEQUENTIAL, width=0.008, zorder=3, edgecolor=INK, linewidth=0.5,
    )  # fmt: skip
    ax.plot(at_x[~known], at_y[~known], "x", color="#D55E00", markersize=9, markeredgewidth=2.0, zorder=3)
    if bar and known.any():
        ruler = ax.figure.colorbar(arrows, ax=ax, fraction=0.046, pad=0.03)
        ruler.set_label(f"length  (px; arrows {scale:.3g} times as long)", fontsize=SIZES["label"])
        ruler.ax.tick_params(labelsize=SIZES["tick"] - 1)
    ax.set_aspect("equal", adjustable="box")
    name_axes(ax, "x  (px)", "y  (px)")
    if image is None:
        _room(ax, at_x, at_y)
    else:
        ax.grid(False)
    return ax


def _magnification(x: Image, y: Image, lengths: Image) -> float:
    """Return the factor, a round number, by which the longest arrow reaches most of the way to the next place."""
    longest = float(lengths.max()) if lengths.size else 0.0
    if longest == 0:
        return 1.0
    gaps = [float(np.diff(np.unique(values)).min()) for values in (x, y) if len(np.unique(values)) > 1]
    factor = 0.8 * min(gaps, default=10.0) / longest
    power = 10.0 ** np.floor(np.log10(factor))
    return float(max(r for r in (1.0, 2.0, 5.0) if r * power <= factor * (1 + 1e-9)) * power)


def _room(ax: Axes, x: Image, y: Image) -> None:
    """Leave as much room around the places as there is between them, with y downwards."""
    for values, limit in ((x, ax.set_xlim), (y, ax.set_ylim)):
        places = np.unique(values)
        gap = float(np.diff(places).min()) if len(places) > 1 else 10.0
        limit(places[0] - gap, places[-1] + gap)
    ax.invert_yaxis()
