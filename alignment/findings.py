"""What a gradient check has found: every line with its numbers, the verdict, and the reasons in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from .differences import Array
from .errorcurves import draw
from .kinks import Kink
from .linecheck import LineCheck, plain_value

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["GradientCheck"]


@dataclass(frozen=True, eq=False, repr=False)
class GradientCheck:
    """What `check_gradient` found; print it, plot it, and ask it `passed`.

    Attributes
    ----------
    passed : bool
        The verdict; the object itself refuses to be used as a truth value.
    message : str
        The verdict in a sentence.
    mistakes : tuple of str
        Common mistakes that explain the numbers, empty if none does.
    notes : tuple of str
        What limits the check: missing digits, steps outside the domain, vanishing gradients.
    kinks : tuple of Kink
        Kinks at the point, and beside it where they limited the steps.
    rule : str
        The rule of the verdict.
    at : tuple of float
        The point.
    value : float
        The value there.
    noise : float
        Scatter of the value near the point, the largest of all lines.
    seed : int
        Seed of the random directions.
    coordinates, directions : tuple of LineCheck
        Every line with all its numbers.
    """

    passed: bool
    message: str
    mistakes: tuple[str, ...]
    notes: tuple[str, ...]
    kinks: tuple[Kink, ...]
    rule: str
    at: tuple[float, ...]
    value: float
    noise: float
    seed: int
    coordinates: tuple[LineCheck, ...]
    directions: tuple[LineCheck, ...]

    @property
    def analytic(self) -> Array:
        """The gradient that was handed in, shape (n,)."""
        return self._column("analytic")

    @property
    def numeric(self) -> Array:
        """The gradient by finite differences, shape (n,)."""
        return self._column("numeric")

    @property
    def abs_error(self) -> Array:
        """``|analytic - numeric|`` per argument, shape (n,)."""
        return self._column("abs_error")

    @property
    def rel_error(self) -> Array:
        """``|analytic - numeric| / max(|analytic|, |numeric|)`` per argument, shape (n,)."""
        return self._column("rel_error")

    @property
    def floor(self) -> Array:
        """Smallest error that can be resolved per argument, shape (n,)."""
        return self._column("floor")

    @property
    def best_step(self) -> Array:
        """Largest step that the numeric gradient uses per argument, shape (n,)."""
        return self._column("best_step")

    @property
    def order(self) -> Array:
        """Order of the error per argument, shape (n,); infinity means exact, NaN not measurable."""
        return self._column("order")

    @property
    def digits(self) -> Array:
        """Agreeing decimal digits per argument, shape (n,)."""
        return self._column("digits")

    @property
    def steps(self) -> Array:
        """The sweep of steps per argument, largest first, shape (n, m)."""
        return np.array([line.steps for line in self.coordinates])

    @property
    def errors(self) -> Array:
        """``|difference - analytic|`` at each step without extrapolation, shape (n, m)."""
        return np.array([line.errors for line in self.coordinates])

    def _column(self, name: str) -> Array:
        return np.array([getattr(line, name) for line in self.coordinates], dtype=np.float64)

    def __bool__(self) -> NoReturn:
        raise TypeError(
            "a GradientCheck is neither true nor false by itself, so that `assert check_gradient(...)` cannot pass "
            "unread; ask for `.passed`, or call `.raise_if_failed()`"
        )

    def __repr__(self) -> str:
        return f"<GradientCheck at {self.at}: {self.message}>"

    def __str__(self) -> str:
        at = ", ".join(f"{line.name} = {x:.10g}" for line, x in zip(self.coordinates, self.at, strict=True))
        head = f"gradient check at {at}: value {self.value:.10g}, scatter of the value {self.noise:.1e}"
        parts = [head, _table(self.coordinates + self.directions), f"rule: {self.rule}"]
        if self.directions:
            parts.append(f"random directions: seed {self.seed}")
        parts += [f"kink: {kink}" for kink in self.kinks]
        parts += [f"note: {note}" for note in self.notes]
        parts += [f"{line.name}: {line.reason}" for line in self.coordinates + self.directions if line.reason]
        parts += [f"likely mistake: {text}" for text in self.mistakes]
        return "\n".join([*parts, self.message])

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain numbers, strings, lists and dictionaries, ready for JSON.

        Examples
        --------
        >>> from alignment import check_gradient
        >>> check = check_gradient(lambda x: (x * x, 2 * x), at=3.0)
        >>> check.to_dict()["passed"], check.to_dict()["order"]
        (True, ['exact'])
        """
        names = ("analytic", "numeric", "abs_error", "rel_error", "floor", "best_step", "digits")
        plain: dict[str, Any] = {key: plain_value(value) for key, value in vars(self).items()}
        plain |= {name: plain_value(getattr(self, name)) for name in (*names, "steps", "errors")}
        plain["coordinates"] = [line.to_dict() for line in self.coordinates]
        plain["directions"] = [line.to_dict() for line in self.directions]
        plain["order"] = [line["order"] for line in plain["coordinates"]]
        plain["kinks"] = [{key: plain_value(value) for key, value in vars(kink).items()} for kink in self.kinks]
        return plain

    def raise_if_failed(self) -> None:
        """Raise an AssertionError that carries the whole table, unless the check passed."""
        if not self.passed:
            raise AssertionError(str(self))

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw error against step on logarithmic axes, with the slopes 1 and 2 beside it.

        A right gradient falls along one of the guides and rises again when rounding takes over (the V curve);
        a wrong one levels off. A difference without truncation error shows the rising branch alone.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; by default a new figure.

        Returns
        -------
        matplotlib.axes.Axes
            The axes that were drawn on.
        """
        return draw(ax, self.coordinates, f"gradient check: {'passed' if self.passed else 'FAILED'}")


def _table(lines: Sequence[LineCheck]) -> str:
    """Lay the lines out as a table with aligned columns."""
    heads = "along analytic numeric abs_error rel_error floor step order difference verdict"
    rows = [[head.replace("_", " ") for head in heads.split()]]
    for line in lines:
        slopes = [f"{slope:.13g}" for slope in (line.analytic, line.numeric)]
        sizes = [f"{size:.1e}" for size in (line.abs_error, line.rel_error, line.floor, line.best_step)]
        cells = [line.name, *slopes, *sizes, line.order_in_words, line.stencil, line.verdict]
        rows.append(["-" if cell in ("nan", "inf") else cell for cell in cells])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
