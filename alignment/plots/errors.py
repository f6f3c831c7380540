"""Errors of an estimate: the S-curve of its bias over the fraction of a pixel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from .._checks import InputError
from .style import DEFAULT, FAINT, axes_or_new, name_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def bias_curve(
    ax: Axes | None,
    truth: ArrayLike,
    found: ArrayLike,
    *,
    spread: ArrayLike | None = None,
    label: str | None = None,
    colour: str = DEFAULT,
    marker: str = "o",
    axis: str = "dx",
) -> Axes:
    """Draw the error of a displacement over its true value: an estimate that is pulled to some fractions draws an S.

    Parameters
    ----------
    ax : Axes, optional
        None makes new ones.
    truth : array_like of shape (N,)
        The true displacements, in pixels.
    found : array_like of shape (N,)
        The estimates, or their means over many trials, in pixels.
    spread : array_like of shape (N,), optional
        Standard deviations or errors of `found`, in pixels, drawn as a band.
    label : str, optional
        For the legend.
    colour, marker : str
        As matplotlib knows them.
    axis : str
        The name of the coordinate.

    Returns
    -------
    Axes

    Raises
    ------
    InputError
        If the lengths differ.

    Examples
    --------
    >>> from alignment import plots
    >>> ax = plots.bias_curve(None, [0.0, 0.25, 0.5], [0.0, 0.2, 0.5])
    >>> ax.lines[-1].get_ydata().round(3).tolist()
    [0.0, -0.05, 0.0]
    """
    true, mean = (np.asarray(values, np.float64) for values in (truth, found))
    band = None if spread is None else np.asarray(spread, np.float64)
    if true.ndim != 1 or true.shape != mean.shape or (band is not None and band.shape != true.shape):
        shapes = [array.shape for array in (true, mean, band) if array is not None]
        raise InputError(f"truth, found and spread have the shapes {shapes}; give one number of each per displacement")
    ax = axes_or_new(ax)
    order = np.argsort(true, kind="stable")
    x, error = true[order], (mean - true)[order]
    ax.axhline(0.0, color=FAINT, linewidth=1.0, zorder=1)
    if band is not None:
        ax.fill_between(x, error - band[order], error + band[order], color=colour, alpha=0.18, linewidth=0)
    ax.plot(x, error, color=colour, marker=marker, markersize=4.5, linewidth=1.6, label=label)
    return name_axes(ax, f"true {axis}  (px)", f"error of {axis}  (px)")
