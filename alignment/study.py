r"""The published experiments, run again on any plate, and our engine beside them.

Learning rates 0.1, 0.01 and 0.001, 30 and 100 steps, both losses, red and blue onto green; plain gradient descent, as
the publication describes it, and Adam, as its program ran it. What came out is measured from an answer that does not
depend on where a descent begins: the truth where it is known, else what `register` converges to.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _checks
from ._checks import Image, InputError
from .bilinear import SIDES
from .experiment import KINDS, METHODS, RATES, STEPS, AsProgrammed, Rectangle, published_exposures, run
from .objective import Objective
from .pyramid import Masked, halve, smooth
from .registration import Registration, register
from .search import walk
from .surfaces import Region, grid, local_minima

# the setting that the publication recommends
METHOD, LOSS, RATE, COUNT = "program", "ncc", 0.001, 30
# a displacement within this many pixels of the answer counts as right
RIGHT = 1.0
# the share of each side that the frame of an exposure takes, and of the frame that a displacement may be
_FRAME, _FARTHEST = 0.1, 0.2
# levels that the pyramid of the landscapes goes down, and pixels that its coarsest has at the least
_DOWN = 2
_COARSEST = 48


@dataclass(frozen=True, eq=False)
class Case:
    """One channel of a plate, to be laid on green.

    Attributes
    ----------
    plate, channel : str
    reference, moving : ndarray of shape (H, W)
    truth : (dx, dy) or None
        In pixels, where it is known.
    """

    plate: str
    channel: str
    reference: Image
    moving: Image
    truth: tuple[float, float] | None = None


@dataclass(frozen=True)
class Answer:
    """What a displacement is measured from.

    Attributes
    ----------
    plate, channel : str
    dx, dy : float
        In pixels.
    source : str
        "truth", or the status of the registration that it is.
    stderr : (float, float)
        Of the registration, in pixels.
    """

    plate: str
    channel: str
    dx: float
    dy: float
    source: str
    stderr: tuple[float, float]


@dataclass(frozen=True)
class Row:
    """One run: a published experiment or our engine.

    Attributes
    ----------
    plate, channel : str
    method : {"text", "program", "ours"}
        Plain gradient descent, Adam, or `register`.
    loss : {"mse", "ncc"}
    learning_rate : float or None
    steps : int
        Taken; of our engine, those that it needed.
    dx, dy : float
        Where it ended, in pixels.
    value : float
        The loss there, whose domain is the whole frame for the published ones and a window for ours.
    distance : float
        From the answer, in pixels.
    seconds : float
        Median time.
    status : str
        How it ended.
    """

    plate: str
    channel: str
    method: str
    loss: str
    learning_rate: float | None
    steps: int
    dx: float
    dy: float
    value: float
    distance: float
    seconds: float
    status: str


@dataclass(frozen=True)
class Ending:
    """Where the recommended setting ended on one channel, and what held it there.

    Attributes
    ----------
    plate, channel : str
    needed : float
        How far the answer lies from the start, in pixels.
    reach : (float, float)
        How far 30 steps of Adam at 0.001 can go along x and y, in pixels.
    dx, dy : float
        Where they ended.
    distance : float
        From the answer.
    rest_dx, rest_dy : float
        The local minimum that an exact descent finds from there: where more steps would lead.
    reason : str
        "arrived"; "on the way", if more steps arrive; "out of reach", if the answer lies beyond what the steps can
        travel; "false minimum", if more steps do not leave the place either; or "out of reach, false minimum", if
        both are so.
    by_side : dict
        The distance from the answer, had the first step taken the slopes on the "right", on the "left" or their mean,
        "central", instead of a mixture by rounding.
    """

    plate: str
    channel: str
    needed: float
    reach: tuple[float, float]
    dx: float
    dy: float
    distance: float
    rest_dx: float
    rest_dy: float
    reason: str
    by_side: dict[str, float]


class Landscape(NamedTuple):
    """One way of looking at a pair: what it is called, and the loss."""

    name: str
    objective: Any


@dataclass(frozen=True)
class Roughness:
    """How many minima a loss has around the way from the start to the answer, and where the lowest lies.

    Attributes
    ----------
    plate, channel : str
    landscape : str
        Which loss.
    minima : int
    lowest_dx, lowest_dy : float
        In pixels.
    distance : float
        Of the lowest from the answer, in pixels.
    """

    plate: str
    channel: str
    landscape: str
    minima: int
    lowest_dx: float
    lowest_dy: float
    distance: float


@dataclass(frozen=True)
class Study:
    """All runs, and what they are measured from.

    Attributes
    ----------
    answers : tuple of Answer
    rows : tuple of Row
    endings : tuple of Ending
    roughness : tuple of Roughness
    closures : dict
        For each plate by how many pixels red onto green, green onto blue and blue onto red fail to close a circle: how
        far the answers can be trusted.
    """

    answers: tuple[Answer, ...]
    rows: tuple[Row, ...]
    endings: tuple[Ending, ...]
    roughness: tuple[Roughness, ...]
    closures: dict[str, float] = field(default_factory=dict)

    def select(self, **wanted: Any) -> list[Row]:
        """Return the rows whose fields have the given values, such as ``method="program", steps=30``."""
        return [row for row in self.rows if all(getattr(row, name) == value for name, value in wanted.items())]

    def table(self, method: str, loss: str, what: str = "distance") -> NDArray[np.float64]:
        """Return the medians over all channels of a quantity.

        Returns
        -------
        ndarray of shape (2, 3)
            A row for 30 and for 100 steps, a column for each learning rate.
        """
        medians = [
            [median(self.select(method=method, loss=loss, learning_rate=rate, steps=steps), what) for rate in RATES]
            for steps in STEPS
        ]
        return np.array(medians)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain numbers, strings, lists and dictionaries, ready for JSON."""
        return asdict(self)


