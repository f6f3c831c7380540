r"""What displacements that differ from place to place look like: a rotation, a scale, a shear, or none of these.

.. math:: d(x) = t + M (x - c), \qquad
    M = s \begin{pmatrix} 1 & 0 \\ 0 & 1 \end{pmatrix} + \omega \begin{pmatrix} 0 & -1 \\ 1 & 0 \end{pmatrix}
      + \gamma_1 \begin{pmatrix} 1 & 0 \\ 0 & -1 \end{pmatrix} + \gamma_2 \begin{pmatrix} 0 & 1 \\ 1 & 0 \end{pmatrix}

with c the middle of the places. All numbers are small: a moving image turned by :math:`\omega` has its content at
:math:`x + d(x)`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

TRANSLATION, LOCAL, UNKNOWN = "translation", "local motion", "unknown"

# places that a fit needs: six numbers are fitted to two from each
LEAST = 5
# the probabilities of seeing a difference, and a figure, where there is none
_DOUBT = 1e-3
_DOUBT_EACH = 1e-3
# lengths of the residual, in error bars, from which on a place counts less
_HUBER = 2.5
# and, in the usual error bars of all places, from which on it is named as differing
_DIFFERS = 5.0
_ROUNDS = 30
# what is left over by a fit is told where it is as large, in pixels: the engine itself promises no more
_SEEN = 0.02


@dataclass(frozen=True)
class Distortion:
    r"""The linear part of a field of displacements, and whether there is one.

    Attributes
    ----------
    kind : str
        What it looks like: "translation" (nothing but one displacement), "rotation", "scale", "shear", or several of
        these joined by " and ", with "local motion" as the last where they leave something over; "unknown" where too
        few places tell.
    rotation, rotation_stderr : float
        In degrees; positive turns x towards y, which is clockwise in a picture.
    scale, scale_stderr : float
        The magnification of the moving image, 1 for none.
    shear, shear_stderr : (float, float)
        :math:`\gamma_1` and :math:`\gamma_2`, in pixels per pixel.
    offset : (float, float)
        t, in pixels: the displacement in the middle of the places.
    chi2_translation, chi2 : float
        The sums of the squared residuals in units of their error bars, about one displacement and about the fit.
    freedom_translation, freedom : int
        The numbers of degrees of freedom that these would equal on average if the error bars were all there is.
    leftover : float
        The rms length, in pixels, of what the fit leaves beyond the error bars.
    differs : ndarray of bool, one for each place
        Where the displacement does not follow the fit of the others.
    message : str
        All this in a sentence.
    """

    kind: str
    rotation: float
    rotation_stderr: float
    scale: float
    scale_stderr: float
    shear: tuple[float, float]
    shear_stderr: tuple[float, float]
    offset: tuple[float, float]
    chi2_translation: float
    chi2: float
    freedom_translation: int
    freedom: int
    leftover: float
    differs: NDArray[np.bool_] = field(repr=False)
    message: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers, strings and lists; what is unknown is None."""
        plain: dict[str, Any] = {}
        for name, value in vars(self).items():
            if isinstance(value, np.ndarray):
                plain[name] = value.tolist()
            elif isinstance(value, tuple):
                plain[name] = [v if math.isfinite(v) else None for v in value]
            else:
                plain[name] = None if isinstance(value, float) and not math.isfinite(value) else value
        return plain


