"""Pairs made to deceive: is a wrong displacement ever called sure?

    python benchmarks/adversarial.py [--count N] [--seed 0] [--jobs 1] [--kinds PART ...] [--peers] [--json FILE]

Beside the pairs of `hopeless.py`, which have no right answer: scenes that move in part, structures that repeat
themselves, sensors that saturate, have dead lines or darken towards the corners, negatives, halves that are hidden.
Where there is a right answer, it is known from how the pair was made. A line for each kind says how often the status
was "converged", how often that was within 0.5 px of the truth, and how often more than 1 px off, or given where there
is no truth: the last should be nought. With --peers, other tools stand beside with their share of answers that are more
than 1 px off, or given where there is no truth; they have no status, some give up now and then. Each fault is listed
with what remakes it, and the exit code is 1 if there is any.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import hopeless
import numpy as np
from hopeless import Case
from numpy.typing import NDArray
from pairs import Pair, Setting, pair, usable
from peers import Peer, installed, use_threads
from tqdm import tqdm

import alignment

Image = NDArray[Any]
Rng = np.random.Generator
# px
RIGHT, WRONG = 0.5, 1.0
SHAPES = ((96, 128), (128, 128), (160, 200), (240, 200), (256, 256))
# the share of the frame that a scene is displaced by at the most, and the noise that all kinds have
REACH = 0.12
NOISE = (0.0, 0.01, 0.03)
# the share of the scene that moves by itself
MOVING = 0.3
# grey levels: what is left of a scene must have some contrast to be seen at all
LEAST_CONTRAST = 0.03
PEERS = ("skimage phase", "phaseCorrelate", "ECC", "pystackreg")
PAIRS = 5000


def one_object(shape: tuple[int, int], rng: Rng) -> Case:
    """A scene in which one thing, 30 % of the frame, moves by itself: the other 70 % are the truth."""
    return _in_part(shape, rng, 1)


def several_objects(shape: tuple[int, int], rng: Rng) -> Case:
    """The same with three to eight things that move together."""
    return _in_part(shape, rng, int(rng.integers(3, 9)))


def double_exposure(shape: tuple[int, int], rng: Rng) -> Case:
    """The reference's scene is in the other image twice, equally strong: neither displacement is the right one.

    They are so far apart that the scene, displaced by the difference, correlates with itself by less than a half: else
    the two peaks would be one.
    """
    for _ in range(100):
        wide = _scene((2 * shape[0], 2 * shape[1]), rng, reach=0.0).reference.astype(float)
        (y0, x0), (y1, x1) = _apart(shape, rng)
        scene, one, other = (_crop(wide, shape, *at) for at in ((0, 0), (y0, x0), (y1, x1)))
        if np.corrcoef(one.ravel(), other.ravel())[0, 1] < 0.5:
            break
    return Case(*_either_way(scene, (one + other) / 2, rng))


def patchwork(shape: tuple[int, int], rng: Rng) -> Case:
    """A scene of which every second patch is displaced differently: neither displacement is the right one."""
    return _two_ways(shape, rng, _patches)


def two_halves(shape: tuple[int, int], rng: Rng) -> Case:
    """A scene whose halves, with alike contrast, are displaced differently: neither displacement is the right one."""
    return _two_ways(shape, rng, _half)


def colonnade(shape: tuple[int, int], rng: Rng) -> Case:
    """A strip of photograph repeated along one axis only: one component is known, the other up to a period."""
    height, width = 2 * shape[0], 2 * shape[1]
    period = int(rng.integers(8, min(shape) // 3))
    strip = _scene((height, period), rng, reach=0.0).reference.astype(float)
    case = _cut(np.tile(strip, (1, width // period + 1)), shape, rng)
    if rng.random() < 0.5:
        return case
    strip = _scene((period, width), rng, reach=0.0).reference.astype(float)
    return _cut(np.tile(strip, (height // period + 1, 1)), shape, rng)


def marked_tiles(shape: tuple[int, int], rng: Rng) -> Case:
    """A repeating texture, and under it a scene that does not repeat itself, a tenth to a third as strong."""
    height, width = rng.integers(8, 25, 2)
    tile = _standard(rng.normal(0, 1, (height, width)))
    whole = np.tile(tile, (2 * shape[0] // height + 2, 2 * shape[1] // width + 2))[: 2 * shape[0], : 2 * shape[1]]
    scene = _standard(_scene((2 * shape[0], 2 * shape[1]), rng, reach=0.0).reference)
    return _cut(0.5 + 0.15 * (whole + rng.uniform(0.1, 0.33) * scene), shape, rng)


def saturation(shape: tuple[int, int], rng: Rng) -> Case:
    """Exposures so different that in each some 10 to 70 % of the pixels are white, or black, or both."""
    for _ in range(100):
        found = _scene(shape, rng)
        levels = [_clipped(image, rng) for image in (found.reference, found.moving)]
        if min(float(image.std()) for image in levels) >= LEAST_CONTRAST:
            break
    return _noisy(levels, found, rng)


def dead_rows(shape: tuple[int, int], rng: Rng) -> Case:
    """Rows or columns of the sensor that are dead, the same ones in both images: 1 to 15 % of them."""
    found = _scene(shape, rng)
    images = [image.astype(float) for image in (found.reference, found.moving)]
    axis = int(rng.integers(2))
    dead = rng.choice(shape[axis], max(1, round(rng.uniform(0.01, 0.15) * shape[axis])), replace=False)
    levels = rng.choice([0.0, 1.0], len(dead)) if rng.random() < 0.5 else np.full(len(dead), rng.choice([0.0, 1.0]))
    noisy = _noisy(images, found, rng)
    for image in noisy[:2]:
        np.moveaxis(image, axis, 0)[dead] = levels[:, np.newaxis]
    return noisy


def vignetting(shape: tuple[int, int], rng: Rng) -> Case:
    """A lens that leaves the corners 3 to 30 % of the light, the same for both images."""
    found = _scene(shape, rng)
    y, x = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    cx, cy = rng.uniform(-0.3, 0.3, 2)
    radius = np.hypot(x - cx, y - cy)
    light = rng.uniform(0.03, 0.3) ** ((radius / radius.max()) ** rng.uniform(1.5, 4))
    return _noisy([light * image for image in (found.reference, found.moving)], found, rng)


def reversal(shape: tuple[int, int], rng: Rng) -> Case:
    """A negative, its tones bent or not, against the positive."""
    found = _scene(shape, rng)
    reverse = 1 - np.clip(found.moving, 0, 1).astype(float) ** rng.choice([1.0, 0.5, 2.0])
    return _noisy([found.reference.astype(float), reverse], found, rng)


def half_hidden(shape: tuple[int, int], rng: Rng) -> Case:
    """Half of the frame is hidden by something without structure: in one image, or the same half in both."""
    found = _scene(shape, rng)
    half = _half(shape, rng)
    images = [image.astype(float) for image in (found.reference, found.moving)]
    level = rng.random()
    for number in range(2 if rng.random() < 0.5 else 1):
        images[number] += half * (level - images[number])
    if rng.random() < 0.5:
        images, found = images[::-1], found._replace(dx=-found.dx, dy=-found.dy)
    return _noisy(images, found, rng)


def half_covered(shape: tuple[int, int], rng: Rng) -> Case:
    """Half of the frame shows other scenes, in one image, or different ones in both."""
    found = _scene(shape, rng)
    half = _half(shape, rng)
    images = [image.astype(float) for image in (found.reference, found.moving)]
    names = [n for n in usable(Setting(shape=shape, reach=REACH)) if n != found.info["photograph"]]
    others = rng.choice(names, 2, replace=False)
    for number in range(2 if rng.random() < 0.5 else 1):
        other = _standard(_scene(shape, rng, name=str(others[number])).reference.astype(float))
        images[number] += half * (images[number].mean() + images[number].std() * other - images[number])
    return _noisy(images, found, rng)


KINDS: dict[str, Callable[[tuple[int, int], Rng], Case]] = {
    **{name: maker for name, (maker, _) in hopeless.KINDS.items()},
    "30 % of the scene moves, one object": one_object,
    "30 % of the scene moves, several objects": several_objects,
    "two equal peaks, double exposure": double_exposure,
    "two equal peaks, patchwork": patchwork,
    "two equal peaks, two halves": two_halves,
    "repeated along one axis": colonnade,
    "repeated, with a weak scene under it": marked_tiles,
    "saturation": saturation,
    "dead rows or columns": dead_rows,
    "vignetting": vignetting,
    "contrast reversal": reversal,
    "half hidden": half_hidden,
    "half covered by other scenes": half_covered,
}


class Outcome(NamedTuple):
    """What was said of a pair: status, displacement, its error (None without a truth), and the peers' errors."""

    kind: str
    index: int
    status: str
    found: tuple[float, float]
    stderr: tuple[float, float]
    ncc: float
    truth: tuple[float, float] | None
    error: float | None
    peers: dict[str, float | None]

    @property
    def confidently_wrong(self) -> bool:
        """Whether "converged" was said of something else than the truth; an exception is no better."""
        wrong = self.error is None or not self.error <= WRONG
        return self.status == "exception" or (self.status == "converged" and wrong)

    @property
    def right(self) -> bool:
        """Whether the displacement is the truth."""
        return self.error is not None and self.error <= RIGHT


