"""What a registration is asked for, checked once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import _checks
from ._checks import InputError
from .gaussian import Gaussian
from .losses import MSE, NCC, Objective

LOSSES: dict[str, type[Objective]] = {"ncc": NCC, "mse": MSE}
METHODS = ("auto", "gradient-descent", "adam", "newton", "exhaustive")
SEARCHES = ("auto", "exhaustive")
FEATURES = ("auto", "intensity", "fine", "edges")


@dataclass(frozen=True)
class Options:
    """The arguments of `register` beside the images, see there; `max_shift` along x and y, in pixels."""

    max_shift: tuple[float, float]
    loss: str = "ncc"
    method: str = "auto"
    features: str = "auto"
    init: tuple[float, float] = (0.0, 0.0)
    smooth: float = 1.0
    kernel: Gaussian | str | None = None
    noise: float | tuple[float, float] | str | None = None
    border: float | None = None
    min_overlap: float = 0.25
    threads: int = 1
    callback: Callable[[int, int, float, float, float], object] | None = None

    @classmethod
    def checked(
        cls,
        shape: tuple[int, ...],
        *,
        loss: str,
        method: str,
        features: str,
        max_shift: float | tuple[float, float] | None,
        init: tuple[float, float],
        smooth: float,
        kernel: Gaussian | str | None,
        noise: float | tuple[float, float] | str | None,
        border: float | None,
        min_overlap: float,
        threads: int,
        callback: Callable[[int, int, float, float, float], object] | None,
    ) -> Options:
        """Return the options if they are as `register` describes them, else raise an `InputError`."""
        if noise is not None and kernel != "hat":
            raise InputError("noise is for kernel='hat'; leave it out, other kernels tell the noise from the residual")
        hat = kernel is None or isinstance(kernel, Gaussian)
        return cls(
            max_shift=_reach(max_shift, shape),
            loss=_checks.one_of("loss", loss, tuple(LOSSES)),
            method=_checks.one_of("method", method, METHODS),
            features=_checks.one_of("features", features, FEATURES),
            init=_checks.pair_of_numbers("init", init),
            smooth=_checks.number_between("smooth", smooth, 0, 10),
            kernel=kernel if hat else _checks.one_of("kernel", kernel, ("hat",)),
            noise=noise,
            border=None if border is None else _checks.number_between("border", border, 0, 0.4),
            min_overlap=_checks.number_between("min_overlap", min_overlap, 0.01, 1),
            threads=_checks.whole_number("threads", threads, at_least=1),
            callback=_checks.callback("callback", callback),
        )

    @property
    def searches(self) -> bool:
        """Whether a search finds where to begin, and not the caller."""
        return self.method in SEARCHES

    @property
    def named(self) -> dict[str, Any]:
        """Those that a result names."""
        return {"loss": self.loss, "method": self.method, "features": self.features}


def _reach(max_shift: float | tuple[float, float] | None, shape: tuple[int, ...]) -> tuple[float, float]:
    """Return the largest displacement along x and y."""
    if max_shift is None:
        return shape[1] / 2, shape[0] / 2
    both = (
        (max_shift, max_shift)
        if isinstance(max_shift, int | float)
        else _checks.pair_of_numbers("max_shift", max_shift)
    )
    return _checks.positive_number("max_shift", both[0]), _checks.positive_number("max_shift", both[1])
