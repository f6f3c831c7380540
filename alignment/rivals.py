r"""What the parts of a frame say of a displacement: which of them agree with it, and which would rather have another.

A correlation over the whole frame is the sum of what its parts say, each with the weight of its contrast. Where a third
of the scene moves by itself, or half of it is repeated, the sum has a peak for each, and the highest may be that of the
part with the most contrast. So the frame is cut into tiles, which vote: each tile has one voice, whatever its contrast.
"""

from __future__ import annotations

import math
from statistics import NormalDist
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
# and among how many of the highest places
_FEW = 20
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


class Majority(NamedTuple):
    """Most of the tiles of a frame, which want another displacement.

    Attributes
    ----------
    rival : (dx, dy)
        What they want, in pixels.
    against, others : float
        The share of the tiles that want it, and of those that want the displacement.
    showing : bool ndarray of shape (H, W)
        The pixels of those that agree with the rival, beyond chance and better than with the displacement.
    """

    rival: tuple[float, float]
    against: float
    others: float
    showing: NDArray[np.bool_]


class Votes(NamedTuple):
    """How the tiles of a frame voted on a displacement.

    Attributes
    ----------
    agreeing : float
        The share of the tiles that agree with the displacement beyond chance.
    middle : float
        The agreement of the tiles within the outermost ring that show anything, in standard deviations of chance.
    chance : float
        The agreement, in the same unit, that the best of all displacements hardly ever reaches by chance.
    preferring : float
        The share of the tiles that want the displacement where the strongest rival is given.
    rival : (dx, dy) or None
        The strongest rival, in pixels; None where chance makes as strong ones.
    against : float
        The share of the tiles that want the rival where the displacement is given.
    possible : float
        And the share that they may be at most.
    better : float
        By how many standard deviations of chance the tiles that see both, taken together, agree better with a rival
        that most of them see.
    majority : Majority or None
        Those that want the rival that most tiles want, if they are more than want the displacement.
    """

    agreeing: float
    middle: float
    chance: float = 0.0
    preferring: float = 1.0
    rival: tuple[float, float] | None = None
    against: float = 0.0
    possible: float = 0.0
    better: float = -math.inf
    majority: Majority | None = None


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
    Rivals are the peaks of four surfaces: the correlation; what is left of it once the displacement has explained its
    part, which is the partial correlation :math:`(\rho - \rho_0 a) / \sqrt{1 - a^2}` with :math:`a` the reference's own
    correlation from there; and both of those tiles alone that do not agree. All have the same contrast everywhere, so
    that a peak counts area.

    The correlation r of a tile scatters by chance: :math:`\operatorname{artanh} r` by :math:`1 / \sqrt{n - 3}`, n being
    the number of independent pixels, that of all over the sum of the squares of the autocorrelation. A tile wants a
    rival if the partial correlation with what lies there, given what lies at the displacement, is beyond chance: so do
    the tiles that moved with the rival, and those that show both, as a double exposure does. Of a rival near by, whose
    tiles look alike, it has to correlate better beyond chance.

    A plain scene behind a thing that moved shows too little for one tile to tell, but all of it, taken together, may:
    a rival half a tile or more away exists if the tiles that do not agree, taken together, correlate with it by more
    than chance makes them do at the best of all displacements, in ninety-nine of a hundred images: by the scatter of
    that correlation over all displacements, and by what the tiles themselves say. Then each of those tiles has a voice
    between -1 and 1, in proportion to its partial correlation up to three standard deviations. Whether the sum is small
    is known only up to its own scatter: `possible` is the sum and three standard deviations,
    :math:`(\sum v + \sqrt{n}) / N` for n voices of N.

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
    surfaces = _Surfaces(tiles, at, within)
    if float(np.mean(here > _MOSTLY)) >= settled and not surfaces.repeating:
        return Votes(1.0, math.inf)
    unit = 1 / math.sqrt(max(surfaces.independent - 3, 1.0))
    agreeing = here > math.tanh(_CHANCE * unit)
    # what a mask hides agrees with nothing, and says nothing
    seen = tiles.middle() & (np.minimum(tiles.energy, present.energy) > _FLOOR)
    significance = float(np.arctanh(here[seen]).sum()) / (unit * math.sqrt(max(int(seen.sum()), 1)))
    votes = Votes(float(agreeing.mean()), significance, surfaces.chance)
    # what noise takes from a correlation, it takes from a likeness too
    kept = float(here[agreeing].mean()) if agreeing.any() else 1.0
    rivals = surfaces.rivals(tiles.chosen(~agreeing), kept)
    most: Majority | None = None
    enough, within_frame = _beyond_chance(here.size, len(rivals)), tiles.inside(at)
    for rival, score in rivals.items():
        elsewhere = tiles.moved(rival)
        contest = _Contest(here, tiles.correlation(elsewhere), np.clip(_alike(present, elsewhere) / kept, -1, 1), unit)
        votes = votes._replace(better=max(votes.better, contest.better(within_frame & tiles.inside(rival))))
        distance = math.hypot(rival[0] - at[0], rival[1] - at[1])
        for ballot in (contest.counted(distance, enough), contest.weighed(distance, score, surfaces.chance)):
            if ballot is not None and ballot.possible * votes.preferring > votes.possible * ballot.preferring:
                votes = votes._replace(rival=rival, **ballot._asdict())
            if ballot is not None and ballot.against > max(ballot.preferring, most.against if most else 0.0):
                most = Majority(rival, ballot.against, ballot.preferring, tiles.pixels(contest.rather))
    return votes._replace(majority=most)