def distortion(places: Array, displacements: Array, covariances: Array, levers: Array | None = None) -> Distortion:
    r"""Fit a linear field to displacements with error bars, and say what it looks like.

    Parameters
    ----------
    places : ndarray of shape (n, 2)
        (x, y) in pixels.
    displacements : ndarray of shape (n, 2)
        (dx, dy) there, in pixels, less whatever is known of all.
    covariances : ndarray of shape (n, 2, 2)
        Of the displacements, positive definite.
    levers : ndarray of shape (n, 2, 2, 2), optional
        For displacements measured over areas: the matrices X and Y of each, such that a field that grows with x as
        :math:`u\, (x - x_0)` with a vector u, :math:`x_0` the place, is measured as X u, and likewise with y. Zeros, as
        for points, unless given.

    Returns
    -------
    Distortion

    Notes
    -----
    The fit minimises :math:`\sum_i w_i\, r_i' C_i^{-1} r_i` over the residuals r. The weights are Huber's,
    :math:`w = \min(1, 2.5 / |r|)` with :math:`|r|` in error bars, so that a few places where something moved do not
    bend it; a residual scatter beyond the error bars widens these, as does that of the linear fit the errors of its
    figures.

    There is more than one displacement if :math:`\chi^2` about the best one is larger than chance makes it in 999 of
    1000 cases. A rotation, scale or shear is named if it is further from nothing than chance brings Student's t in 999
    of 1000 cases, and its largest effect in the picture is at least 0.02 px; local motion if the fit leaves as much
    over, and its own :math:`\chi^2` is as improbable or nothing else can be named.

    References
    ----------
    P. J. Huber, "Robust estimation of a location parameter", Annals of Mathematical Statistics 35, 1964.
    """
    count = len(places)
    if count < LEAST:
        return _unknown(count, f"only {count} {'place tells' if count == 1 else 'places tell'} a displacement; "
                        f"give more tiles, or images with more structure, for at least {LEAST}")  # fmt: skip
    centred = places - places.mean(axis=0)
    reach = float(np.abs(centred).max())
    if np.linalg.matrix_rank(centred / max(reach, 1e-300), tol=1e-3) < 2:
        return _unknown(count, "the places lie on one line, where rotation, scale and shear cannot be told apart; "
                        "give more rows and columns of tiles")  # fmt: skip
    inverse = np.linalg.inv(covariances).astype(np.float64, copy=False)
    design = _design(centred, np.zeros((count, 2, 2, 2)) if levers is None else levers)
    alone = _fit(design[:, :, :2], displacements, inverse)
    fit = _fit(design, displacements, inverse)
    return _described(places, covariances, alone, fit, reach)


@dataclass(frozen=True)
class _Fit:
    parameters: Array
    covariance: Array
    residuals: Array
    lengths: Array
    chi2: float
    freedom: int
    wider: float


def _design(centred: Array, levers: Array) -> Array:
    """Return what each parameter (two displacements, rotation, scale, two shears) adds: shape (n, 2, 6)."""
    one = np.eye(2)
    x, y = (centred[:, axis, None, None] * one + levers[:, axis] for axis in (0, 1))
    (x_across, x_down), (y_across, y_down) = ((lever[:, :, 0], lever[:, :, 1]) for lever in (x, y))
    columns = [
        *(np.broadcast_to(one[axis], (len(centred), 2)) for axis in (0, 1)),
        x_down - y_across, x_across + y_down, x_across - y_down, x_down + y_across,
    ]  # fmt: skip
    return np.stack(columns, axis=2)


def _fit(design: Array, displacements: Array, inverse: Array) -> _Fit:
    """Fit by least squares with Huber's weights."""
    weights = np.ones(len(design))
    freedom = max(displacements.size - design.shape[2], 1)
    for _ in range(_ROUNDS):
        weighted = np.einsum("n,nij,njp->nip", weights, inverse, design)
        information = np.einsum("nip,niq->pq", design, weighted)
        parameters = np.linalg.solve(information, np.einsum("nip,ni->p", weighted, displacements))
        residuals = displacements - design @ parameters
        lengths = np.sqrt(np.einsum("ni,nij,nj->n", residuals, inverse, residuals))
        # the median length of two standard normal numbers is sqrt(2 ln 2)
        scale = max(1.0, float(np.median(lengths)) / math.sqrt(2 * math.log(2)))
        before, weights = weights, np.minimum(1.0, _HUBER * scale / np.maximum(lengths, 1e-12))
        if np.abs(weights - before).max() < 1e-6:
            break
    # those that count less also scatter less than they do
    wider = math.sqrt(max(1.0, float(np.sum(weights * lengths**2)) / freedom))
    return _Fit(
        parameters, np.linalg.inv(information) * wider**2, residuals, lengths, float(np.sum(lengths**2)), freedom, wider
    )


