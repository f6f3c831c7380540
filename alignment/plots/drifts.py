"""The drift of a stack: the displacements of its frames, with error bars, and the frames that were bridged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .style import CYCLE, INK, SIZES, axes_or_new, name_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# standard errors narrower than this share of the range of the drift are no wider than the line
_SEEN = 0.002


def drift(ax: Axes | None, stack: Any, *, label: str = "") -> Axes:
    """Draw dx and dy over the frames of a stack, a band of two standard errors, and crosses where frames were bridged.

    Parameters
    ----------
    ax : Axes, optional
        None makes new ones.
    stack : StackRegistration
        Or anything with arrays dx and dy of shape (T,), stderr of shape (T, 2) and success of shape (T,).
    label : str
        Put in front of "dx" and "dy" in the legend.

    Returns
    -------
    Axes

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from alignment import plots
    >>> found = SimpleNamespace(
    ...     dx=np.arange(4.0), dy=np.zeros(4), stderr=np.full((4, 2), 0.1), success=np.array([True, False, True, True])
    ... )
    >>> ax = plots.drift(None, found)
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['dx, right', 'dy, down', 'bridged (1)']
    """
    ax = axes_or_new(ax, 9.0, 4.4)
    frames = np.arange(len(stack.dx))
    good = np.asarray(stack.success, bool)
    errors = np.asarray(stack.stderr, np.float64)
    look: dict[str, Any] = {"linewidth": 1.5, "marker": "." if len(frames) <= 100 else "", "markersize": 5}
    for values, error, colour, name in zip(
        (stack.dx, stack.dy), errors.T, CYCLE, (f"{label}dx, right", f"{label}dy, down"), strict=False
    ):
        ax.plot(frames, values, color=colour, label=name, zorder=3, **look)
        if good.any() and error[good].max() > _SEEN * np.ptp(values[good]):
            around = np.where(good, 2 * error, np.nan)
            ax.fill_between(frames, values - around, values + around, color=colour, alpha=0.2, linewidth=0)
    if not good.all():
        bad = ~good
        name = f"{label}bridged ({int(bad.sum())})"
        ax.plot(frames[bad], stack.dx[bad], "x", color=INK, markersize=6, label=name, zorder=4)
        ax.plot(frames[bad], stack.dy[bad], "x", color=INK, markersize=6, zorder=4)
    name_axes(ax, "frame", "displacement  (px)")
    ax.margins(x=0.01)
    ax.locator_params(axis="x", integer=True, nbins=10)
    ax.legend(frameon=False, fontsize=SIZES["tick"], loc="best", ncols=3)
    return ax
