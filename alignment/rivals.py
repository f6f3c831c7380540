r"""What the parts of a frame say of a displacement: which of them agree with it, and which would rather have another.

A correlation over the whole frame is the sum of what its parts say, each with the weight of its contrast. Where a third
of the scene moves by itself, or half of it is repeated, the sum has a peak for each, and the highest may be that of the
part with the most contrast. So the frame is cut into tiles, which vote: each tile has one voice, whatever its contrast.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .bilinear import shift
from .lengths import fast_length
from .pyramid import Masked, halve, smooth

Array = NDArray[np.float64]

# pixels along a tile: enough for a correlation to tell chance from agreement, few enough to lie within one thing
TILE = 16
# standard deviations beyond which a tile's agreement, or its preference, is not chance
_CHANCE = 3.0
# and how often chance makes so many tiles prefer a rival, for the best of all the rivals that are looked at
_FALSE_ALARM = 0.01
# how many peaks of each of the surfaces are looked at
_MOST = 5
# among how many of the highest points the peaks are looked for
_FEW = 2000
# a correlation from which on no other displacement can explain more of a tile
_MOSTLY = 0.9
# the share of the usual contrast, squared, below which there is nothing but noise to raise
_FAINT = 0.01
# the energy of a tile, whose pixels have a variance of about 1, at which it is as good as empty
_FLOOR = 1e-3 * TILE**2
# pixels: nearer peaks are the same displacement
_NEAR = 1.5
# and beyond so many, what interpolation and a small warp leave does not look like a rival
_APART = 5.0
# the least share of a tile's variance that counts as left unexplained
_LEFT = 0.1
# a reference that is so like itself half a tile away may fit as well elsewhere
_REPEATING = 0.8


class Votes(NamedTuple):
    """How the tiles of a frame voted on a displacement.

    Attributes
    ----------
    agreeing : float
        The share of the tiles that agree with the displacement beyond chance.
    middle : float
        The agreement of the tiles within the outermost ring, in standard deviations of chance.
    preferring : float
        The share of the tiles that want the displacement where the strongest rival is given.
    rival : (dx, dy) or None
        The strongest rival, in pixels.
    against : float
        The share of the tiles that want the rival where the displacement is given; 0 if chance makes as many.
    better : bool
        Whether a rival, all tiles taken together, fits at least as well.
    """

    agreeing: float
    middle: float
    preferring: float
    rival: tuple[float, float] | None
    against: float
    better: bool


def vote(
    reference: Masked,
    moving: Masked,
    at: tuple[float, float],
    *,
    margin: tuple[int, int],
    within: tuple[tuple[float, float], tuple[float, float]],
    settled: float = 1.0,
) -> Votes | None:
    r"""Let the tiles of a frame vote on a displacement.

    Parameters
    ----------
    reference, moving : Masked
        Of one shape (H, W), without slow changes of light: the mean of a tile counts for nothing.
    at : (dx, dy)
        The displacement, in pixels.
    margin : (int, int)
        Rows and columns at the border that do not vote: the frame of a scan does not move with its content.
    within : ((dx, dy), (dx, dy))
        The smallest and the largest displacement that a rival may have.
    settled : float
        The share of tiles of which the displacement explains most, from which on no rival is looked for.

    Returns
    -------
    Votes or None
        None where the frame is too small for nine tiles.

    Notes
    -----
    Rivals are the peaks of three surfaces: the correlation; what is left of it once the displacement has explained its
    part, which is the partial correlation :math:`(\rho - \rho_0 a) / \sqrt{1 - a^2}` with :math:`a` the reference's own
    correlation from there; and the correlation of those tiles alone that do not agree. All have the
    same contrast everywhere, so that a peak counts area.

    The correlation r of a tile scatters by chance: :math:`\operatorname{artanh} r` by :math:`1 / \sqrt{n - 3}`, n being
    the number of independent pixels, that of all over the sum of the squares of the autocorrelation. A tile wants a
    rival if the partial correlation with what lies there, given what lies at the displacement, is beyond chance: so do
    the tiles that moved with the rival, and those that show both, as a double exposure does. Of a rival near by, whose
    tiles look alike, it has to correlate better beyond chance.

    References
    ----------
    R. A. Fisher, "On the probable error of a coefficient of correlation", Metron 1, 1921.
    M. S. Bartlett, "Some aspects of the time-correlation problem", J. Royal Statistical Society 98, 1935.

    Examples
    --------
    >>> scene, other = np.random.default_rng(0).normal(size=(2, 140, 140))
    >>> moved = scene[14:114, 17:117].copy()
    >>> moved[50:] = scene[60:110, 20:120]
    >>> votes = vote(
    ...     Masked(scene[20:120, 20:120]), Masked(moved), (3, 6), margin=(0, 0), within=((-50, -50), (50, 50))
    ... )
    >>> votes.rival, round(votes.preferring, 2), round(votes.against, 2)
    ((0.0, 10.0), 0.33, 0.53)
    """
    u, v = (_even(image) for image in (reference, moving))
    if min(u.shape[0] - 2 * margin[0], u.shape[1] - 2 * margin[1]) < 3 * TILE:
        return None
    tiles = _Tiles(u, v, margin)
    present = tiles.moved(at)
    here = tiles.correlation(present)
    surfaces = _Surfaces(tiles, at)
    if float(np.mean(here > _MOSTLY)) >= settled and not surfaces.repeating:
        return Votes(1.0, math.inf, 1.0, None, 0.0, False)
    unit = 1 / math.sqrt(max(surfaces.independent - 3, 1.0))
    z = np.arctanh(here)
    threshold = math.tanh(_CHANCE * unit)
    agreeing = here > threshold
    middle = z.reshape(tiles.count)[1:-1, 1:-1]
    significance = float(middle.sum()) / (unit * math.sqrt(middle.size))
    votes = Votes(float(agreeing.mean()), significance, 1.0, None, 0.0, False)
    rivals = surfaces.rivals(tiles.chosen(~agreeing), within)
    enough = _beyond_chance(z.size, len(rivals))
    better = False
    for rival in rivals:
        elsewhere = tiles.moved(rival)
        there = tiles.correlation(elsewhere)
        gain = np.arctanh(there) - z
        better |= float(gain.sum()) >= 0
        if math.hypot(rival[0] - at[0], rival[1] - at[1]) > _APART:
            # both may have a part in a tile: what does each explain of what the other leaves?
            alike = _alike(present, elsewhere)
            against = _partial(there, here, alike) > threshold
            favour = _partial(here, there, alike) > threshold
        else:
            against = (gain > math.sqrt(2) * _CHANCE * unit) & (there > threshold)
            favour = (gain < -math.sqrt(2) * _CHANCE * unit) & agreeing
        if against.sum() >= enough and against.mean() > votes.against:
            votes = votes._replace(rival=rival, against=float(against.mean()), preferring=float(favour.mean()))
    return votes._replace(better=better)


def _products(first: NDArray[np.float32], second: NDArray[np.float32]) -> Array:
    """Return the sum of the products of each two tiles."""
    return np.asarray(np.einsum("ij,ij->i", first, second), dtype=np.float64)


def _alike(first: NDArray[np.float32], second: NDArray[np.float32]) -> Array:
    """Return the correlation of each two tiles."""
    energies = _products(first, first) * _products(second, second)
    return np.asarray(_products(first, second) / np.sqrt(np.maximum(energies, 1e-30)))


def _partial(first: Array, second: Array, alike: Array) -> Array:
    """Return the partial correlation with the first of two images, given the second."""
    left = np.maximum(1 - second**2, _LEFT) * np.maximum(1 - alike**2, _LEFT)
    return np.asarray((first - second * alike) / np.sqrt(left))


class _Tiles:
    """Two images and the tiles that the middle of the reference is cut into."""

    def __init__(self, u: NDArray[np.float32], v: NDArray[np.float32], margin: tuple[int, int]) -> None:
        self.u, self.v, self.margin = u, v, margin
        sizes = [n - 2 * m for n, m in zip(u.shape, margin, strict=True)]
        self.count = sizes[0] // TILE, sizes[1] // TILE
        self.corner = margin[0] + sizes[0] % TILE // 2, margin[1] + sizes[1] % TILE // 2
        # rivals lie up to half of the frame away, where there is nothing
        self.around = u.shape[0] // 2 + 1, u.shape[1] // 2 + 1
        self.wide = np.pad(v, [(n, n) for n in self.around])
        self.blocks = self._blocks(u, self.corner)
        self.energy = _products(self.blocks, self.blocks)

    def moved(self, at: tuple[float, float]) -> NDArray[np.float32]:
        """Return the tiles of what lies in the moving image at a displacement; nothing outside of it."""
        dx, dy = at
        whole = dx == round(dx) and dy == round(dy)
        if whole and abs(dx) <= self.around[1] and abs(dy) <= self.around[0]:
            y, x = (c + n + int(d) for c, n, d in zip(self.corner, self.around, (dy, dx), strict=True))
            return self._blocks(self.wide, (y, x))
        return self._blocks(shift(self.v, dx, dy), self.corner)

    def correlation(self, moved: NDArray[np.float32]) -> Array:
        """Return the correlation of each tile with what lies there; 0 where nothing does."""
        scale = np.sqrt((self.energy + _FLOOR) * (_products(moved, moved) + _FLOOR))
        return np.asarray(np.clip(_products(self.blocks, moved) / scale, -0.99, 0.99))

    def chosen(self, which: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Return the reference with nothing but the chosen tiles."""
        image = np.zeros_like(self.u)
        (top, left), (rows, columns) = self.corner, self.count
        window = np.s_[top : top + TILE * rows, left : left + TILE * columns]
        image[window] = self.u[window] * np.kron(which.reshape(self.count), np.ones((TILE, TILE), np.bool_))
        return image

    def _blocks(self, image: NDArray[np.float32], corner: tuple[int, int]) -> NDArray[np.float32]:
        """Cut an image into tiles: shape (tiles, pixels)."""
        (top, left), (rows, columns) = corner, self.count
        window = image[top : top + TILE * rows, left : left + TILE * columns]
        return window.reshape(rows, TILE, columns, TILE).swapaxes(1, 2).reshape(-1, TILE * TILE)