class _Ballot(NamedTuple):
    """The shares of the tiles for and against a displacement, and the share that may at most be against."""

    preferring: float
    against: float
    possible: float


class _Contest:
    """Two displacements, and how well each tile agrees with either, in standard deviations of chance."""

    def __init__(self, here: Array, there: Array, alike: Array, unit: float) -> None:
        self.agreeing = here > math.tanh(_CHANCE * unit)
        self.present = there > math.tanh(_CHANCE * unit)
        self.rather = self.present & (there > here)
        self.gain = (np.arctanh(there) - np.arctanh(here)) / (math.sqrt(2) * unit)
        self.against = np.arctanh(_partial(there, here, alike)) / unit
        self.favour = np.arctanh(_partial(here, there, alike)) / unit

    def better(self, both: NDArray[np.bool_]) -> float:
        """Return by how much the second one fits the tiles that see both, taken together, better, if most do."""
        return float(self.gain[both].sum()) / math.sqrt(both.sum()) if both.mean() > 0.5 else -math.inf

    def counted(self, distance: float, enough: int) -> _Ballot | None:
        """Count the tiles that want one of the two beyond chance, if more than chance makes want the second."""
        if distance > _APART:
            # both may have a part in a tile: what does each explain of what the other leaves?
            against, favour = self.against > _CHANCE, self.favour > _CHANCE
        else:
            against, favour = (self.gain > _CHANCE) & self.present, (self.gain < -_CHANCE) & self.agreeing
        share = float(against.mean())
        return _Ballot(float(favour.mean()), share, share) if against.sum() >= enough else None

    def weighed(self, distance: float, score: float, chance: float) -> _Ballot | None:
        """Add up what the tiles say that do not agree with the first one, a voice at the most for each."""
        said = self.against[~self.agreeing]
        if distance <= TILE / 2 or min(score, float(said.sum()) / math.sqrt(max(said.size, 1))) <= chance:
            return None
        share = max(float(np.clip(said / _CHANCE, -1, 1).sum()) / self.against.size, 0.0)
        # by chance, the sum of n voices scatters by sqrt(n) / 3
        possible = share + math.sqrt(said.size) / self.against.size
        return _Ballot(max(float(np.clip(self.favour / _CHANCE, -1, 1).mean()), 0.0), share, possible)


def _products(first: NDArray[np.float32], second: NDArray[np.float32]) -> Array:
    """Return the sum of the products of each two tiles."""
    return np.asarray(np.einsum("ij,ij->i", first, second), dtype=np.float64)


class _Moved(NamedTuple):
    """What lies in the moving image where the tiles are, and the sum of its squares in each."""

    blocks: NDArray[np.float32]
    energy: Array


