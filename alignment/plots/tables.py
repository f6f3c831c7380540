"""A table of numbers as a heat map: what came of each learning rate and number of steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._checks import InputError
from .style import FAINT, INK, SEQUENTIAL, SIZES, axes_or_new

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def table(
    ax: Axes | None,
    values: ArrayLike,
    rows: Sequence[Any],
    columns: Sequence[Any],
    *,
    row_label: str = "steps",
    column_label: str = "learning rate",
    unit: str = "distance from the answer  (px)",
    limits: tuple[float, float] | None = None,
    bar: bool = True,
) -> Axes:
    """Draw a table of positive numbers as a heat map, each number written in its field.

    Parameters
    ----------
    ax : Axes, optional
        None makes new ones.
    values : array_like of shape (M, N)
        What is not finite is left white and written as a dash.
    rows, columns : sequence
        What stands at the M rows and at the N columns.
    row_label, column_label : str
        What they are.
    unit : str
        What the numbers are, with their unit.
    limits : (float, float), optional
        The numbers that the ends of the colour scale stand for; those of the table unless given. The scale is
        logarithmic.
    bar : bool
        Whether to draw the scale beside.

    Returns
    -------
    Axes

    Raises
    ------
    InputError
        If the table does not have M rows and N columns.
    """
    shown = np.asarray(values, np.float64)
    if shown.shape != (len(rows), len(columns)):
        raise InputError(
            f"values has shape {shown.shape} but there are {len(rows)} rows and {len(columns)} columns; "
            "give one number for each field"
        )
    ax = axes_or_new(ax, 1.6 + 1.3 * len(columns), 1.4 + 0.8 * len(rows))
    norm = _scale(shown, limits)
    # the dark end of the map stands for the small numbers, which are the good ones
    field = ax.imshow(np.ma.masked_invalid(shown), cmap=SEQUENTIAL, norm=norm, aspect="auto")
    for (i, j), value in np.ndenumerate(shown):
        tone = norm(value) if np.isfinite(value) else 1.0
        text = _short(value)
        ax.text(j, i, text, ha="center", va="center", fontsize=SIZES["tick"], color="white" if tone < 0.55 else INK)
    ax.set_xticks(range(len(columns)), [str(c) for c in columns], fontsize=SIZES["tick"])
    ax.set_yticks(range(len(rows)), [str(r) for r in rows], fontsize=SIZES["tick"])
    ax.set_xlabel(column_label, fontsize=SIZES["label"])
    ax.set_ylabel(row_label, fontsize=SIZES["label"])
    ax.tick_params(length=0)
    ax.grid(False)  # lines through the numbers, where somebody's settings draw them
    for spine in ax.spines.values():
        spine.set_color(FAINT)
    if bar:
        scale = ax.figure.colorbar(field, ax=ax, fraction=0.06, pad=0.03)
        scale.set_label(unit, fontsize=SIZES["label"])
        scale.ax.tick_params(labelsize=SIZES["tick"] - 1)
    return ax


def _scale(values: NDArray[np.float64], limits: tuple[float, float] | None) -> Any:
    """Return the logarithmic scale of colours."""
    from matplotlib.colors import LogNorm

    positive = values[np.isfinite(values) & (values > 0)]
    low, high = limits or ((float(positive.min()), float(positive.max())) if positive.size else (0.1, 1.0))
    if not 0 < low <= high:
        raise InputError(f"limits is {limits}; give two numbers above 0, the smaller one first")
    return LogNorm(low, high if high > low else low * 1.01, clip=True)


def _short(value: float) -> str:
    """Write a number with three digits at the most."""
    if not np.isfinite(value):
        return "-"
    return f"{value:.0f}" if abs(value) >= 99.5 else f"{value:.1f}" if abs(value) >= 9.95 else f"{value:.2f}"
