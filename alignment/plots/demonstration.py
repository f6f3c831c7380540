"""The figure of the demonstration: the whole story of one plate on one page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .descents import convergence, path
from .pictures import before_after, detail, unaligned
from .style import COLOURS, INK, MARKERS, RGB, SIZES, Image, Rectangle, new_figure, show

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def demo_figure(
    plate: Image,
    colorization: Any,
    truth: Mapping[str, tuple[float, float]] | None = None,
    *,
    descents: Mapping[str, Any] | None = None,
) -> Figure:
    """Put the whole story of one plate on one page.

    The plate with its three exposures, the exposures laid on one another as they come and aligned, a detail of both,
    the loss, and the path of both channels.

    Parameters
    ----------
    plate : ndarray of shape (H, W)
        The scan.
    colorization : Colorization
        What `colorize` made of it.
    truth : mapping, optional
        The true (dx, dy) of a channel, between the rectangles of ``colorization.exposures``; marked in the last panel.
    descents : mapping, optional
        For each channel that moved a `Registration` whose way to show, if not that of ``colorization.registrations``.

    Returns
    -------
    Figure
        About 15 inches wide.
    """
    grey = plate if plate.ndim == 2 else plate.mean(axis=2)
    before = unaligned(grey, colorization.exposures, colorization.crop, colorization.reference)
    after = np.asarray(colorization.rgb)
    figure, axes = _demo_axes(grey.shape[0] / grey.shape[1], after.shape[0] / after.shape[1])
    _plate_panel(axes["plate"], grey, colorization)
    whole, close = (axes["before"], axes["after"]), (axes["close before"], axes["close after"])
    before_after(whole, before, after, titles=("the exposures, laid on one another", "aligned"))
    _details(whole, close, (before, after), detail(after))
    _descent_panels(axes["loss"], axes["path"], descents, colorization.registrations, truth or {})
    return figure


def _demo_axes(plate: float, picture: float) -> tuple[Figure, dict[str, Axes]]:
    """Lay out the page for a plate and a picture of these heights over widths, so that all edges line up; in inches."""
    margin, gap, title = 0.3, 0.16, 0.42
    wide = 5.3  # a picture
    high = wide * min(max(picture, 0.5), 1.4)
    side = 2.25  # a detail, and the height of the two diagrams
    between, below = 0.95, 0.72
    bottom, top = below, below + side + between
    right = 2 * margin + (top + high - bottom) / plate
    total = right + 2 * wide + gap
    room = (2 * wide + gap - 2 * side - gap - 0.85 - 0.72) / 2  # for a diagram, beside its numbers
    places = {
        "plate": (margin, bottom, (top + high - bottom) / plate, top + high - bottom),
        "before": (right, top, wide, high),
        "after": (right + wide + gap, top, wide, high),
        "close before": (right, bottom, side, side),
        "close after": (right + side + gap, bottom, side, side),
        "loss": (total - 2 * room - 0.72, bottom, room, side),
        "path": (total - room, bottom, room, side),
    }
    width, height = total + margin, top + high + title + 0.1
    figure = new_figure(width, height)
    scale = np.array((width, height, width, height))
    return figure, {name: figure.add_axes(tuple(place / scale)) for name, place in places.items()}


def _plate_panel(ax: Axes, plate: Image, colorization: Any) -> None:
    """Show the plate, the rectangle of each exposure, and its name."""
    from matplotlib.patches import Rectangle as Box

    show(ax, plate, f"the plate, {plate.shape[1]} x {plate.shape[0]} px")
    for name in RGB:
        top, bottom, left, right = colorization.exposures[name]
        ax.add_patch(Box((left, top), right - left, bottom - top, fill=False, edgecolor=COLOURS[name], linewidth=2.2))
        ax.annotate(
            name,
            (left, top),
            xytext=(9, -9),
            textcoords="offset points",
            va="top",
            fontsize=SIZES["label"],
            color="white",
            bbox={"boxstyle": "round,pad=0.3", "facecolor": COLOURS[name], "edgecolor": "none"},
        )


def _details(
    whole: tuple[Axes, Axes], close: tuple[Axes, Axes], pictures: tuple[Image, Image], window: Rectangle
) -> None:
    """Show the window magnified, pixel by pixel, and outline it in the whole pictures."""
    from matplotlib.patches import Rectangle as Box

    top, bottom, left, right = window
    before_after(close, *(p[top:bottom, left:right] for p in pictures), titles=("in detail", "in detail, aligned"))
    for ax in whole:
        for colour, line in ((INK, 3.6), ("white", 1.8)):
            box = Box((left, top), right - left, bottom - top, fill=False, edgecolor=colour, linewidth=line)
            ax.add_patch(box)


def _descent_panels(
    losses: Axes,
    plane: Axes,
    descents: Mapping[str, Any] | None,
    results: Mapping[str, Any],
    truth: Mapping[str, tuple[float, float]],
) -> None:
    """Draw the loss and the path of the two channels that moved, and write how far off the result is."""
    descents = descents or results
    for name, found in results.items():
        look: dict[str, Any] = {"colour": COLOURS[name], "marker": MARKERS[name]}
        convergence(losses, descents[name].trace, label=name, **look)
        target = truth.get(name)
        path(plane, descents[name].trace, target, **look)
        text = name
        if target is not None:
            text += f": off by {np.hypot(found.dx - target[0], found.dy - target[1]):.3f} px"
        above = found.dy <= min(other.dy for other in results.values())
        plane.text(
            0.5,
            0.98 if above else 0.02,
            text,
            transform=plane.transAxes,
            ha="center",
            va="top" if above else "bottom",
            fontsize=SIZES["tick"],
            color=COLOURS[name],
        )
    ncc = all(found.loss < 0 for found in descents.values())  # an MSE never is
    losses.set_title("loss: negative NCC" if ncc else "loss: MSE", fontsize=SIZES["title"], pad=8)
    losses.set_ylabel("")
    losses.margins(0.08)
    plane.set_title("path of descent" + (", + truth" if truth else ""), fontsize=SIZES["title"], pad=8)
    plane.margins(0.24)
    plane.locator_params(nbins=6, integer=True)
    losses.legend(frameon=False, fontsize=SIZES["tick"], loc="best")
