"""What one pixel does: the interpolation kernel and its slope, and the exact cell beside samples of the loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .._checks import InputError, finite_number, one_of, whole_number
from ..gaussian import REACH, Gaussian
from .style import CYCLE, FAINT, INK, SIZES, axes_or_new, name_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def kernel(ax: Axes | None, shape: Gaussian | str = "hat") -> Axes:
    r"""Draw the interpolation kernel k(t) and the slope s(t) that multiplies a grey level in the derivative.

    Parameters
    ----------
    ax : Axes, optional
        None makes new ones.
    shape : "hat" or Gaussian
        The bilinear kernel, with the tie of its published indicator marked, or a smooth one, which has none.

    Returns
    -------
    Axes

    Notes
    -----
    t = m - x_s is where a pixel lies, seen from the source point. For the hat

    .. math:: k(t) = \max(0, 1 - |t|), \qquad s(t) = +1 \text{ if } 0 \le t < 1,\; -1 \text{ if } -1 < t \le 0

    and zero elsewhere. At t = 0 both branches claim the pixel: the formula has two values there, and read in the order
    in which it is written it takes the first, for a pixel that has no slope at all.
    """
    ax = axes_or_new(ax, 6.4, 4.2)
    if isinstance(shape, Gaussian):
        _smooth_kernel(ax, shape)
    else:
        one_of("shape", shape, ("hat",))
        _hat(ax)
    ax.axhline(0.0, color=FAINT, linewidth=0.9, zorder=1)
    ax.legend(frameon=False, fontsize=SIZES["tick"], loc="upper left")
    return name_axes(ax, "t = m - $x_s$  (px)", "weight,  weight / px")


def cell(
    ax: Axes | None,
    objective: Any,
    *,
    along: str = "dx",
    between: tuple[int, int] = (-1, 2),
    other: float = 0.5,
    samples: Any = None,
    count: int = 6,
) -> Axes:
    """Draw the polynomials of neighbouring cells along one axis, and samples of the loss beside them.

    Parameters
    ----------
    ax : Axes, optional
        None makes new ones.
    objective : MSE or NCC
        Each of its cells that the line crosses is one curve, made from the moments of one pass.
    along : {"dx", "dy"}
        The coordinate that varies.
    between : (int, int)
        Where it begins and ends, in pixels.
    other : float
        The coordinate that does not, in pixels.
    samples : object, optional
        Has ``value_and_gradient(dx, dy)``: the same loss evaluated otherwise, such as with ``evaluation="direct"``;
        its values are drawn as dots.
    count : int
        Number of samples in each cell.

    Returns
    -------
    Axes

    Raises
    ------
    InputError
        If an argument is not as described.
    """
    one_of("along", along, ("dx", "dy"))
    first, last = (int(finite_number(f"between[{i}]", value)) for i, value in enumerate(between))
    if not first < last:
        raise InputError(f"between is {between}; give two whole numbers, the smaller one first")
    other, count = finite_number("other", other), whole_number("count", count, at_least=1)
    ax = axes_or_new(ax)
    fractions = np.linspace(0.0, 1.0, 41)
    whole = int(np.floor(other))
    rest = np.full_like(fractions, other - whole)
    for number, k in enumerate(range(first, last)):
        at = (k, whole) if along == "dx" else (whole, k)
        inside = (fractions, rest) if along == "dx" else (rest, fractions)
        values = objective.cell(*at).expand(*inside).value
        ax.plot(k + fractions, values, color=CYCLE[number % len(CYCLE)], linewidth=2.0, label=f"cell [{k}, {k + 1}]")
    if samples is not None:
        places = np.concatenate([k + (np.arange(count) + 0.5) / count for k in range(first, last)])
        points = [(u, other) if along == "dx" else (other, u) for u in places.tolist()]
        values = [samples.value_and_gradient(*point)[0] for point in points]
        ax.plot(places, values, "o", color=INK, markerfacecolor="white", markersize=5.5, label="samples", zorder=3)
    for k in range(first, last + 1):
        ax.axvline(k, color=FAINT, linewidth=0.9, linestyle=":", zorder=1)
    ax.legend(frameon=False, fontsize=SIZES["tick"])
    held = "dy" if along == "dx" else "dx"
    return name_axes(ax, f"{along}  (px),  at {held} = {other:g} px", "loss")


def _hat(ax: Axes) -> None:
    """Draw the hat, its slope, and the tie."""
    hat, slope = CYCLE[0], CYCLE[1]
    ax.plot([-2, -1, 0, 1, 2], [0, 0, 1, 0, 0], color=hat, linewidth=2.2, label="k(t), the weight")
    for number, (left, right, value) in enumerate(((-2, -1, 0), (-1, 0, -1), (0, 1, 1), (1, 2, 0))):
        name = "s(t), the slope" if number == 0 else None
        ax.plot([left, right], [value, value], color=slope, linewidth=2.2, linestyle="--", label=name)
    ax.plot([-1, 1], [0, 0], "s", color=slope, markersize=6, zorder=3)
    ax.plot([-1, 1], [-1, 1], "s", color=slope, markerfacecolor="white", markersize=6, zorder=3)
    ax.plot([0, 0], [-1, 1], "s", color=slope, markersize=8, markeredgecolor=INK, zorder=4)
    ax.annotate(
        "the tie: at t = 0\nboth are claimed",
        (0, -1),
        xytext=(0.55, -0.62),
        fontsize=SIZES["tick"],
        color=INK,
        va="center",
        arrowprops={"arrowstyle": "->", "color": INK, "shrinkB": 6},
    )
    ax.set(xlim=(-2, 2), ylim=(-1.25, 1.35))


def _smooth_kernel(ax: Axes, shape: Gaussian) -> None:
    """Draw a Gaussian and its slope, from the taps at many fractions."""
    fractions = np.linspace(-0.5, 0.5, 41)
    offsets = np.arange(-REACH, REACH + 1)
    taps = [shape.taps(float(f)) for f in fractions]
    t = (offsets[np.newaxis] - fractions[:, np.newaxis]).ravel()
    order = np.argsort(t, kind="stable")
    for row, (name, look) in enumerate((("k(t), the weight", "-"), ("s(t), the slope", "--"))):
        values = np.array([pair[row] for pair in taps]).ravel()
        ax.plot(t[order], values[order], look, color=CYCLE[row], linewidth=2.2, label=name)
    ax.set(xlim=(-REACH, REACH))
    ax.margins(y=0.25)
