"""How a descent went: the loss over its steps, and its path in the plane of displacements."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._checks import InputError, one_of, pair_of_numbers
from .style import DEFAULT, FAINT, INK, Image, axes_or_new, name_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes


QUANTITIES = {
    "loss": "loss",
    "gradient": "norm of the gradient  (loss / px)",
    "distance": "distance from the target  (px)",
}


def convergence(
    ax: Axes | None,
    trace: NDArray[Any],
    *,
    quantity: str = "loss",
    target: tuple[float, float] | None = None,
    label: str | None = None,
    colour: str = DEFAULT,
    marker: str = "o",
    ylabel: str | None = None,
) -> Axes:
    """Draw how a descent went on over its steps, each level of the pyramid as a line of its own.

    Parameters
    ----------
    ax : Axes, optional
        None makes new ones.
    trace : structured ndarray
        The trace of a `Registration` or of a `Descent`: has the fields loss, or grad_dx and grad_dy, or dx and dy, as
        the quantity needs, and level where there is a pyramid.
    quantity : {"loss", "gradient", "distance"}
        What to draw: the loss, the norm of its gradient, or the distance from `target`; the last two on a logarithmic
        scale, which turns a steady rate of convergence into a straight line.
    target : (float, float), optional
        (dx, dy) in pixels, for the distance.
    label : str, optional
        For the legend.
    colour, marker : str
        As matplotlib knows them.
    ylabel : str, optional
        What the quantity is called, if not by its own name.

    Returns
    -------
    Axes

    Raises
    ------
    InputError
        If the trace lacks what is to be drawn, or the target is missing.

    Notes
    -----
    Losses of two levels are taken over different images, so the lines are not joined; a ring marks where a
    level begins.
    """
    values = _drawn(trace, one_of("quantity", quantity, tuple(QUANTITIES)), target)
    ax = axes_or_new(ax)
    steps = np.arange(len(trace))
    runs = list(_runs(trace))
    for number, run in enumerate(runs):
        name = label if number == 0 else None
        ax.plot(steps[run], values[run], color=colour, marker=marker, markersize=4, linewidth=1.6, label=name)
    starts = [run.start for run in runs]
    ax.plot(steps[starts], values[starts], marker, color=colour, markerfacecolor="white", markersize=7)
    ax.locator_params(axis="x", integer=True, nbins=6)
    if quantity != "loss" and (values > 0).any():
        ax.set_yscale("log")
    return name_axes(ax, "evaluation", QUANTITIES[quantity] if ylabel is None else ylabel)


def path(
    ax: Axes | None,
    trace: NDArray[Any],
    truth: tuple[float, float] | None = None,
    *,
    objective: Any = None,
    label: str | None = None,
    colour: str = DEFAULT,
    marker: str = "o",
    outline: str | None = None,
) -> Axes:
    """Draw the path of a descent in the plane of displacements, with equal scales and dy downwards as in an image.

    Parameters
    ----------
    ax : Axes, optional
        None makes new ones.
    trace : structured ndarray
        Has the fields dx and dy, in pixels of the full resolution.
    truth : (float, float), optional
        The true (dx, dy), marked by a cross.
    objective : optional
        Something with ``value_and_gradient(dx, dy)``; its contours are drawn under the path, from 25 x 25 values.
    label : str, optional
        For the legend.
    colour, marker : str
        As matplotlib knows them.
    outline : str, optional
        The colour of a thin edge around the line, for a path on a coloured ground.

    Returns
    -------
    Axes
    """
    trace, ax = _checked(trace, "dx", "dy"), axes_or_new(ax)
    x, y = trace["dx"], trace["dy"]
    if objective is not None:
        _contours(ax, objective, x, y, truth)
    lines = ax.plot(x, y, color=colour, marker=marker, markersize=3.5, linewidth=1.6, label=label, zorder=6)
    lines += ax.plot(x[:1], y[:1], marker, color=colour, markerfacecolor="white", markersize=7, zorder=7)
    if outline is not None:
        from matplotlib.patheffects import Normal, Stroke

        lines[0].set_path_effects([Stroke(linewidth=3.4, foreground=outline), Normal()])
        for line in lines:
            line.set(markeredgecolor=outline, markeredgewidth=0.6)
    if truth is not None:
        mark(ax, truth)
    ax.set_aspect("equal", adjustable="datalim")
    if not ax.yaxis_inverted():
        ax.invert_yaxis()
    return name_axes(ax, "dx  (px, right)", "dy  (px, down)")


def mark(ax: Axes, truth: tuple[float, float]) -> None:
    """Mark the true displacement by a cross, dark on bright and bright around on dark.

    Parameters
    ----------
    ax : Axes
    truth : (float, float)
        (dx, dy) in pixels.
    """
    from matplotlib.patheffects import Normal, Stroke

    effects = [Stroke(linewidth=4.0, foreground="white"), Normal()]
    ax.plot(*truth, "+", color=INK, markersize=17, markeredgewidth=1.6, zorder=8, path_effects=effects)


def _drawn(trace: NDArray[Any], quantity: str, target: tuple[float, float] | None) -> NDArray[np.float64]:
    """Return the values of a quantity along a trace."""
    if quantity == "loss":
        return np.asarray(_checked(trace, "loss")["loss"])
    if quantity == "gradient":
        _checked(trace, "grad_dx", "grad_dy")
        return np.asarray(np.hypot(trace["grad_dx"], trace["grad_dy"]))
    _checked(trace, "dx", "dy")
    if target is None:
        raise InputError("target is missing; give the (dx, dy) that the distance is to be measured from")
    x, y = pair_of_numbers("target", target)
    return np.asarray(np.hypot(trace["dx"] - x, trace["dy"] - y))


def _checked(trace: NDArray[Any], *fields: str) -> NDArray[Any]:
    """Return the trace if it has records with these fields."""
    names = getattr(getattr(trace, "dtype", None), "names", None) or ()
    missing = [field for field in fields if field not in names]
    if missing or len(trace) == 0:
        raise InputError(
            f"trace has {len(trace)} records with the fields {', '.join(names) or 'none'}; "
            f"give the trace of a descent, with {' and '.join(fields)}"
        )
    return trace


def _runs(trace: NDArray[Any]) -> Iterator[slice]:
    """Cut the trace where the level of the pyramid changes."""
    names = trace.dtype.names or ()
    changes = np.flatnonzero(np.diff(trace["level"])) + 1 if "level" in names else np.array([], int)
    edges = [0, *changes.tolist(), len(trace)]
    for start, stop in pairwise(edges):
        yield slice(start, stop)


def _contours(ax: Axes, objective: Any, x: Image, y: Image, truth: tuple[float, float] | None) -> None:
    """Draw the loss over the part of the plane that the path visits."""
    points = np.column_stack((x, y)) if truth is None else np.vstack((np.column_stack((x, y)), truth))
    low, high = points.min(axis=0), points.max(axis=0)
    middle, reach = (low + high) / 2, 0.7 * max(float((high - low).max()), 1.0)
    across, down = (np.linspace(centre - reach, centre + reach, 25) for centre in middle)
    values = np.array([[objective.value_and_gradient(u, v)[0] for u in across] for v in down])
    ax.contour(across, down, values, levels=12, colors=FAINT, linewidths=0.8, linestyles="solid", zorder=1)
