"""Error curves: the error of a difference over its step, drawn on logarithmic axes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .linecheck import LineCheck

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe and Ito


def draw(ax: Axes | None, lines: Sequence[LineCheck], title: str) -> Axes:
    """Draw a curve and a dotted floor for each line, and guides beside them; None makes new axes."""
    if ax is None:
        import matplotlib.pyplot as plt

        ax = plt.subplots(figsize=(6.4, 4.4), layout="constrained")[1]
    looks = zip(itertools.cycle(COLOURS), itertools.cycle("osD^vP"), strict=True)
    for line, (colour, marker) in zip(lines, looks, strict=False):
        shown = np.isfinite(line.errors) & (line.errors > 0.0)
        ax.plot(
            line.steps[shown], line.errors[shown], color=colour, marker=marker, markersize=5.0, linewidth=1.6,
            label=f"{line.name}, {line.stencil} difference, order {line.order_in_words}",
        )  # fmt: skip
        if math.isfinite(line.floor) and line.floor > 0.0:
            ax.axhline(line.floor, color=colour, linestyle=":", linewidth=1.4)
    _guides(ax, lines)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("step (units of the argument)", fontsize=12.5)
    ax.set_ylabel("|difference $-$ analytic gradient|", fontsize=12.5)
    ax.set_title(title, fontsize=14.0)
    ax.tick_params(labelsize=11.5)
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(True, color="#E4E4E4", linewidth=0.8)
    ax.set_axisbelow(True)
    ax.legend(fontsize=10.5, frameon=False, loc="upper left")
    return ax


def _guides(ax: Axes, lines: Sequence[LineCheck]) -> None:
    """Draw the slopes 1 and 2 beside the largest error, so that an eye can read the order off, and name the floor."""
    steps = np.concatenate([line.steps for line in lines])
    errors = np.concatenate([line.errors for line in lines])
    shown = np.isfinite(errors) & (errors > 0.0)
    if not shown.any():
        return
    # Four decades are enough to compare with; a little higher than the data, so as not to hide them.
    top_step, top_error = steps[shown].max(), errors[shown].max()
    reach = np.array([1e-4, 1.0])
    for order, dashes in ((1, "--"), (2, "-.")):
        ax.plot(top_step * reach, 5.0 * top_error * reach**order, dashes, color="0.5", label=f"slope {order}")
    ax.plot([], [], ":", color="0.5", linewidth=1.4, label="floor after extrapolation")
