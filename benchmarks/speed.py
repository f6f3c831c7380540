"""What each piece costs, as ratios within one run, as Markdown.

    python benchmarks/speed.py [--sizes 333x375 1024x1024 3200x3700] [--rounds 15] [--only PART ...] [--json FILE]

Every group has a base, such as the dot product of the two images: no code can look at both images in less time than it
takes to read them. Candidates take turns, round by round, so that a busy machine slows them all; a ratio is the median
over the rounds of a candidate's time over the base's in the same round. The first call of each, which compiles or
allocates, is not timed. `test_speed.py` runs the same pieces under pytest-benchmark.
"""

# ruff: noqa: E402  (the environment must be set before NumPy is loaded)
from __future__ import annotations

import os

# the bare dot product is the limit of one core; BLAS would take several
for _name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import argparse
import importlib.util
import json
import platform
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

import alignment as al

Image = NDArray[Any]
Call = Callable[[], object]
SIZES = ((333, 375), (1024, 1024), (3200, 3700))
AT = (0.3, 0.6)  # px, inside a cell
# seconds that one timing should last at least: shorter calls are repeated
LEAST = 2e-3


class Group(NamedTuple):
    """Pieces that are compared: the first is the base."""

    title: str
    calls: dict[str, Call]


def images(shape: tuple[int, int], dtype: str = "float32") -> tuple[Image, Image]:
    """Return two images with structure, of any size."""
    rng = np.random.default_rng(0)
    y, x = (np.arange(n) for n in shape)
    scene = np.sin(x / 9)[np.newaxis] * np.cos(y / 7)[:, np.newaxis] + np.sin(
        (x[np.newaxis] + 2 * y[:, np.newaxis]) / 31
    )
    return tuple((0.5 + 0.2 * scene + rng.normal(0, 0.02, shape)).astype(dtype) for _ in range(2))  # type: ignore[return-value]


def objectives(shape: tuple[int, int], dtype: str) -> Group:
    """One evaluation of each loss with its gradient, and the moments of one cell, over the dot product."""
    B, A = images(shape, dtype)
    masks = {"reference_mask": np.ones(shape, bool), "moving_mask": np.ones(shape, bool)}
    masks["reference_mask"][::50] = False
    flat_a, flat_b = A.ravel(), B.ravel()
    calls: dict[str, Call] = {"dot product": lambda: np.dot(flat_a, flat_b)}
    for loss in (al.MSE, al.NCC):
        for words, extra in (("", {}), (", both masks", masks)):
            direct, cells = loss(B, A, evaluation="direct", **extra), loss(B, A, **extra)
            calls[f"{loss.__name__} value and gradient{words}"] = _evaluation(direct)
            calls[f"{loss.__name__} moments of a cell{words}"] = _moments(cells)
    return Group(f"{shape[0]} x {shape[1]}, {dtype}, over the dot product of the two images", calls)


def _evaluation(objective: Any) -> Call:
    return lambda: objective.value_and_gradient(*AT)


def _moments(objective: Any) -> Call:
    def call() -> None:
        objective.clear_cache()
        objective.cell(0, 0)

    return call


def autograd(shape: tuple[int, int]) -> Group:
    """Torch's forward and backward pass for the same value and gradient."""
    import torch

    torch.set_num_threads(os.cpu_count() or 1)
    B, A = images(shape)
    ours = al.MSE(B, A, evaluation="direct")
    tensors = [torch.from_numpy(image)[None, None] for image in (B, A)]
    translation = torch.tensor([[2 * AT[0] / shape[1]], [2 * AT[1] / shape[0]]], requires_grad=True)
    eye = torch.eye(2)

    def step() -> None:
        translation.grad = None
        theta = torch.cat([eye, translation], dim=1)[None]
        grid = torch.nn.functional.affine_grid(theta, list(tensors[0].shape), align_corners=False)
        shifted = torch.nn.functional.grid_sample(tensors[1], grid, align_corners=False)
        ((shifted - tensors[0]) ** 2).mean().backward()

    words = f"torch autograd, {torch.get_num_threads()} threads"
    title = f"{shape[0]} x {shape[1]}: value and gradient of MSE, over ours on one thread"
    return Group(title, {"ours": _evaluation(ours), words: step})


