"""Pairs that have no right answer, or more than one: is it said, or is one made up?

    python benchmarks/hopeless.py [--pairs 1200] [--seed 0] [--json FILE]

Prints how often each status was given to each kind. A status "converged" is a fault if the pair has no answer, or if
the answer is more than 1 px from the truth (for repeating textures: a neighbouring period). Each fault is listed with
what remakes it, and the exit code is 1 if there is any.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pairs import Setting, pair, photograph, usable
from tqdm import tqdm

import alignment

Image = NDArray[Any]
Rng = np.random.Generator
# px
TOLERANCE = 1.0
SHAPES = ((96, 128), (128, 128), (160, 200), (240, 200))


class Case(NamedTuple):
    """Two images, and the displacement that would be right: None where there is none."""

    reference: Image
    moving: Image
    truth: tuple[float, float] | None = None


def noise(shape: tuple[int, int], rng: Rng) -> Case:
    """White noise against other white noise."""
    return Case(*rng.normal(0.5, 0.1, (2, *shape)))


def clouds(shape: tuple[int, int], rng: Rng) -> Case:
    """Smooth noise against other smooth noise: few independent samples, so chance correlations are high."""
    width = rng.uniform(1.5, 8)
    return Case(*(_blurred(rng.normal(0, 1, shape), width) for _ in range(2)))


def pink(shape: tuple[int, int], rng: Rng) -> Case:
    """Noise with the spectrum of photographs, 1/f, against another."""
    return Case(*(_pink(shape, rng) for _ in range(2)))


def photograph_against_noise(shape: tuple[int, int], rng: Rng) -> Case:
    """A photograph against white noise."""
    image = _photograph(shape, rng)
    return _either_way(image, rng.normal(image.mean(), max(float(image.std()), 0.02), shape), rng)


def unrelated(shape: tuple[int, int], rng: Rng) -> Case:
    """Two different photographs."""
    first, second = rng.choice(_names(shape), 2, replace=False)
    return Case(_photograph(shape, rng, first), _photograph(shape, rng, second))


def unrelated_in_frames(shape: tuple[int, int], rng: Rng) -> Case:
    """Two different photographs in the same scan frame: only the frame agrees."""
    case = unrelated(shape, rng)
    depth, level = int(rng.integers(6, 13)), rng.choice([0.03, 0.97])
    for image in case[:2]:
        image[:depth] = image[-depth:] = image[:, :depth] = image[:, -depth:] = level
    return case


def constants(shape: tuple[int, int], rng: Rng) -> Case:
    """Two constant images."""
    return Case(np.full(shape, rng.random()), np.full(shape, rng.random()))


def constant_against_photograph(shape: tuple[int, int], rng: Rng) -> Case:
    """A constant image against a photograph."""
    return _either_way(np.full(shape, rng.random()), _photograph(shape, rng), rng)


def stripes(shape: tuple[int, int], rng: Rng, noise: float = 0.0) -> Case:
    """Sinusoidal or square stripes at any angle: nothing is known along them, and across only up to a period."""
    angle, period, phases = rng.uniform(0, np.pi), rng.uniform(3, 30), rng.uniform(0, 2 * np.pi, 2)
    y, x = np.mgrid[: shape[0], : shape[1]]
    across = 2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / period
    hard = rng.random() < 0.5
    images = [np.clip(4 * np.sin(across + p), -1, 1) if hard else np.sin(across + p) for p in phases]
    return Case(*(0.5 + 0.3 * image + rng.normal(0, noise, shape) if noise else 0.5 + 0.3 * image for image in images))


def noisy_stripes(shape: tuple[int, int], rng: Rng) -> Case:
    """The same under noise."""
    return stripes(shape, rng, rng.uniform(0.01, 0.1))


def straight_stripes(shape: tuple[int, int], rng: Rng) -> Case:
    """Stripes exactly along a row or a column, noisy or not."""
    return _profile(shape, rng, 0.0 if rng.random() < 0.5 else np.pi / 2)


def bar_code(shape: tuple[int, int], rng: Rng) -> Case:
    """Stripes that do not repeat, at any angle: known across, unknown along."""
    return _profile(shape, rng, rng.uniform(0, np.pi))


def checkerboard(shape: tuple[int, int], rng: Rng) -> Case:
    """A checkerboard, moved by at most a third of the frame: every other field fits as well."""
    field = int(rng.integers(4, 16))
    y, x = np.mgrid[: shape[0] * 2, : shape[1] * 2]
    return _moved(((x // field + y // field) % 2).astype(float), shape, rng, rng.choice([0.0, 0.03]))


def tiles(shape: tuple[int, int], rng: Rng) -> Case:
    """A small piece of photograph or noise, repeated along both axes: every period fits as well."""
    height, width = rng.integers(10, 33, 2)
    tile = _photograph((48, 48), rng)[:height, :width] if rng.random() < 0.5 else rng.random((height, width))
    whole = np.tile(tile, (2 * shape[0] // height + 2, 2 * shape[1] // width + 2))
    return _moved(whole, shape, rng, rng.choice([0.0, 0.03]))


def ramps(shape: tuple[int, int], rng: Rng) -> Case:
    """A linear change of light, noisy or not: looks alike at every displacement."""
    y, x = np.mgrid[-0.5 : 0.5 : shape[0] * 1j, -0.5 : 0.5 : shape[1] * 1j]
    angle, spread = rng.uniform(0, 2 * np.pi), rng.choice([0.0, 0.01, 0.05])
    return Case(*(
        0.5 + 0.4 * (x * np.cos(angle) + y * np.sin(angle)) + rng.normal(0, 1, shape) * spread for _ in range(2)
    ))  # fmt: skip


def lit_noise(shape: tuple[int, int], rng: Rng) -> Case:
    """Two unrelated noises under the same slow light, which does not move: the light agrees, the content does not."""
    y, x = np.mgrid[-0.5 : 0.5 : shape[0] * 1j, -0.5 : 0.5 : shape[1] * 1j]
    light = np.exp(-((x - rng.uniform(-0.3, 0.3)) ** 2 + (y - rng.uniform(-0.3, 0.3)) ** 2) / rng.uniform(0.2, 0.8))
    return Case(*(light * (0.7 + rng.normal(0, 0.1, shape)) for _ in range(2)))


# pieced together from copies of themselves: windows of 48 px correlate by 0.99 and 0.94 with others, far away
PATCHED = ("grass", "gravel")


def too_far(shape: tuple[int, int], rng: Rng) -> Case:
    """Two crops of one photograph that do not overlap at all, and do not show the same thing twice."""
    name = rng.choice([n for n in _names((2 * shape[0] + 8, 2 * shape[1] + 8)) if n not in PATCHED])
    wide = _photograph((2 * shape[0] + 8, 2 * shape[1] + 8), rng, name)
    return Case(wide[: shape[0], : shape[1]].copy(), wide[-shape[0] :, -shape[1] :].copy())


KINDS: dict[str, tuple[Callable[[tuple[int, int], Rng], Case], float]] = {
    # name: maker, share of the pairs
    "noise / noise": (noise, 2),
    "smooth noise / smooth noise": (clouds, 2),
    "1/f noise / 1/f noise": (pink, 2),
    "photograph / noise": (photograph_against_noise, 1),
    "unrelated photographs": (unrelated, 2),
    "unrelated photographs in one frame": (unrelated_in_frames, 1),
    "crops without overlap": (too_far, 1),
    "constants": (constants, 0.25),
    "constant / photograph": (constant_against_photograph, 0.5),
    "stripes": (stripes, 1),
    "stripes with noise": (noisy_stripes, 1),
    "straight stripes, not periodic": (straight_stripes, 1),
    "oblique stripes, not periodic": (bar_code, 1),
    "checkerboard": (checkerboard, 1),
    "periodic tiles": (tiles, 1.5),
    "linear ramps": (ramps, 1),
    "noise under fixed light": (lit_noise, 1),
}


def make(kind: str, index: int, seed: int = 0) -> Case:
    """Make number `index` of a kind."""
    rng = np.random.default_rng([seed, list(KINDS).index(kind), index])
    shape = SHAPES[int(rng.integers(len(SHAPES)))]
    case = KINDS[kind][0](shape, rng)
    return Case(case.reference.astype(np.float32), case.moving.astype(np.float32), case.truth)


def judge(kind: str, index: int, seed: int) -> tuple[str, str | None]:
    """Register a pair; return the status, and the fault if there is one."""
    case = make(kind, index, seed)
    try:
        result = alignment.register(case.reference, case.moving)
    except Exception as error:
        return "exception", f"{type(error).__name__}: {error}"
    if not result.success:
        return result.status, None
    found = f"({result.dx:.2f}, {result.dy:.2f}) +- ({result.stderr[0]:.2g}, {result.stderr[1]:.2g})"
    if case.truth is None:
        return result.status, f"{found} px, ncc {result.ncc:.3f}, though there is no answer"
    error = float(np.hypot(result.dx - case.truth[0], result.dy - case.truth[1]))
    if error > TOLERANCE:
        return result.status, f"{found} px, ncc {result.ncc:.3f}; the truth is ({case.truth[0]:g}, {case.truth[1]:g})"
    return "converged, right", None


def main(argv: list[str] | None = None) -> int:
    """Register all, count, list the faults."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=1200, help="in all (default: 1200)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", metavar="PART", help="parts of names of kinds; default: all")
    parser.add_argument("--json", metavar="FILE")
    arguments = parser.parse_args(argv)
    kinds = [k for k in KINDS if not arguments.kinds or any(part in k for part in arguments.kinds)]
    share = arguments.pairs / sum(KINDS[kind][1] for kind in kinds)
    counts: dict[str, Counter[str]] = {}
    faults: list[dict[str, Any]] = []
    todo = [(kind, index) for kind in kinds for index in range(max(1, round(share * KINDS[kind][1])))]
    for kind, index in tqdm(todo, unit="pair", disable=None):
        status, fault = judge(kind, index, arguments.seed)
        counts.setdefault(kind, Counter())[status] += 1
        if fault is not None:
            faults.append({"kind": kind, "index": index, "seed": arguments.seed, "status": status, "fault": fault})
    statuses = sorted({status for counter in counts.values() for status in counter})
    print("| kind | pairs | faults | " + " | ".join(statuses) + " |")
    print("|---" * (len(statuses) + 3) + "|")
    for kind, counter in counts.items():
        wrong = sum(fault["kind"] == kind for fault in faults)
        cells = [str(counter[status] or "") for status in statuses]
        print(f"| {kind} | {sum(counter.values())} | {wrong} | " + " | ".join(cells) + " |")
    print(f"\n{len(faults)} faults in {len(todo)} pairs.\n")
    for fault in faults:
        print(
            f"- `make({fault['kind']!r}, {fault['index']}, seed={fault['seed']})`: {fault['status']}, {fault['fault']}"
        )
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump({"counts": counts, "faults": faults}, file, indent=1)
    return 1 if faults else 0