def median(rows: Sequence[Row], what: str) -> float:
    """Return the median of one field of some rows; nan of none."""
    return float(np.median([getattr(row, what) for row in rows])) if rows else float("nan")


def cases_of(
    plate: ArrayLike,
    name: str,
    *,
    truth: Mapping[str, tuple[float, float]] | None = None,
    exposures: Mapping[str, Rectangle] | None = None,
) -> list[Case]:
    """Cut a plate as the published program did, into red and blue on green.

    Parameters
    ----------
    plate : array_like of shape (H, W)
    name : str
        What to call it.
    truth : mapping, optional
        The true (dx, dy) of "red" and "blue", between the rectangles of `exposures`.
    exposures : mapping, optional
        The rectangles that the truth refers to.

    Returns
    -------
    list of Case

    Raises
    ------
    InputError
        If the plate cannot be cut so.
    """
    grey = _checks.image("plate", plate)[0]
    cut = published_exposures(grey)
    images = {n: np.ascontiguousarray(grey[t:b, left:right]) for n, (t, b, left, right) in cut.items()}
    cases = []
    for channel in ("red", "blue"):
        known = None
        if truth is not None and exposures is not None:
            moved = {n: (exposures[n][2] - cut[n][2], exposures[n][0] - cut[n][0]) for n in (channel, "green")}
            known = tuple(truth[channel][i] + moved[channel][i] - moved["green"][i] for i in (0, 1))
        cases.append(Case(name, channel, images["green"], images[channel], known))  # type: ignore[arg-type]
    return cases


def run_study(
    cases: Sequence[Case], *, repeats: int = 3, progress: Callable[[Sequence[Any]], Iterable[Any]] | None = None
) -> Study:
    """Run the published experiments, and our engine, on some channels.

    Parameters
    ----------
    cases : sequence of Case
    repeats : int
        How often each run is repeated for its median time.
    progress : callable, optional
        Is given the sequence of all jobs, and what it returns is gone through instead: for a progress bar.

    Returns
    -------
    Study

    Raises
    ------
    InputError
        If there is no case, or a channel cannot be compared at all.
    """
    work = _Work(cases, repeats)
    jobs = work.jobs()
    for do, *what in jobs if progress is None else progress(jobs):
        do(*what)
    return work.study()