def steps(shape: tuple[int, int] = (333, 375)) -> Group:
    """Thirty and a hundred steps of plain descent and Adam, each from a fresh objective."""
    reference, moving = al.datasets.shifted_pair(1.3, -0.7, shape=shape, area=1, dtype="float32")

    def descend(rule: Any, count: int, evaluation: str = "cells") -> Call:
        def call() -> None:
            al.minimise(al.MSE(reference, moving, evaluation=evaluation), rule, steps=count)

        return call

    plain, adam = al.GradientDescent(20.0), al.Adam(0.05)
    return Group(
        f"{shape[0]} x {shape[1]}: steps, over 30 plain ones",
        {
            "plain descent, 30 steps": descend(plain, 30),
            "plain descent, 100 steps": descend(plain, 100),
            "Adam, 30 steps": descend(adam, 30),
            "Adam, 100 steps": descend(adam, 100),
            "plain descent, 30 steps, a pass for each": descend(plain, 30, "direct"),
            "plain descent, 100 steps, a pass for each": descend(plain, 100, "direct"),
        },
    )


def registration(shape: tuple[int, int] = (333, 375)) -> Group:
    """A whole registration beside template matching and the published method."""
    import peers

    reference, moving = al.datasets.shifted_pair(9.3, -6.7, shape=shape, area=1, noise=0.01, dtype="float32")
    bounds = (15.0, 15.0)
    tools = {peer.name: peer for peer in peers.installed()[0]}
    names = ["register", "register, bounded", "matchTemplate", "published (torch)"]
    calls: dict[str, Call] = {n: (lambda t=tools[n]: t(reference, moving, bounds)) for n in names if n in tools}
    return Group(f"{shape[0]} x {shape[1]}: a registration, over ours", calls)


def exhaustive(shape: tuple[int, int] = (333, 375)) -> Group:
    """The exhaustive search over +-15 px, and the transforms in it, over one fused evaluation."""
    from alignment.search import all_lags

    reference, moving = al.datasets.shifted_pair(9.3, -6.7, shape=shape, area=1, noise=0.01, dtype="float32")
    fused = al.NCC(reference, moving, domain="interior", evaluation="direct")
    return Group(
        f"{shape[0]} x {shape[1]}: exhaustive search over +-15 px, over one evaluation of NCC",
        {
            "one evaluation": _evaluation(fused),
            "register, exhaustive": lambda: al.register(reference, moving, method="exhaustive", max_shift=15),
            "register": lambda: al.register(reference, moving, max_shift=15),
            "all whole displacements": lambda: all_lags(reference, moving, max_shift=(15, 15)),
            "three Fourier transforms": lambda: [np.fft.rfft2(reference) for _ in range(3)],
        },
    )


def groups(sizes: list[tuple[int, int]]) -> Iterator[Callable[[], Group]]:
    """Yield what makes each group; the images of one are gone before the next are made."""
    for size in sizes:
        for dtype in ("float32", "float64"):
            yield lambda size=size, dtype=dtype: objectives(size, dtype)
    if importlib.util.find_spec("torch"):
        for size in sizes:
            yield lambda size=size: autograd(size)
    yield from (steps, registration, exhaustive)


def measure(group: Group, rounds: int) -> dict[str, dict[str, float]]:
    """Time all candidates in turn; return their median times and ratios to the first."""
    repeats = {}
    for name, call in group.calls.items():
        call()
        begin = time.perf_counter()
        call()
        repeats[name] = max(1, int(LEAST / max(time.perf_counter() - begin, 1e-7)))
    times: dict[str, list[float]] = {name: [] for name in group.calls}
    for _ in range(rounds):
        for name, call in group.calls.items():
            begin = time.perf_counter()
            for _ in range(repeats[name]):
                call()
            times[name].append((time.perf_counter() - begin) / repeats[name])
    base = np.array(next(iter(times.values())))
    return {
        name: {"seconds": float(np.median(values)), "ratio": float(np.median(np.array(values) / base))}
        for name, values in times.items()
    }


def main(argv: list[str] | None = None) -> int:
    """Measure, print, and store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=[f"{h}x{w}" for h, w in SIZES], metavar="HxW")
    parser.add_argument("--rounds", type=int, default=15, help="turns that every candidate takes (default: 15)")
    parser.add_argument("--only", nargs="+", metavar="PART", help="parts of the titles of groups; default: all")
    parser.add_argument("--json", metavar="FILE")
    arguments = parser.parse_args(argv)
    sizes = [(int(h), int(w)) for h, w in (size.split("x") for size in arguments.sizes)]
    print(f"NumPy {np.__version__}, Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores.")
    results = {}
    for make in tqdm(list(groups(sizes)), unit="group", disable=None):
        group = make()
        if arguments.only and not any(part in group.title for part in arguments.only):
            continue
        results[group.title] = measure(group, arguments.rounds)
        print(f"\n**{group.title}**\n\n| | time | ratio |\n|---|---|---|")
        for name, result in results[group.title].items():
            print(f"| {name} | {1e3 * result['seconds']:.3g} ms | {result['ratio']:.3g} |")
    if not importlib.util.find_spec("torch"):
        print("\ntorch is not installed, its groups are left out; pip install torch")
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