def make(kind: str, index: int, seed: int = 0) -> Case:
    """Make number `index` of a kind."""
    if kind in hopeless.KINDS:
        return hopeless.make(kind, index, seed)
    rng = np.random.default_rng([seed, list(KINDS).index(kind), index])
    shape = SHAPES[int(rng.integers(len(SHAPES)))]
    case = KINDS[kind](shape, rng)
    return Case(case.reference.astype(np.float32), case.moving.astype(np.float32), case.truth)


def judge(job: tuple[str, int], seed: int, tools: tuple[str, ...]) -> Outcome:
    """Register a pair, with our tool and with others."""
    kind, index = job
    case = make(kind, index, seed)
    others = {tool.name: _error_of(tool, case) for tool in _tools(tools)}
    try:
        result = alignment.register(case.reference, case.moving)
    except Exception:
        nowhere = (float("nan"), float("nan"))
        return Outcome(kind, index, "exception", nowhere, nowhere, float("nan"), case.truth, None, others)
    found = (result.dx, result.dy)
    error = _distance(found, case.truth)
    return Outcome(kind, index, result.status, found, result.stderr, result.ncc, case.truth, error, others)


def table(outcomes: list[Outcome], tools: tuple[str, ...]) -> Iterator[str]:
    """Yield the lines of the table: one for each kind, and their sum."""
    heads = ["kind", "pairs", "converged", "right (0.5 px)", "**off by > 1 px**", "right, not converged", "statuses"]
    heads += [f"{name}: off by > 1 px" for name in tools]
    yield "| " + " | ".join(heads) + " |"
    yield "|---" * len(heads) + "|"
    for kind in dict.fromkeys(outcome.kind for outcome in outcomes):
        yield _line(kind, [outcome for outcome in outcomes if outcome.kind == kind], tools)
    yield _line("**all**", outcomes, tools)