class _Work:
    """A study in the making: each of its jobs adds a part."""

    def __init__(self, cases: Sequence[Case], repeats: int) -> None:
        if not cases:
            raise InputError("there is no channel to study; give one at the least")
        self._cases, self._repeats = cases, repeats
        self._found: dict[int, Registration] = {}
        self._answers: dict[int, Answer] = {}
        self._objectives: dict[tuple[int, str], AsProgrammed] = {}
        self._rows: list[Row] = []
        self._endings: list[Ending] = []
        self._roughness: list[Roughness] = []
        self._closures: dict[str, float] = {}

    def jobs(self) -> list[tuple[Any, ...]]:
        """Return what there is to do, in order: a method and its arguments each."""
        runs = itertools.product(self._cases, KINDS, (*METHODS, "ours"))
        return [
            *((self._answer, case) for case in self._cases),
            *((self._run, case, loss, method) for case, loss, method in runs),
            *((self._end, case) for case in self._cases),
            *((self._look, case) for case in self._cases),
            *((self._close, plate) for plate in dict.fromkeys(case.plate for case in self._cases)),
        ]

    def study(self) -> Study:
        """Return the study when all jobs are done."""
        return Study(
            answers=tuple(self._answers.values()),
            rows=tuple(self._rows),
            endings=tuple(self._endings),
            roughness=tuple(self._roughness),
            closures=self._closures,
        )

    def _answer(self, case: Case) -> None:
        self._found[id(case)] = _register(case, LOSS)
        self._answers[id(case)] = _answer(case, self._found[id(case)])

    def _run(self, case: Case, loss: str, method: str) -> None:
        answer = self._answers[id(case)]
        if method == "ours":
            self._rows.append(_our_row(case, answer, loss, self._repeats))
            return
        key = id(case), loss
        if key not in self._objectives:
            self._objectives[key] = AsProgrammed(case.reference, case.moving, loss=loss)
            self._objectives[key].value_and_gradient(0.0, 0.0)  # what only the first run would pay for is not timed
        self._rows += _published_rows(case, answer, self._objectives[key], method, self._repeats)

    def _end(self, case: Case) -> None:
        self._endings.append(_ending(case, self._answers[id(case)], self._rows))

    def _look(self, case: Case) -> None:
        self._roughness += _roughness(case, self._answers[id(case)])

    def _close(self, plate: str) -> None:
        pair = {case.channel: case for case in self._cases if case.plate == plate}
        if len(pair) == 2:
            self._closures[plate] = _closure(pair, *(self._found[id(pair[name])] for name in ("red", "blue")))


def landscapes(case: Case) -> list[Landscape]:
    """Return the losses that show what makes false minima, and what unmakes them.

    Parameters
    ----------
    case : Case

    Returns
    -------
    list of Landscape
        The published one, over the whole frame with zeros outside; over a window that the frame never enters; over that
        window with both images smoothed by 1 px; and so on the coarsest of a pyramid's three levels. All take
        displacements in pixels of the image.
    """
    kind = KINDS[LOSS]
    pair = [Masked(image) for image in (case.reference, case.moving)]
    soft = [smooth(level, 1.0).image for level in pair]
    factor = 1
    while factor < 2**_DOWN and min(pair[0].image.shape) >= 2 * _COARSEST:
        pair = [halve(level) for level in pair]
        factor *= 2
    coarse = [smooth(level, 1.0).image for level in pair]
    return [
        Landscape("whole frame, zeros outside", kind(case.reference, case.moving)),
        Landscape("window inside the frame", kind(case.reference, case.moving, domain="interior")),
        Landscape("window, images smoothed", kind(*soft, domain="interior")),
        Landscape(f"window, at 1/{factor} of the resolution", Scaled(kind(*coarse, domain="interior"), factor)),
    ]


class Scaled:
    """An objective on coarse images, asked in pixels of the fine ones.

    Parameters
    ----------
    objective : Objective
    factor : float
        Fine pixels in a coarse one.
    """

    def __init__(self, objective: Objective, factor: float) -> None:
        self._objective, self._factor = objective, factor

    def landscape(self, dx: ArrayLike, dy: ArrayLike) -> NDArray[np.float64]:
        """Return the loss on a grid of displacements, shape (M, N)."""
        return self._objective.landscape(np.asarray(dx) / self._factor, np.asarray(dy) / self._factor)


def region_of(answer: Answer, *, margin: float = 3.0) -> Region:
    """Return a region, with whole numbers for edges, around the start and the answer."""
    sides = [(np.floor(min(v, 0.0) - margin), np.ceil(max(v, 0.0) + margin)) for v in (answer.dx, answer.dy)]
    return float(sides[0][0]), float(sides[0][1]), float(sides[1][0]), float(sides[1][1])


def _register(case: Case, loss: str) -> Registration:
    """Register a channel as `colorize` does."""
    height, width = case.reference.shape
    reach = (_FARTHEST * width, _FARTHEST * height)
    return register(case.reference, case.moving, loss=loss, border=_FRAME, max_shift=reach)


