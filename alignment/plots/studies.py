"""The figures of the study: what came of each setting, and what makes the false minima."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..surfaces import Region
from .landscapes import landscape
from .style import COLOURS, CYCLE, FAINT, INK, MARKERS, SIZES, name_axes, new_figure
from .tables import table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TITLES = {"text": "plain gradient descent (the text)", "program": "Adam (the program)"}


def study_figure(study: Any, *, rates: Sequence[float], steps: Sequence[int]) -> Figure:
    """Put the study on one page: the median distances as heat maps, and each channel at the recommended setting.

    Parameters
    ----------
    study : Study
    rates : sequence of float
        The learning rates of its tables.
    steps : sequence of int
        The numbers of steps.

    Returns
    -------
    Figure
        About 13 inches wide.
    """
    channels = len(study.endings)
    figure = new_figure(13.0, 6.8 + 0.34 * channels)
    figure.set_layout_engine("constrained", h_pad=0.12, w_pad=0.1)
    parts: Any = figure.subfigures(2, 1, height_ratios=(5.6, 1.2 + 0.34 * channels))
    upper, lower = parts
    axes = upper.subplots(2, 2)
    tables = {(m, loss): study.table(m, loss) for m in _TITLES for loss in ("ncc", "mse")}
    values = np.concatenate([t.ravel() for t in tables.values()])
    positive = values[np.isfinite(values) & (values > 0)]
    limits = (float(positive.min()), float(positive.max()))
    for (i, j), ax in np.ndenumerate(axes):
        method, loss = list(_TITLES)[i], ("ncc", "mse")[j]
        table(ax, tables[method, loss], steps, rates, limits=limits, bar=False)
        ax.set_title(f"{_TITLES[method]}, {loss.upper()}", fontsize=SIZES["title"], pad=8)
        if i == 0:
            ax.set_xlabel("")
    scale = upper.colorbar(axes[0, 0].images[0], ax=axes, fraction=0.03, pad=0.02)
    scale.set_label("median distance from the answer  (px)", fontsize=SIZES["label"])
    scale.ax.tick_params(labelsize=SIZES["tick"])
    _endings(lower.subplots(), study)
    return figure


def causes_figure(
    landscapes: Sequence[tuple[str, Any]],
    *,
    region: Region,
    trace: NDArray[Any],
    answer: tuple[float, float],
    subject: str = "",
) -> Figure:
    """Show one pair through several losses, with the minima of each and the path that stopped short.

    Parameters
    ----------
    landscapes : sequence of (name, objective)
        Four, the published one first.
    region : (left, right, top, bottom)
        In pixels.
    trace : structured ndarray
        The path, with the fields dx and dy.
    answer : (float, float)
        Marked by a cross.
    subject : str
        What the pair is called.

    Returns
    -------
    Figure
        About 13 inches wide.
    """
    left, right, top, bottom = region
    panel = 5.2
    high = min(max(panel * (bottom - top) / (right - left), 3.0), 9.0)
    rows = -(-len(landscapes) // 2)
    figure = new_figure(2 * panel + 2.6, rows * (high + 0.4) + 0.5)
    figure.set_layout_engine("compressed")
    axes = figure.subplots(rows, 2, squeeze=False).ravel()
    for number, (ax, (name, objective)) in enumerate(zip(axes, landscapes, strict=False)):
        landscape(
            ax, objective, region=region, step=0.1, truth=answer, trace=trace if number == 0 else None, unit="-NCC"
        )
        ax.set_title(name, fontsize=SIZES["title"], pad=8)
        ax.label_outer()
    for ax in axes[len(landscapes) :]:
        ax.remove()
    _legend(figure)
    if subject:
        axes[0].annotate(
            subject, (0.02, 0.02), xycoords="axes fraction", fontsize=SIZES["tick"], color=INK,
            bbox={"boxstyle": "round,pad=0.3", "facecolor": "white", "edgecolor": "none", "alpha": 0.85},
        )  # fmt: skip
    return figure


def _legend(figure: Figure) -> None:
    """Say below the landscapes what their marks are."""
    from matplotlib.lines import Line2D

    look: dict[str, Any] = {"color": INK, "markerfacecolor": "none", "linestyle": "none"}
    marks = [
        Line2D([], [], marker="+", markersize=15, markeredgewidth=1.6, label="the answer", **look),
        Line2D([], [], marker="*", markersize=14, label="lowest minimum", **look),
        Line2D([], [], marker="o", markersize=9, label="other local minimum", **look),
        Line2D([], [], color=INK, marker="o", markersize=4, markerfacecolor="white", label="the descent"),
    ]
    figure.legend(handles=marks, loc="outside lower center", ncols=4, frameon=False, fontsize=SIZES["label"])


def _endings(ax: Axes, study: Any) -> None:
    """Draw for each channel where the recommended setting began and ended, and where our engine ended."""
    ours = {(r.plate, r.channel): r for r in study.select(method="ours", loss="ncc")}
    for place, ending in enumerate(study.endings):
        colour, marker = COLOURS[ending.channel], MARKERS[ending.channel]
        ax.plot([ending.needed, ending.distance], [place, place], color=colour, linewidth=2.0, zorder=2)
        ax.plot(ending.needed, place, marker, color=colour, markerfacecolor="white", markersize=8, zorder=3)
        ax.plot(ending.distance, place, marker, color=colour, markersize=8, zorder=3)
        mine = ours[ending.plate, ending.channel]
        error = mine.distance if mine.distance > 0 else float(np.hypot(*_stderr(study, ending)))
        ax.plot(error, place, "D", color=CYCLE[3], markersize=6, zorder=3)
    ax.axvline(1.0, color=FAINT, linestyle="--", linewidth=1.2, zorder=1)
    names = [f"{e.plate}, {e.channel}" for e in study.endings]
    ax.set_yticks(range(len(names)), names)
    ax.set_xscale("log")
    from matplotlib.lines import Line2D
    from matplotlib.ticker import FuncFormatter

    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    name_axes(ax, "distance from the answer  (px)", "")
    ax.set_ylim(len(names) - 0.4, -0.6)
    look: dict[str, Any] = {"color": INK, "linestyle": "none", "markersize": 8}
    entries = [
        Line2D([], [], marker="o", markerfacecolor="white", label="start, (0, 0)", **look),
        Line2D([], [], marker="o", label="after 30 steps of Adam at 0.001, NCC", **look),
        Line2D([], [], marker="D", label="our engine: distance, or its standard error where it is the answer",
               **{**look, "color": CYCLE[3], "markersize": 6}),
    ]  # fmt: skip
    ax.legend(handles=entries, frameon=False, fontsize=SIZES["tick"], loc="lower center", bbox_to_anchor=(0.45, 1.0),
              ncols=3, columnspacing=1.4, handletextpad=0.3)  # fmt: skip


def _stderr(study: Any, ending: Any) -> tuple[float, float]:
    """Return the standard errors of the answer for a channel."""
    found = next(a for a in study.answers if (a.plate, a.channel) == (ending.plate, ending.channel))
    x, y = found.stderr
    return x, y