def main(argv: list[str] | None = None) -> int:
    """Register all, count, list the faults."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, help=f"pairs of each kind; default: {PAIRS} in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="processes (default: 1)")
    parser.add_argument("--kinds", nargs="+", metavar="PART", help="parts of names of kinds; default: all")
    parser.add_argument("--peers", action="store_true", help=", ".join(PEERS))
    parser.add_argument("--json", metavar="FILE", help="store every outcome")
    arguments = parser.parse_args(argv)
    kinds = [k for k in KINDS if not arguments.kinds or any(part in k for part in arguments.kinds)]
    tools = tuple(tool.name for tool in _tools(PEERS)) if arguments.peers else ()
    # pairs that take long and pairs that do not take turns, so that the progress bar tells the truth
    jobs = [(kind, index) for index in range(arguments.count or -(-PAIRS // len(kinds))) for kind in kinds]
    with _mapping(arguments.jobs) as mapping:
        answers = mapping(partial(judge, seed=arguments.seed, tools=tools), jobs)
        outcomes = list(tqdm(answers, total=len(jobs), unit="pair", disable=None))
    outcomes.sort(key=lambda outcome: (kinds.index(outcome.kind), outcome.index))
    print("\n".join(table(outcomes, tools)))
    faults = [outcome for outcome in outcomes if outcome.confidently_wrong]
    print(f"\n{len(faults)} confidently wrong of {len(outcomes)} pairs, seed {arguments.seed}.\n")
    for fault in faults:
        print(_described(fault, arguments.seed))
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump({"seed": arguments.seed, "outcomes": [outcome._asdict() for outcome in outcomes]}, file)
    return 1 if faults else 0


@contextmanager
def _mapping(jobs: int) -> Iterator[Callable[..., Any]]:
    """Give a map over one or more processes."""
    use_threads(1)
    if jobs <= 1:
        yield map
        return
    with multiprocessing.get_context("spawn").Pool(jobs, use_threads, (1,)) as pool:
        yield partial(pool.imap_unordered, chunksize=4)


def _tools(names: tuple[str, ...]) -> list[Peer]:
    return [tool for tool in installed(list(names))[0] if tool.name in names] if names else []


def _error_of(tool: Peer, case: Case) -> float | None:
    """Return how far off a tool is: infinitely where there is no truth, None if it gave up."""
    bounds = case.reference.shape[1] / 2, case.reference.shape[0] / 2
    answer = tool(case.reference.copy(), case.moving.copy(), bounds)
    if not np.isfinite([answer.dx, answer.dy]).all():
        return None
    error = _distance((answer.dx, answer.dy), case.truth)
    return float("inf") if error is None else error


def _distance(found: tuple[float, float], truth: tuple[float, float] | None) -> float | None:
    return None if truth is None else float(np.hypot(found[0] - truth[0], found[1] - truth[1]))


def _line(name: str, outcomes: list[Outcome], tools: tuple[str, ...]) -> str:
    """Return one line of the table."""
    converged = [outcome for outcome in outcomes if outcome.status == "converged"]
    statuses = Counter(outcome.status for outcome in outcomes if outcome.status != "converged")
    cells = [
        name, len(outcomes), len(converged), sum(outcome.right for outcome in converged),
        sum(outcome.confidently_wrong for outcome in outcomes),
        sum(outcome.right for outcome in outcomes) - sum(outcome.right for outcome in converged),
        ", ".join(f"{status} {count}" for status, count in statuses.most_common()),
    ]  # fmt: skip
    for tool in tools:
        errors = [outcome.peers[tool] for outcome in outcomes]
        answers = [error for error in errors if error is not None]
        share = f"{sum(error > WRONG for error in answers) / len(answers):.0%}" if answers else "-"
        gave_up = len(errors) - len(answers)
        cells.append(share + (f" ({gave_up} given up)" if gave_up else ""))
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _described(fault: Outcome, seed: int) -> str:
    """Say what went wrong, with the call that makes the pair again."""
    truth = "there is no answer" if fault.truth is None else f"the truth is ({fault.truth[0]:g}, {fault.truth[1]:g})"
    (dx, dy), (sx, sy) = fault.found, fault.stderr
    return (
        f"- `make({fault.kind!r}, {fault.index}, seed={seed})`: {fault.status}, "
        f"({dx:.2f}, {dy:.2f}) +- ({sx:.2g}, {sy:.2g}) px, ncc {fault.ncc:.3f}; {truth}"
    )


def _scene(shape: tuple[int, int], rng: Rng, *, name: str | None = None, reach: float = REACH) -> Pair:
    """Make an honest pair from a photograph."""
    setting = Setting(shape=shape, reach=reach)
    names = usable(setting) if name is None else [name]
    return pair(setting, int(rng.integers(len(names))), seed=int(rng.integers(2**31)), names=names)


def _two_ways(shape: tuple[int, int], rng: Rng, divide: Callable[[tuple[int, int], Rng], Image]) -> Case:
    """Displace two parts of a scene differently, both with their share of its slopes within a factor of 1.5."""
    for _ in range(100):
        wide = _scene((2 * shape[0], 2 * shape[1]), rng, reach=0.0).reference.astype(float)
        (y0, x0), (y1, x1) = _apart(shape, rng)
        scene, part = _crop(wide, shape, 0, 0), divide(shape, rng)
        slopes = np.hypot(*np.gradient(scene))
        if 1 / 1.5 < (part * slopes).sum() / ((1 - part) * slopes).sum() < 1.5:
            break
    return Case(scene, part * _crop(wide, shape, y0, x0) + (1 - part) * _crop(wide, shape, y1, x1))


def _in_part(shape: tuple[int, int], rng: Rng, objects: int) -> Case:
    """Lay things from one photograph, moving by themselves, over another; both have the same contrast."""
    first, second = rng.choice(usable(Setting(shape=shape, reach=REACH)), 2, replace=False)
    behind = _scene(shape, rng, name=str(first))
    while True:
        front = _scene(shape, rng, name=str(second))
        if np.hypot(front.dx - behind.dx, front.dy - behind.dy) > 2 * WRONG:
            break
    centres, aspect = rng.uniform(0.1, 0.9, (objects, 2)) * shape, rng.uniform(0.5, 2)
    low, high = 0.0, float(max(shape))
    while high - low > 0.01:  # the size that makes the share
        size = (low + high) / 2
        low, high = (low, size) if _things(shape, centres, size, aspect).mean() > MOVING else (size, high)
    covers = [_things(shape, centres + move, high, aspect) for move in ((0.0, 0.0), (front.dy, front.dx))]
    images = [
        0.5 + 0.15 * (cover * (f - front.reference.mean()) / front.reference.std()
                      + (1 - cover) * (b - behind.reference.mean()) / behind.reference.std())
        for cover, f, b in zip(covers, front[:2], behind[:2], strict=True)
    ]  # fmt: skip
    return _noisy(images, behind, rng)


def _things(shape: tuple[int, int], centres: Image, size: float, aspect: float) -> Image:
    """Return how much of each pixel some ellipses cover."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    distances = [np.hypot((x - cx) * aspect, (y - cy) / aspect) for cy, cx in centres]
    return np.clip(size - np.min(distances, axis=0) + 0.5, 0, 1)