def _answer(case: Case, found: Registration) -> Answer:
    """Return the truth where it is known, else what the registration converged to."""
    dx, dy = (found.dx, found.dy) if case.truth is None else case.truth
    source = found.status if case.truth is None else "truth"
    return Answer(case.plate, case.channel, dx, dy, source, found.stderr)


def _our_row(case: Case, answer: Answer, loss: str, repeats: int) -> Row:
    """Run our engine on a channel."""
    times = []
    for _ in range(repeats):
        begun = time.perf_counter()
        found = _register(case, loss)
        times.append(time.perf_counter() - begun)
    what, seconds = ("ours", loss, None, found.n_steps), float(np.median(times))
    away = _between(found, answer)
    return Row(case.plate, case.channel, *what, found.dx, found.dy, found.loss, away, seconds, found.status)


def _published_rows(case: Case, answer: Answer, objective: AsProgrammed, method: str, repeats: int) -> list[Row]:
    """Run a method with each learning rate and number of steps on a channel."""
    rows = []
    for rate, steps in itertools.product(RATES, STEPS):
        made = run(objective, method=method, loss=objective.loss, learning_rate=rate, steps=steps, repeats=repeats)
        end = made.descent
        away = _between(end, answer)
        taken = len(end.trace) - 1
        status = end.status if taken == steps else f"{end.status} after {taken} steps"
        what = method, objective.loss, rate, steps
        rows.append(Row(case.plate, case.channel, *what, end.dx, end.dy, end.loss, away, made.seconds, status))
    return rows


def _ending(case: Case, answer: Answer, rows: Sequence[Row]) -> Ending:
    """Say why the recommended setting ended where it did."""
    setting = {"method": METHOD, "loss": LOSS, "learning_rate": RATE, "steps": COUNT}
    wanted = {"plate": case.plate, "channel": case.channel, **setting}
    end, later = (
        next(row for row in rows if all(getattr(row, name) == value for name, value in sought.items()))
        for sought in (wanted, wanted | {"steps": max(STEPS)})
    )
    height, width = case.reference.shape
    reach = (COUNT * RATE * width / 2, COUNT * RATE * height / 2)
    x, y, _, _ = walk(KINDS[LOSS](case.reference, case.moving), (end.dx, end.dy))
    beyond = abs(answer.dx) > reach[0] or abs(answer.dy) > reach[1]
    arrives = min(later.distance, float(np.hypot(x - answer.dx, y - answer.dy))) <= RIGHT
    moves_on = float(np.hypot(later.dx - end.dx, later.dy - end.dy)) > RIGHT
    if end.distance <= RIGHT:
        reason = "arrived"
    elif arrives:
        reason = "out of reach" if beyond else "on the way"
    elif beyond:
        reason = "out of reach" if moves_on else "out of reach, false minimum"
    else:
        reason = "false minimum"
    by_side = {}
    for side in SIDES:
        objective = KINDS[LOSS](case.reference, case.moving, side=side, evaluation="direct")
        by_side[side] = _between(run(objective, **setting).descent, answer)  # type: ignore[arg-type]
    needed = float(np.hypot(answer.dx, answer.dy))
    return Ending(case.plate, case.channel, needed, reach, end.dx, end.dy, end.distance, x, y, reason, by_side)


def _between(found: Any, answer: Answer) -> float:
    """Return the distance of a displacement from the answer, in pixels."""
    return float(np.hypot(found.dx - answer.dx, found.dy - answer.dy))


def _roughness(case: Case, answer: Answer) -> list[Roughness]:
    """Count the minima of each landscape around the start and the answer."""
    rough = []
    across, down = grid(region_of(answer), 0.125)
    for name, objective in landscapes(case):
        values = objective.landscape(across, down)
        count = int(local_minima(values).sum())
        lowest = np.unravel_index(int(np.argmin(values)), values.shape)
        x, y = float(across[lowest[1]]), float(down[lowest[0]])
        away = float(np.hypot(x - answer.dx, y - answer.dy))
        rough.append(Roughness(case.plate, case.channel, name, count, x, y, away))
    return rough


def _closure(pair: Mapping[str, Case], red: Registration, blue: Registration) -> float:
    """Register blue on red, too, and return by how much the circle fails to close."""
    across = _register(Case(pair["red"].plate, "blue", pair["red"].moving, pair["blue"].moving), LOSS)
    return float(np.hypot(red.dx + across.dx - blue.dx, red.dy + across.dy - blue.dy))