def _described(places: Array, covariances: Array, alone: _Fit, fit: _Fit, reach: float) -> Distortion:
    """Say what two fits mean."""
    errors = np.sqrt(np.diag(fit.covariance))
    tx, ty, turn, growth, first, second = (float(v) for v in fit.parameters)
    # the bars of a place in which something moved are long themselves, so that those of the others count as well
    usual = math.sqrt(float(np.median(np.trace(covariances, axis1=1, axis2=2))) / 2) * fit.wider
    distances = np.linalg.norm(fit.residuals, axis=1)
    differs = (fit.lengths > _HUBER * fit.wider) & (distances > _DIFFERS * usual)
    # of the places that follow the fit and of those that do not: what moved counts
    squares = np.sum(fit.residuals**2, axis=1) - np.trace(covariances, axis1=1, axis2=2) * fit.freedom / (
        2 * len(places)
    )
    leftover = math.sqrt(max(0.0, float(squares.mean())))
    several = alone.chi2 > chi2_quantile(1 - _DOUBT, alone.freedom)
    limit = t_quantile(1 - _DOUBT_EACH / 2, fit.freedom)
    seen = [abs(v) > limit * e and abs(v) * reach >= _SEEN for v, e in zip(fit.parameters[2:], errors[2:], strict=True)]
    rest = leftover >= _SEEN and (fit.chi2 > chi2_quantile(1 - _DOUBT, fit.freedom) or not any(seen))
    doubts = {"rotation": seen[0], "scale": seen[1], "shear": seen[2] or seen[3], LOCAL: rest}
    names = [name for name, applies in doubts.items() if applies]
    kind = " and ".join(names) if several and names else TRANSLATION
    found = Distortion(
        kind=kind,
        rotation=math.degrees(turn),
        rotation_stderr=math.degrees(errors[2]),
        scale=1 + growth,
        scale_stderr=float(errors[3]),
        shear=(first, second),
        shear_stderr=(float(errors[4]), float(errors[5])),
        offset=(tx, ty),
        chi2_translation=alone.chi2,
        chi2=fit.chi2,
        freedom_translation=alone.freedom,
        freedom=fit.freedom,
        leftover=leftover,
        differs=differs,
        message="",
    )
    object.__setattr__(found, "message", _sentence(found, reach))
    return found


def _sentence(d: Distortion, reach: float) -> str:
    """Say a distortion in words."""
    if d.kind == TRANSLATION:
        improbable = d.chi2_translation > chi2_quantile(1 - _DOUBT, d.freedom_translation)
        return f"one displacement fits everywhere, {f'to {_SEEN} px' if improbable else 'within the error bars'}"
    figures = {
        "rotation": f"a rotation of {d.rotation:+.4f} +- {d.rotation_stderr:.4f} degrees",
        "scale": f"a scale of {d.scale:.6f} +- {d.scale_stderr:.6f}",
        "shear": f"a shear of {d.shear[0]:+.6f} and {d.shear[1]:+.6f} px per px",
    }
    parts = [text for name, text in figures.items() if name in d.kind.split(" and ")]
    local = ""
    if d.kind.endswith(LOCAL):
        where = int(d.differs.sum())
        local = f"local motion of {d.leftover:.2f} px rms" + (f", most of it in {where} of {len(d.differs)} places"
                                                             if 0 < where <= len(d.differs) // 3 else "")  # fmt: skip
        if not parts:
            return f"looks like {local}; no rotation, scale or shear explains it, and one displacement is only its mean"
        parts.append(local)
    *most, last = parts
    told = f"{', '.join(most)} and {last}" if most else last
    shift = max(abs(math.radians(d.rotation)), abs(d.scale - 1), *(abs(s) for s in d.shear)) * reach
    return f"looks like {told}; one displacement is up to {shift:.2f} px off towards the borders"


def _unknown(count: int, message: str) -> Distortion:
    """Return what there is to say where nothing can be fitted."""
    nan = math.nan
    return Distortion(
        UNKNOWN, nan, nan, nan, nan, (nan, nan), (nan, nan), (nan, nan), nan, nan, 0, 0, nan,
        np.zeros(count, np.bool_), message,
    )  # fmt: skip


def normal_quantile(probability: float) -> float:
    """Return the standard normal deviate that this share lies below.

    Examples
    --------
    >>> round(normal_quantile(0.975), 4)
    1.96
    """
    return NormalDist().inv_cdf(probability)


def chi2_quantile(probability: float, freedom: int) -> float:
    """Return the value that this share of chi squared lies below, after Wilson and Hilferty (to 1 % from 3 degrees on).

    Examples
    --------
    >>> round(chi2_quantile(0.95, 30), 1)
    43.8
    """
    part = 2 / (9 * freedom)
    return float(freedom * (1 - part + normal_quantile(probability) * math.sqrt(part)) ** 3)


def t_quantile(probability: float, freedom: int) -> float:
    """Return the value that this share of Student's t lies below, by the first terms of its expansion in 1 / freedom.

    Examples
    --------
    >>> round(t_quantile(0.975, 10), 2)
    2.23
    """
    z = normal_quantile(probability)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    fourth = (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160
    return z + first / freedom + second / freedom**2 + third / freedom**3 + fourth / freedom**4