def _alike(first: _Moved, second: _Moved) -> Array:
    """Return the correlation of each two tiles."""
    scale = np.sqrt(np.maximum(first.energy * second.energy, 1e-30))
    return np.asarray(_products(first.blocks, second.blocks) / scale)


def _partial(first: Array, second: Array, alike: Array) -> Array:
    """Return the partial correlation with the first of two images, given the second."""
    left = np.maximum(1 - second**2, _LEFT) * np.maximum(1 - alike**2, _LEFT)
    return np.asarray(np.clip((first - second * alike) / np.sqrt(left), -0.99, 0.99))


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

    def middle(self) -> NDArray[np.bool_]:
        """Say which tiles are not of the outermost ring."""
        inner = np.zeros(self.count, np.bool_)
        inner[1:-1, 1:-1] = True
        return inner.ravel()

    def moved(self, at: tuple[float, float]) -> _Moved:
        """Return the tiles of what lies in the moving image at a displacement; nothing outside of it."""
        dx, dy = at
        whole = dx == round(dx) and dy == round(dy)
        if whole and abs(dx) <= self.around[1] and abs(dy) <= self.around[0]:
            y, x = (c + n + int(d) for c, n, d in zip(self.corner, self.around, (dy, dx), strict=True))
            blocks = self._blocks(self.wide, (y, x))
        else:
            blocks = self._blocks(shift(self.v, dx, dy), self.corner)
        return _Moved(blocks, _products(blocks, blocks))

    def inside(self, at: tuple[float, float]) -> NDArray[np.bool_]:
        """Say which tiles lie within the middle of the moving image at a displacement."""
        sides = zip(self.corner, self.count, (at[1], at[0]), self.margin, self.u.shape, strict=True)
        starts = [(first + d + TILE * np.arange(n), m, size) for first, n, d, m, size in sides]
        rows, columns = ((start >= m) & (start + TILE <= size - m) for start, m, size in starts)
        return np.asarray(np.outer(rows, columns).ravel())

    def correlation(self, moved: _Moved) -> Array:
        """Return the correlation of each tile with what lies there; 0 where nothing does."""
        scale = np.sqrt((self.energy + _FLOOR) * (moved.energy + _FLOOR))
        return np.asarray(np.clip(_products(self.blocks, moved.blocks) / scale, -0.99, 0.99))

    def pixels(self, which: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Say which pixels of the reference lie in the chosen tiles."""
        inside = np.zeros(self.u.shape, np.bool_)
        (top, left), (rows, columns) = self.corner, self.count
        window = np.s_[top : top + TILE * rows, left : left + TILE * columns]
        inside[window] = np.kron(which.reshape(self.count), np.ones((TILE, TILE), np.bool_))
        return inside

    def chosen(self, which: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Return the reference with nothing but the chosen tiles."""
        return self.u * self.pixels(which)

    def _blocks(self, image: NDArray[np.float32], corner: tuple[int, int]) -> NDArray[np.float32]:
        """Cut an image into tiles: shape (tiles, pixels)."""
        (top, left), (rows, columns) = corner, self.count
        window = image[top : top + TILE * rows, left : left + TILE * columns]
        return window.reshape(rows, TILE, columns, TILE).swapaxes(1, 2).reshape(-1, TILE * TILE)


class _Surfaces:
    """The correlations of the reference's tiles with the whole moving frame, at all displacements up to half of it.

    They go round at the borders, which is good enough to find what the tiles are then asked about.
    """

    def __init__(
        self,
        tiles: _Tiles,
        at: tuple[float, float],
        within: tuple[tuple[float, float], tuple[float, float]],
    ) -> None:
        self.shape = tuple(fast_length(n) for n in tiles.u.shape)
        self.at, self.v = at, tiles.v
        self.dy, self.dx = ((np.arange(n) + n // 2) % n - n // 2 for n in self.shape)
        (x0, y0), (x1, y1) = within
        self.near = np.add.outer((self.dy - at[1]) ** 2, (self.dx - at[0]) ** 2) <= _NEAR**2
        self.asked = np.outer((self.dy >= y0) & (self.dy <= y1), (self.dx >= x0) & (self.dx <= x1)) & ~self.near
        u = tiles.chosen(np.ones(len(tiles.blocks), np.bool_))
        self.energy = max(float(np.vdot(u, u)), 1e-30)
        self.of_u = self._there(u)
        own = self._back(self.of_u * np.conj(self.of_u)) / self.energy
        elsewhere = np.maximum.outer(np.abs(self.dy), np.abs(self.dx)) >= TILE // 2
        self.repeating = float(own[elsewhere].max(initial=0.0)) > _REPEATING
        lags = np.arange(1 - TILE, TILE)
        taper = 1 - np.abs(lags) / TILE
        self.independent = TILE**2 / max(float(np.sum(own[np.ix_(lags, lags)] ** 2 * np.outer(taper, taper))), 1.0)
        self.own = np.roll(own, (round(at[1]), round(at[0])), axis=(0, 1))
        # as many displacements are independent of each other as pixels are
        trials = max(np.count_nonzero(self.asked) * self.independent / TILE**2, 1.0)
        self.chance = NormalDist().inv_cdf(1 - _FALSE_ALARM / trials)

    def rivals(self, disagreeing: NDArray[np.float32], kept: float) -> dict[tuple[float, float], float]:
        """Return the peaks other than the displacement itself, each once, with how far it stands out.

        That is, from what the displacement leaves of the correlation with those tiles that do not agree, and in units
        of its scatter.
        """
        of_v = self._there(self.v)
        power = float(np.vdot(self.v, self.v))
        cross = self._back(np.conj(self.of_u) * of_v) / max(math.sqrt(self.energy * power), 1e-30)
        surfaces = [cross, self._left(cross, self.own / kept)]
        spread = math.inf
        if disagreeing.any():
            of_some = np.conj(self._there(disagreeing))
            energy = max(float(np.vdot(disagreeing, disagreeing)), 1e-30)
            others = self._back(of_some * of_v) / max(math.sqrt(energy * power), 1e-30)
            own = np.roll(self._back(of_some * self.of_u) / energy, (round(self.at[1]), round(self.at[0])), axis=(0, 1))
            # of a rival near by, what is left of its peak is not where the peak was
            surfaces += [others, self._left(others, own / kept)]
            if self.asked.any():
                spread = float(np.median(np.abs(surfaces[-1][::3, ::3][self.asked[::3, ::3]]))) / 0.6745
        found: dict[tuple[float, float], float] = {}
        for surface in surfaces:
            for j, i in _peaks(np.where(self.asked, surface, -np.inf)):
                found[float(self.dx[i]), float(self.dy[j])] = float(surfaces[-1][j, i]) / max(spread, 1e-30)
        return found

    def _left(self, cross: NDArray[np.floating], own: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return what is left of a correlation once the displacement has explained its part."""
        here = max(float(cross[self.near].max(initial=0.0)), 0.0)
        own = np.clip(own, -1, 1)
        return np.asarray((cross - here * own) / np.sqrt(np.maximum(1 - own**2, _LEFT)))

    def _there(self, image: NDArray[np.float32]) -> NDArray[np.complex64]:
        # with no factor to apply, NumPy transforms single precision in a wider one, which takes three times as long
        return np.asarray(np.fft.rfft2(image, self.shape, norm="ortho"), np.complex64)

    def _back(self, product: NDArray[np.complexfloating]) -> NDArray[np.floating]:
        surface = np.fft.irfft2(product, self.shape, norm="ortho")
        surface *= math.sqrt(math.prod(self.shape))
        return np.asarray(surface)


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
    left, around = surface.copy(), np.arange(-2, 3)
    height, width = surface.shape
    found: list[tuple[int, int]] = []
    for _ in range(_FEW):
        j, i = divmod(int(left.argmax()), width)
        if left[j, i] <= 0 or len(found) == _MOST:
            break
        window = np.ix_((j + around) % height, (i + around) % width)
        if surface[j, i] >= surface[window][1:-1, 1:-1].max():
            found.append((j, i))
        left[window] = -np.inf
    return found


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
