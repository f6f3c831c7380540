r"""The published formulas, term by term: slow, and sacred.

Everything here is written as it stands on paper, with Python's own floats, sums and loops, so that a reader can
hold the page beside it. Nothing of the package is used and nothing is shared with the kernels, which are judged by
this file.

Index names: the target pixel is (x, y), the source point it reads is :math:`(x_s, y_s) = (x + dx, y + dy)`, and (m, n)
runs over *all* columns and rows of the moving image A. B is the reference. Grey levels outside the frame are zero,
which the double sum says by itself. A window is (top, bottom, left, right), the last two ends exclusive.

The tie
-------
The derivative of the kernel :math:`k(t) = \max(0, 1 - |t|)` jumps at t = 0 and at |t| = 1. As published, the indicator

.. math:: s(m, x_s) = 0 \text{ if } |m - x_s| \ge 1;\quad +1 \text{ if } m \ge x_s;\quad -1 \text{ if } m \le x_s

claims the tie m = xs for both signs. Let xs be the integer m0. The pixels m0 - 1 and m0 + 1 are at distance exactly 1,
so their s is 0; only m0 is left:

* read *literally*, first branch first, s(m0) = +1 and the sum is :math:`A[\cdot, m_0]`: a grey level, not a slope.
  It does not vanish on a constant image and does not change sign when the image is mirrored;
* from the *right*, xs -> m0 + 0, the pixels around xs are m0 (s = -1) and m0 + 1 (s = +1): the sum is
  :math:`A[\cdot, m_0 + 1] - A[\cdot, m_0]`, the slope of the cell on the right;
* from the *left*, xs -> m0 - 0, they are m0 - 1 (s = -1) and m0 (s = +1): :math:`A[\cdot, m_0] - A[\cdot, m_0 - 1]`;
* the *central* reading is the mean of the two, :math:`(A[\cdot, m_0 + 1] - A[\cdot, m_0 - 1]) / 2`, which is what a
  central difference across the kink converges to.

Descent starts at (0, 0), where every pixel is at the tie. Away from integers all four readings agree.

The smoother kernel
-------------------
With `sigma` given, the same double sums run with the weights of a Gaussian, divided by their sum,

.. math:: w(m, x_s) = \frac{k(x_s - m)}{\sum_j k(x_s - j)}, \qquad k(t) = e^{-t^2 / 2\sigma^2}

over the nine pixels around the nearest to :math:`x_s`, and a loss samples *both* images by it, the reference at its own
pixels. It has a derivative everywhere, and no tie.

References
----------
M. Jaderberg, K. Simonyan, A. Zisserman, K. Kavukcuoglu, "Spatial transformer networks", NIPS 2015, equations 5 to 7.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import exp, floor, fsum, sqrt

Grid = Sequence[Sequence[float]]
Window = tuple[int, int, int, int]

READINGS = ("literal", "right", "left", "central")


def kernel(t: float) -> float:
    """Return the hat, k(t) = max(0, 1 - abs(t)).

    Examples
    --------
    >>> kernel(0.0), kernel(-0.25), kernel(1.5)
    (1.0, 0.75, 0.0)
    """
    return max(0.0, 1.0 - abs(t))


def indicator(m: int, xs: float, reading: str = "right") -> float:
    """Return s(m, xs), the derivative of k(xs - m) with respect to xs, in one of the readings at a tie.

    Parameters
    ----------
    m : int
        A pixel.
    xs : float
        The source coordinate.
    reading : {"right", "left", "central", "literal"}
        What to return where the derivative jumps; "literal" is the published formula, its first branch first.

    Examples
    --------
    Off the integers the readings agree; at one they do not:

    >>> [indicator(3, 2.5, reading) for reading in READINGS]
    [1.0, 1.0, 1.0, 1.0]
    >>> [[indicator(m, 2.0, reading) for m in (1, 2, 3)] for reading in READINGS]
    [[0.0, 1.0, 0.0], [0.0, -1.0, 1.0], [-1.0, 1.0, 0.0], [-0.5, 0.0, 0.5]]
    """
    if reading == "literal":
        if abs(m - xs) >= 1:
            return 0.0
        return 1.0 if m >= xs else -1.0
    if reading == "right":
        return 1.0 if m - 1 <= xs < m else -1.0 if m <= xs < m + 1 else 0.0
    if reading == "left":
        return 1.0 if m - 1 < xs <= m else -1.0 if m < xs <= m + 1 else 0.0
    if reading == "central":
        return (indicator(m, xs, "right") + indicator(m, xs, "left")) / 2
    raise ValueError(f"reading is {reading!r}; give one of {', '.join(map(repr, READINGS))}")


def gaussian_weight(m: int, xs: float, sigma: float) -> float:
    r"""Return w(m, xs), the weight of a pixel under the Gaussian around the source coordinate.

    Notes
    -----
    .. math:: w(m, x_s) = \frac{k(x_s - m)}{S}, \qquad k(t) = e^{-t^2 / 2\sigma^2},\; S = \sum_j k(x_s - j)

    Examples
    --------
    >>> [round(gaussian_weight(m, 0.5, 0.8), 4) for m in (-1, 0, 1, 2)]
    [0.086, 0.4102, 0.4102, 0.086]
    """
    around = _nine(xs)
    return _bell(xs - m, sigma) / fsum(_bell(xs - j, sigma) for j in around) if m in around else 0.0


def gaussian_slope(m: int, xs: float, sigma: float) -> float:
    r"""Return the derivative of w(m, xs) with respect to xs.

    Notes
    -----
    .. math:: \frac{\partial w}{\partial x_s} = \frac{k'(x_s - m) - w(m, x_s)\, S'}{S}, \qquad
        k'(t) = -\frac{t}{\sigma^2} k(t),\; S' = \sum_j k'(x_s - j)

    Examples
    --------
    >>> [round(gaussian_slope(m, 0.0, 0.8), 4) for m in (-1, 1)]
    [-0.3567, 0.3567]
    """
    around = _nine(xs)
    if m not in around:
        return 0.0
    S = fsum(_bell(xs - j, sigma) for j in around)
    dS = fsum(-(xs - j) / sigma**2 * _bell(xs - j, sigma) for j in around)
    return (-(xs - m) / sigma**2 * _bell(xs - m, sigma) - gaussian_weight(m, xs, sigma) * dS) / S


def sample(A: Grid, xs: float, ys: float, *, sigma: float | None = None) -> float:
    r"""Return the interpolated grey level at the source point.

    Notes
    -----
    .. math:: A^*(x, y) = \sum_n \sum_m A[n, m]\, k(y_s - n)\, k(x_s - m)

    with the weights w(n, ys) w(m, xs) of a Gaussian instead, if `sigma` is given.

    Examples
    --------
    >>> sample([[0.0, 10.0], [20.0, 30.0]], 0.5, 0.25)
    10.0
    """
    k = _weight(sigma)
    return fsum(A[n][m] * k(n, ys) * k(m, xs) for n in range(len(A)) for m in range(len(A[0])))


def sample_slope_x(A: Grid, xs: float, ys: float, reading: str = "right", *, sigma: float | None = None) -> float:
    r"""Return the derivative of the interpolated grey level along dx.

    Notes
    -----
    .. math:: \partial A^*/\partial dx = \sum_n \sum_m A[n, m]\, k(y_s - n)\, s(m, x_s)

    Examples
    --------
    >>> [sample_slope_x([[1.0, 4.0, 9.0]], 1.0, 0.0, reading) for reading in READINGS]
    [4.0, 5.0, 3.0, 4.0]
    """
    k, s = _weight(sigma), _slope(reading, sigma)
    return fsum(A[n][m] * k(n, ys) * s(m, xs) for n in range(len(A)) for m in range(len(A[0])))


def sample_slope_y(A: Grid, xs: float, ys: float, reading: str = "right", *, sigma: float | None = None) -> float:
    r"""Return the derivative of the interpolated grey level along dy.

    Notes
    -----
    .. math:: \partial A^*/\partial dy = \sum_n \sum_m A[n, m]\, s(n, y_s)\, k(x_s - m)

    Examples
    --------
    >>> sample_slope_y([[1.0], [4.0], [9.0]], 0.0, 1.5)
    5.0
    """
    k, s = _weight(sigma), _slope(reading, sigma)
    return fsum(A[n][m] * s(n, ys) * k(m, xs) for n in range(len(A)) for m in range(len(A[0])))


def mse(A: Grid, B: Grid, dx: float, dy: float, window: Window | None = None, *, sigma: float | None = None) -> float:
    r"""Return the mean squared error between the shifted image and the reference.

    Notes
    -----
    .. math:: L = \frac{1}{N} \sum_{x, y} \left(A^*(x, y) - B(x, y)\right)^2

    Examples
    --------
    >>> mse([[0.0, 2.0, 4.0]], [[1.0, 3.0, 2.0]], 0.5, 0.0)
    0.0
    """
    pixels = _pixels(B, window)
    e = (sample(A, x + dx, y + dy, sigma=sigma) - _seen(B, x, y, sigma) for x, y in pixels)
    return fsum(error**2 for error in e) / len(pixels)


def mse_gradient(
    A: Grid,
    B: Grid,
    dx: float,
    dy: float,
    window: Window | None = None,
    reading: str = "right",
    *,
    sigma: float | None = None,
) -> tuple[float, float]:
    r"""Return the gradient of the MSE with respect to (dx, dy).

    Notes
    -----
    .. math:: \partial L/\partial d = \frac{2}{N} \sum_{x, y} \left(A^* - B\right) \partial A^*/\partial d

    Examples
    --------
    >>> mse_gradient([[0.0, 2.0, 4.0]], [[0.0, 2.0, 4.0]], 0.5, 0.0, window=(0, 1, 0, 2))
    (4.0, -4.0)

    There is one row, and zeros below it: at dy = 0 the slope on the right leads down to them.
    """
    pixels = _pixels(B, window)
    along = []
    for slope in (sample_slope_x, sample_slope_y):
        terms = (
            (sample(A, x + dx, y + dy, sigma=sigma) - _seen(B, x, y, sigma))
            * slope(A, x + dx, y + dy, reading, sigma=sigma)
            for x, y in pixels
        )
        along.append(2 * fsum(terms) / len(pixels))
    return along[0], along[1]


def ncc(A: Grid, B: Grid, dx: float, dy: float, window: Window | None = None, *, sigma: float | None = None) -> float:
    r"""Return the normalised correlation coefficient, in [-1, 1]; the loss is its negative.

    Notes
    -----
    .. math:: \rho = \frac{\sum \tilde A \tilde B}{|\tilde A|\,|\tilde B|}, \qquad
        \tilde A = A^* - \operatorname{mean}(A^*),\; \tilde B = B - \operatorname{mean}(B)

    Examples
    --------
    >>> round(ncc([[1.0, 2.0, 4.0]], [[5.0, 7.0, 11.0]], 0.0, 0.0), 12)
    1.0
    """
    At, Bt = _centred(A, B, dx, dy, window, sigma)
    return fsum(a * b for a, b in zip(At, Bt, strict=True)) / (_norm(At) * _norm(Bt))


def ncc_gradient(
    A: Grid,
    B: Grid,
    dx: float,
    dy: float,
    window: Window | None = None,
    reading: str = "right",
    *,
    sigma: float | None = None,
) -> tuple[float, float]:
    r"""Return the gradient of the normalised correlation coefficient with respect to (dx, dy).

    Notes
    -----
    With :math:`\hat A = \tilde A / |\tilde A|` and :math:`\hat B = \tilde B / |\tilde B|`, both of length 1,

    .. math:: \partial\rho/\partial d = \frac{1}{|\tilde A|} \left[\sum \hat B\, \partial A^*/\partial d
        - \rho \sum \hat A\, \partial A^*/\partial d\right]

    The second sum takes away what only stretches :math:`\tilde A`. Centring the slopes would change nothing, because
    :math:`\hat A` and :math:`\hat B` add up to zero.

    Examples
    --------
    >>> gradient = ncc_gradient([[1.0, 2.0, 4.0]], [[5.0, 7.0, 12.0]], 0.0, 0.0, reading="left")
    >>> [round(derivative, 6) for derivative in gradient]
    [0.006485, 0.0]
    """
    At, Bt = _centred(A, B, dx, dy, window, sigma)
    rho = fsum(a * b for a, b in zip(At, Bt, strict=True)) / (_norm(At) * _norm(Bt))
    Ah = [a / _norm(At) for a in At]
    Bh = [b / _norm(Bt) for b in Bt]
    along = []
    for slope in (sample_slope_x, sample_slope_y):
        dA = [slope(A, x + dx, y + dy, reading, sigma=sigma) for x, y in _pixels(B, window)]
        towards_B = fsum(b * d for b, d in zip(Bh, dA, strict=True))
        towards_A = fsum(a * d for a, d in zip(Ah, dA, strict=True))
        along.append((towards_B - rho * towards_A) / _norm(At))
    return along[0], along[1]


def _pixels(B: Grid, window: Window | None) -> list[tuple[int, int]]:
    """List the target pixels (x, y) of the window, or of the whole reference."""
    top, bottom, left, right = window or (0, len(B), 0, len(B[0]))
    return [(x, y) for y in range(top, bottom) for x in range(left, right)]


def _nine(xs: float) -> range:
    """Return the nine pixels around the nearest to a source coordinate; of two as near, the right one."""
    nearest = floor(xs + 0.5)
    return range(nearest - 4, nearest + 5)


def _bell(t: float, sigma: float) -> float:
    """Return exp(-t^2 / (2 sigma^2))."""
    return exp(-(t**2) / (2 * sigma**2))


def _weight(sigma: float | None) -> Callable[[int, float], float]:
    """Return the weight of pixel m at xs: of the hat, or of the Gaussian."""
    if sigma is None:
        return lambda m, xs: kernel(xs - m)
    return lambda m, xs: gaussian_weight(m, xs, sigma)


def _slope(reading: str, sigma: float | None) -> Callable[[int, float], float]:
    """Return the derivative of the weight of pixel m at xs."""
    if sigma is None:
        return lambda m, xs: indicator(m, xs, reading)
    return lambda m, xs: gaussian_slope(m, xs, sigma)


def _seen(B: Grid, x: int, y: int, sigma: float | None) -> float:
    """Return the reference at one of its pixels, smoothed where the moving image is."""
    return B[y][x] if sigma is None else sample(B, x, y, sigma=sigma)


def _centred(
    A: Grid, B: Grid, dx: float, dy: float, window: Window | None, sigma: float | None
) -> tuple[list[float], list[float]]:
    """Return the grey levels of the shifted image and of the reference, less their means."""
    pixels = _pixels(B, window)
    shifted = [sample(A, x + dx, y + dy, sigma=sigma) for x, y in pixels]
    reference = [_seen(B, x, y, sigma) for x, y in pixels]
    mean_A = fsum(shifted) / len(pixels)
    mean_B = fsum(reference) / len(pixels)
    return [a - mean_A for a in shifted], [b - mean_B for b in reference]


def _norm(values: list[float]) -> float:
    """Return the Euclidean length."""
    return sqrt(fsum(value * value for value in values))