def _names(shape: tuple[int, int]) -> list[str]:
    return usable(Setting(shape=shape, reach=0))


def _photograph(shape: tuple[int, int], rng: Rng, name: str | None = None) -> Image:
    """Cut a piece out of a photograph."""
    names = _names(shape) if name is None else [str(name)]
    seed = int(rng.integers(2**31))
    return pair(Setting(shape=shape, reach=0), int(rng.integers(len(names))), seed=seed, names=names).reference.astype(
        float
    )


def _either_way(first: Image, second: Image, rng: Rng) -> Case:
    return Case(first, second) if rng.random() < 0.5 else Case(second, first)


def _moved(whole: Image, shape: tuple[int, int], rng: Rng, spread: float) -> Case:
    """Cut two crops, at most a third of the frame apart."""
    dy, dx = (int(rng.integers(-size // 3, size // 3 + 1)) for size in shape)
    y, x = (size // 2 for size in shape)
    crops = (whole[v : v + shape[0], u : u + shape[1]] for v, u in ((y, x), (y - dy, x - dx)))
    return Case(*(crop + rng.normal(0, 1, shape) * spread for crop in crops), truth=(dx, dy))


def _profile(shape: tuple[int, int], rng: Rng, angle: float) -> Case:
    """Draw an irregular profile across parallel stripes; the second image is moved across by some pixels."""
    positions, heights = np.sort(rng.uniform(-400, 400, 150)), rng.normal(0, 0.2, 151)
    y, x = np.mgrid[: shape[0], : shape[1]]
    across = x * np.cos(angle) + y * np.sin(angle)
    spread, move = rng.choice([0.0, 0.01, 0.05]), rng.uniform(-8, 8)
    images = []
    for by in (0.0, move):
        points = np.linspace(-450, 450, 9001)
        smooth = np.convolve(heights[np.searchsorted(positions, points)], np.ones(15) / 15, "same")
        images.append(0.5 + np.interp(across - by, points, smooth) + rng.normal(0, 1, shape) * spread)
    return Case(*images)


def _pink(shape: tuple[int, int], rng: Rng) -> Image:
    spectrum = np.fft.rfft2(rng.normal(0, 1, shape))
    fy, fx = np.fft.fftfreq(shape[0])[:, np.newaxis], np.fft.rfftfreq(shape[1])
    image = np.fft.irfft2(spectrum / np.maximum(np.hypot(fy, fx), 1 / max(shape)), shape)
    return 0.5 + 0.15 * (image - image.mean()) / image.std()


def _blurred(image: Image, width: float) -> Image:
    """Blur by a Gaussian of this width, without going round the borders."""
    reach = int(4 * width) + 1
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    for axis in (0, 1):
        wide = np.pad(image, [(reach, reach) if a == axis else (0, 0) for a in (0, 1)], "reflect")
        image = np.apply_along_axis(np.convolve, axis, wide, taps / taps.sum(), "valid")
    return 0.5 + 0.15 * (image - image.mean()) / image.std()


if __name__ == "__main__":
    photograph("grace_hopper")
    sys.exit(main())
