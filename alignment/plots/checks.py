"""A gradient check: the error of a difference over its step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .style import axes_or_new

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..gradcheck import GradientCheck


def gradient_check(ax: Axes | None, check: GradientCheck) -> Axes:
    """Draw the error of a finite difference over its step, with the slopes 1 and 2 beside it.

    A right gradient falls along one of the guides and rises again where rounding takes over; a wrong one levels off.

    Parameters
    ----------
    ax : Axes, optional
        None makes new ones.
    check : GradientCheck
        What `check_gradient` returned.

    Returns
    -------
    Axes

    Examples
    --------
    >>> from alignment import check_gradient, plots
    >>> check = check_gradient(lambda x: (x**3, [3 * x**2]), (0.7,))
    >>> plots.gradient_check(None, check).get_title()
    'gradient check: passed'
    """
    return check.plot(axes_or_new(ax))