def _half(shape: tuple[int, int], rng: Rng) -> Image:
    """Return how much of each pixel lies on one side of a line through the middle."""
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[: shape[0], : shape[1]]
    return np.clip((x - shape[1] / 2) * np.cos(angle) + (y - shape[0] / 2) * np.sin(angle) + 0.5, 0, 1)


def _patches(shape: tuple[int, int], rng: Rng) -> Image:
    """Return the black fields of a board, each between a sixth and a third of the frame."""
    field = int(rng.integers(min(shape) // 6, min(shape) // 3))
    y, x = np.mgrid[: shape[0], : shape[1]]
    return (y // field + x // field) % 2.0


def _apart(shape: tuple[int, int], rng: Rng) -> tuple[tuple[int, int], tuple[int, int]]:
    """Draw two displacements (dy, dx) that are at least 4 px apart."""
    while True:
        both = [tuple(int(rng.integers(-round(REACH * s), round(REACH * s) + 1)) for s in shape) for _ in range(2)]
        if np.hypot(both[0][0] - both[1][0], both[0][1] - both[1][1]) >= 4:
            return (both[0][0], both[0][1]), (both[1][0], both[1][1])


def _crop(wide: Image, shape: tuple[int, int], dy: int, dx: int) -> Image:
    """Cut the middle out of an image, its content displaced."""
    y, x = (wide.shape[0] - shape[0]) // 2 - dy, (wide.shape[1] - shape[1]) // 2 - dx
    return wide[y : y + shape[0], x : x + shape[1]].copy()


def _cut(wide: Image, shape: tuple[int, int], rng: Rng) -> Case:
    """Cut two crops, a tenth of the frame apart at the most, and add noise."""
    dy, dx = (int(rng.integers(-round(REACH * s), round(REACH * s) + 1)) for s in shape)
    spread = rng.choice(NOISE)
    return Case(
        *(_crop(wide, shape, *at) + rng.normal(0, 1, shape) * spread for at in ((0, 0), (dy, dx))), truth=(dx, dy)
    )


def _noisy(images: list[Image], found: Pair, rng: Rng) -> Case:
    """Add noise to both."""
    spread = rng.choice(NOISE)
    return Case(*(image + rng.normal(0, 1, image.shape) * spread for image in images), truth=(found.dx, found.dy))


def _clipped(image: Image, rng: Rng) -> Image:
    """Expose so that a share of the pixels is white, or black, or both."""
    low, high = np.quantile(image, sorted(rng.uniform(0, 1, 2)))
    if (side := int(rng.integers(3))) < 2:
        low, high = (image.min(), np.quantile(image, rng.uniform(0.3, 0.9))) if side else (high, image.max())
    return np.clip((image.astype(float) - low) / max(float(high - low), 1e-3), 0, 1)


def _standard(image: Image) -> Image:
    """Return an image of mean 0 and standard deviation 1."""
    return (image - image.mean(dtype=float)) / image.std(dtype=float)


def _either_way(first: Image, second: Image, rng: Rng) -> tuple[Image, Image]:
    return (first, second) if rng.random() < 0.5 else (second, first)


if __name__ == "__main__":
    sys.exit(main())
