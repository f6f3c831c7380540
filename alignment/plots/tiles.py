"""What one displacement leaves over, tile by tile."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from .fields import displacement_map
from .style import INK, SIZES, Image, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def tiles_figure(local: Any, *, image: Image | None = None) -> Figure:
    """Draw the residual displacements of tiles with their error ellipses, and what it is that they look like.

    Parameters
    ----------
    local : LocalDisplacements
    image : ndarray of shape (H, W) or (H, W, 3), optional
        The reference, shown faintly underneath.

    Returns
    -------
    Figure
        Arrows and ellipses (of 95 %) are magnified alike; tiles without a displacement bear a cross and their status.
    """
    shape = 1.0 * local.shape[1] / local.shape[0]
    figure = new_figure(*((7.6, 5.7 / shape + 1.7) if shape >= 1 else (6.6 * shape + 2.4, 7.4)))
    figure.set_layout_engine("compressed")
    ax = figure.add_subplot()
    magnify = magnification(local)
    displacement_map(ax, local.x, local.y, local.dx, local.dy, image=image, magnify=magnify)
    ax.set_xlim(-0.5, local.shape[1] - 0.5)
    ax.set_ylim(local.shape[0] - 0.5, -0.5)
    _ellipses(ax, local, magnify)
    for x, y, status in zip(local.x[~local.known], local.y[~local.known], local.status[~local.known], strict=True):
        ax.annotate(
            str(status), (x, y), xytext=(0, -9), textcoords="offset points", ha="center", va="top",
            fontsize=SIZES["tick"] - 3, color=INK,
        )  # fmt: skip
    ax.set_title(textwrap.fill(local.fit.message, 66), fontsize=SIZES["label"], color=INK, pad=10)
    return figure


def magnification(local: Any) -> float:
    """Return a round factor at which the longest arrow, or ellipse, reaches most of the way to the next tile."""
    reach = np.hypot(local.dx, local.dy)[local.known]
    bars = 2.45 * np.sqrt(np.trace(local.covariance, axis1=2, axis2=3))[local.known]
    longest = float(max(reach.max(initial=0.0), np.median(bars) if bars.size else 0.0))
    if longest == 0:
        return 1.0
    factor = 0.7 * min(local.tile) / longest
    power = 10.0 ** np.floor(np.log10(factor))
    return float(max(r for r in (1.0, 2.0, 5.0) if r * power <= factor * (1 + 1e-9)) * power)


def _ellipses(ax: Any, local: Any, magnify: float) -> None:
    """Draw the error ellipses of 95 % around the heads of the arrows."""
    from matplotlib.patches import Ellipse

    for i, j in zip(*np.nonzero(local.known), strict=True):
        variances, axes = np.linalg.eigh(local.covariance[i, j])
        # of chi squared with two degrees of freedom 95 % lie below 5.99
        minor, major = 2 * magnify * np.sqrt(5.99 * np.maximum(variances, 0.0))
        angle = np.degrees(np.arctan2(axes[1, 1], axes[0, 1]))
        head = local.x[i, j] + magnify * local.dx[i, j], local.y[i, j] + magnify * local.dy[i, j]
        ax.add_patch(
            Ellipse(head, major, minor, angle=angle, facecolor="none", edgecolor=INK, linewidth=0.9, zorder=4)
        )  # fmt: skip