class _Surfaces:
    """The correlations of the middle of two frames at all displacements up to half of it.

    They go round at the borders, which is good enough to find what the tiles are then asked about.
    """

    def __init__(self, tiles: _Tiles, at: tuple[float, float]) -> None:
        (my, mx), (height, width) = tiles.margin, tiles.u.shape
        rows, columns = (fast_length(n - 2 * m, step=-1) for n, m in ((height, my), (width, mx)))
        self.inside = np.s_[my : my + rows, mx : mx + columns]
        u, v = tiles.u[self.inside], tiles.v[self.inside]
        self.shape, self.at = u.shape, at
        self.dy, self.dx = ((np.arange(n) + n // 2) % n - n // 2 for n in u.shape)
        self.u, self.v = u, v
        self.of_u = np.fft.rfft2(u)
        own = self._back(self.of_u * np.conj(self.of_u)) / max(float(np.vdot(u, u)), 1e-30)
        elsewhere = np.maximum.outer(np.abs(self.dy), np.abs(self.dx)) >= TILE // 2
        self.repeating = float(own[elsewhere].max(initial=0.0)) > _REPEATING
        lags = np.arange(1 - TILE, TILE)
        taper = 1 - np.abs(lags) / TILE
        self.independent = TILE**2 / max(float(np.sum(own[np.ix_(lags, lags)] ** 2 * np.outer(taper, taper))), 1.0)
        self.own = np.roll(own, (round(at[1]), round(at[0])), axis=(0, 1))

    def rivals(
        self, disagreeing: NDArray[np.float32], within: tuple[tuple[float, float], tuple[float, float]]
    ) -> list[tuple[float, float]]:
        """Return the peaks other than the displacement itself, each once."""
        (x0, y0), (x1, y1) = within
        near = np.add.outer((self.dy - self.at[1]) ** 2, (self.dx - self.at[0]) ** 2) <= _NEAR**2
        of_v = np.fft.rfft2(self.v)
        cross = self._back(np.conj(self.of_u) * of_v)
        cross /= max(math.sqrt(float(np.vdot(self.u, self.u)) * float(np.vdot(self.v, self.v))), 1e-30)
        asked = np.outer((self.dy >= y0) & (self.dy <= y1), (self.dx >= x0) & (self.dx <= x1)) & ~near
        here = max(float(cross[near].max(initial=0.0)), 0.0)
        partial = (cross - here * self.own) / np.sqrt(np.maximum(1 - self.own**2, 0.05))
        others = self._back(np.conj(np.fft.rfft2(disagreeing[self.inside])) * of_v)
        found: dict[tuple[float, float], None] = {}
        for surface in (partial, cross, others):
            for j, i in _peaks(np.where(asked, surface, -np.inf)):
                found[float(self.dx[i]), float(self.dy[j])] = None
        return list(found)

    def _back(self, product: NDArray[np.complexfloating]) -> NDArray[np.floating]:
        return np.fft.irfft2(product, self.shape)


def _even(image: Masked) -> NDArray[np.float32]:
    """Return an image at the same contrast everywhere, and with nothing where it may not be used."""
    used = image.image if image.mask is None else image.image * (image.mask != 0)
    largest = float(np.abs(used).max(initial=0.0))
    single = (used / (largest or 1.0)).astype(np.float32)
    power = _power_around(single)
    return np.asarray(single / np.sqrt(power + np.float32(_FAINT * max(float(np.median(power[::4, ::4])), 1e-30))))


def _power_around(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mean of the squares over about a tile around each pixel, taken at a quarter of the resolution."""
    quarter = smooth(halve(halve(Masked(image * image))), TILE / 8).image
    power = quarter.repeat(4, axis=0).repeat(4, axis=1)
    missing = [(0, n - m) for n, m in zip(image.shape, power.shape, strict=True)]
    return np.pad(power, missing, mode="edge")


def _peaks(surface: NDArray[np.floating]) -> list[tuple[int, int]]:
    """Return the highest local maxima above nought of a surface that goes round."""
    level = max(float(np.partition(surface, -_FEW, axis=None)[-_FEW]), 0.0) if surface.size > _FEW else 0.0
    rows, columns = np.nonzero(surface > level)
    height, width = surface.shape
    summit = np.ones(len(rows), np.bool_)
    for j in (-1, 0, 1):
        for i in (-1, 0, 1):
            summit &= surface[rows, columns] >= surface[(rows + j) % height, (columns + i) % width]
    rows, columns = rows[summit], columns[summit]
    order = np.argsort(-surface[rows, columns], kind="stable")[:_MOST]
    return [(int(rows[k]), int(columns[k])) for k in order]


def _beyond_chance(tiles: int, rivals: int) -> int:
    """Return how many tiles chance hardly ever makes prefer the best of some rivals: a Poisson law.

    Examples
    --------
    >>> _beyond_chance(24, 10), _beyond_chance(288, 10)
    (2, 4)
    """
    mean = tiles * 0.5 * math.erfc(_CHANCE / math.sqrt(2))
    count, term = 0, math.exp(-mean)
    tail = 1.0
    while tail * rivals > _FALSE_ALARM:
        tail -= term
        count += 1
        term *= mean / count
    return count
