"""What each piece costs, as ratios within one run, beside what is asked of it, as Markdown.

    python benchmarks/speed.py [--sizes 333x375 1024x1024 3200x3700] [--rounds 15] [--only GROUP ...]
                               [--plate FILE] [--json FILE]

Every group has a base, such as the dot product of the two images: no code can look at both images in less time than it
takes to read them. Candidates take turns, round by round and in an order that rotates, so that a busy machine slows
them all; a ratio is the median over the rounds of a candidate's time over the base's in the same round. Where one
thread of this process does the work, the time is the processor's; where several do, or other processes, it is the
clock's. The first call of each, which compiles or allocates, is not timed, unless it is the thing to be timed. The last
table sets the ratios beside what is asked of them, with their quartiles; where the limit lies between these, the answer
is "not clear".

The full-size plate is made here, as the demonstration's enlarged to 3702 x 9627 pixels with grain of its own, and
stored as a 16-bit TIFF; `--plate FILE` takes a scan instead. `test_speed.py` runs the pieces under pytest-benchmark.
"""

# ruff: noqa: E402  (the environment must be set before NumPy is loaded)
from __future__ import annotations

import os

# the bare dot product is the limit of one core; BLAS would take several
for _name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import argparse
import functools
import importlib.util
import itertools
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import growth
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

import alignment as al
from alignment.lengths import fast_length

Image = NDArray[Any]
Call = Callable[[], object]
SIZES = ((333, 375), (1024, 1024), (3200, 3700))
FULL = SIZES[-1]
PLATE = (9627, 3702)  # height and width in pixels of a full-size scan
AT = (0.3, 0.6)  # px, inside a cell
GROUPS = (
    "objectives", "refinement", "threads", "autograd", "published", "steps", "registration", "exhaustive", "starting",
    "compiling", "plate", "memory",
)  # fmt: skip
# seconds that one timing should last at least: shorter calls are repeated
LEAST = 2e-3


class Asked(NamedTuple):
    """What is asked of a candidate: a ratio to another of the group, at the most, or at least."""

    name: str
    over: str
    limit: float
    at_least: bool = False


class Group(NamedTuple):
    """Pieces that are compared: the first is the base."""

    title: str
    calls: dict[str, Call]
    asked: tuple[Asked, ...] = ()
    clock: Callable[[], float] | None = time.process_time  # None: what a call returns is the number, in bytes
    rounds: int = 1000  # at the most
    warm: bool = True
    note: str = ""


def images(shape: tuple[int, int], dtype: str = "float32") -> tuple[Image, Image]:
    """Return two images with structure, of any size."""
    return growth.waves(shape).astype(dtype), growth.waves(shape, *growth.MOVE).astype(dtype)


def objectives(shape: tuple[int, int], dtype: str) -> Group:
    """One evaluation of each loss with its gradient, and the moments of one cell, over the dot product."""
    B, A = images(shape, dtype)
    masks = {"reference_mask": np.ones(shape, bool), "moving_mask": np.ones(shape, bool)}
    masks["reference_mask"][::50] = False
    flat_a, flat_b = A.ravel(), B.ravel()
    calls: dict[str, Call] = {"dot product": lambda: np.dot(flat_a, flat_b)}
    asked = []
    limits = {
        ("float32", FULL): (1.6, 1.6, 1.8, 2.2),
        ("float64", FULL): (1.8, 1.8, 1.8, 1.8),
        ("float32", SIZES[1]): (1.6,),
        ("float32", SIZES[0]): (2.5,),
    }.get((dtype, shape), ())
    names = []
    for loss in (al.MSE, al.NCC):
        for words, extra in (("", {}), (", both masks", masks)):
            direct, cells = loss(B, A, evaluation="direct", **extra), loss(B, A, **extra)
            pair = f"{loss.__name__} value and gradient", f"{loss.__name__} moments of a cell"
            calls[pair[0] + words] = _evaluation(direct)
            calls[pair[1] + words] = _moments(cells)
            if words:
                asked += [Asked(name + words, name, 1.5) for name in pair]
        names += pair
    asked = [Asked(name, "dot product", limit) for name, limit in zip(names, limits, strict=False)] + asked
    return Group(f"{_size(shape)}, {dtype}, over the dot product of the two images", calls, tuple(asked))


def _size(shape: tuple[int, int]) -> str:
    return f"{shape[0]} x {shape[1]}"


def _evaluation(objective: Any) -> Call:
    return lambda: objective.value_and_gradient(*AT)


def _moments(objective: Any) -> Call:
    def call() -> None:
        objective.clear_cache()
        objective.cell(0, 0)

    return call


def refinement(shape: tuple[int, int] = FULL) -> Group:
    """The last steps with the Gaussian kernel, its width and the error bars included, over the dot product."""
    from alignment.bandwidth import choose
    from alignment.pyramid import Masked
    from alignment.refinement import refine

    noise = np.random.default_rng(0)
    pair = [Masked(image + noise.normal(0, 0.02, shape).astype(np.float32)) for image in images(shape)]
    dx, dy = growth.MOVE
    window = 40, shape[0] - 40, 40, shape[1] - 40
    flat = [image.image.ravel() for image in pair]

    def refined(kind: Any, start: tuple[float, float]) -> Any:
        choice = choose(*pair, start, window)
        assert choice is not None
        return refine(kind, *pair, start, inner=window, outer=window, **choice._asdict())

    calls: dict[str, Call] = {"dot product": lambda: np.dot(*flat)}
    # from as near as the search by exact cells leaves it
    calls |= {f"{k.__name__}, the last steps": lambda k=k: refined(k, (dx + 0.03, dy - 0.03)) for k in (al.MSE, al.NCC)}
    ends = [refined(k, (dx + 0.03, dy - 0.03)) for k in (al.MSE, al.NCC)]
    note = (
        "Off by "
        + ", ".join(f"{np.hypot(end.dx - dx, end.dy - dy):.5f}" for end in ends)
        + " px, after "
        + (", ".join(str(end.passes) for end in ends) + " passes.")
    )
    asked = tuple(Asked(name, "dot product", 30) for name in list(calls)[1:])
    return Group(f"{_size(shape)}, float32: the last steps, over the dot product of the two images", calls, asked,
                 rounds=15, note=note)  # fmt: skip


def threads(shape: tuple[int, int]) -> Group:
    """Two threads over one: a pass, and a whole registration."""
    B, A = images(shape)
    calls: dict[str, Call] = {}
    for loss in (al.MSE, al.NCC):
        for count in (1, 2):
            objective = loss(B, A, evaluation="direct", threads=count)
            calls[f"{loss.__name__} value and gradient, {_threads(count)}"] = _evaluation(objective)
    for count in (1, 2):
        calls[f"register, {_threads(count)}"] = functools.partial(al.register, B, A, threads=count)
    names = list(calls)
    limit = 0.6 if shape == FULL else 1.0
    asked = tuple(Asked(two, one, limit) for one, two in zip(names[::2], names[1::2], strict=True))
    return Group(f"{_size(shape)}: two threads", calls, asked, clock=time.perf_counter)


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def autograd(shape: tuple[int, int]) -> Group:
    """Torch's forward and backward pass for the same value and gradient."""
    import torch

    torch.set_num_threads(2)
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

    def alone() -> None:
        torch.set_num_threads(1)
        step()
        torch.set_num_threads(2)

    words = "torch autograd, 2 threads"
    asked = () if shape == SIZES[1] else (Asked(words, "ours, 1 thread", 100, at_least=True),)
    title = f"{_size(shape)}: value and gradient of MSE by automatic differentiation"
    calls = {"ours, 1 thread": _evaluation(ours), words: step, "torch autograd, 1 thread": alone}
    return Group(title, calls, asked, clock=time.perf_counter, rounds=7 if shape == FULL else 1000)


def published(plate: Image | None) -> Group:
    """The published method for both channels of a plate of 400 x 1024 pixels, over ours to convergence."""
    if plate is None:
        truths = ((0.6, -0.8), (-0.7, 0.9))
        pairs = [tuple(al.datasets.shifted_pair(*t, shape=(341, 400), area=1, noise=0.01, dtype="float32", seed=n))
                 for n, t in enumerate(truths)]  # fmt: skip
    else:
        from alignment.experiment import published_exposures

        cut = published_exposures(plate)
        grey = np.asarray(plate, np.float32) / np.float32(np.iinfo(plate.dtype).max)
        blue, green, red = (grey[top:bottom, left:right] for top, bottom, left, right in cut.values())
        pairs = [(green, red), (green, blue)]
    pairs = [tuple(np.ascontiguousarray(image) for image in pair) for pair in pairs]

    def registered() -> list[Any]:
        return [al.register(B, A) for B, A in pairs]

    def by_newton() -> list[Any]:
        return [al.minimise(al.NCC(B, A, domain="interior"), al.Newton(), tolerance=1e-4, steps=50) for B, A in pairs]

    def by_hand() -> list[Any]:
        from alignment.experiment import AsProgrammed

        rule = al.Adam(0.001)
        return [al.minimise(AsProgrammed(B, A, loss="ncc"), rule, steps=30, units="normalised") for B, A in pairs]

    calls: dict[str, Call] = {"Newton from (0, 0)": by_newton, "register": registered, "published, by hand": by_hand}
    asked: tuple[Asked, ...] = ()
    ends = {name: call() for name, call in calls.items()}
    if importlib.util.find_spec("torch"):
        import peers
        import torch

        torch.set_num_threads(1)  # two of them wait for each other on a busy machine
        name = "published (torch, 1 thread), 30 steps"
        calls[name] = lambda: [peers.published(B, A, (0, 0)) for B, A in pairs]
        ends[name] = calls[name]()
        asked = tuple(Asked(name, ours, 100, at_least=True) for ours in ("Newton from (0, 0)", "register"))
    apart = max(np.hypot(n.dx - r.dx, n.dy - r.dy) for n, r in zip(*list(ends.values())[:2], strict=True))
    inside = apart < 0.3  # px; a false minimum is quickly reached
    if not inside:
        asked = asked[1:]
    note = "Ends: " + "; ".join(
        f"{name} " + ", ".join(f"({end.dx:+.2f}, {end.dy:+.2f})" for end in found) for name, found in ends.items()
    )
    if not inside:
        note += "; (0, 0) is outside the basin, so that nothing is said of Newton's method"
    if plate is None:
        note += f"; truth {', '.join(f'({x:+.2f}, {y:+.2f})' for x, y in truths)}."
    title = f"both channels of a plate, {_size(pairs[0][0].shape)} each"
    return Group(title, calls, asked, note=note)


def steps(shape: tuple[int, int] = (333, 375)) -> Group:
    """Thirty and a hundred steps of plain descent and Adam, each from a fresh objective."""
    reference, moving = al.datasets.shifted_pair(1.3, -0.7, shape=shape, area=1, dtype="float32")

    def descend(rule: Any, count: int, evaluation: str = "cells") -> Call:
        def call() -> None:
            al.minimise(al.MSE(reference, moving, evaluation=evaluation), rule, steps=count)

        return call

    plain, adam = al.GradientDescent(20.0), al.Adam(0.05)
    return Group(
        f"{_size(shape)}: steps, over 30 plain ones",
        {
            "plain descent, 30 steps": descend(plain, 30),
            "plain descent, 100 steps": descend(plain, 100),
            "Adam, 30 steps": descend(adam, 30),
            "Adam, 100 steps": descend(adam, 100),
            "plain descent, 30 steps, a pass for each": descend(plain, 30, "direct"),
            "plain descent, 100 steps, a pass for each": descend(plain, 100, "direct"),
        },
        (
            Asked("plain descent, 100 steps", "plain descent, 30 steps", 1.2),
            Asked("Adam, 100 steps", "Adam, 30 steps", 1.2),
        ),
    )


def registration(shape: tuple[int, int] = (333, 375)) -> Group:
    """A whole registration beside template matching and the published method."""
    import peers

    reference, moving = al.datasets.shifted_pair(9.3, -6.7, shape=shape, area=1, noise=0.01, dtype="float32")
    bounds = (15.0, 15.0)
    tools = {peer.name: peer for peer in peers.installed()[0]}
    names = ["register", "register, bounded", "matchTemplate", "published (torch)"]
    calls: dict[str, Call] = {n: (lambda t=tools[n]: t(reference, moving, bounds)) for n in names if n in tools}
    return Group(f"{_size(shape)}: a registration, over ours", calls, clock=time.perf_counter)


def exhaustive(shape: tuple[int, int] = (333, 375)) -> Group:
    """The lowest point of all the cells within +-15 px, and the transforms in it, over one fused evaluation."""
    from alignment.exhaustive import CellBox

    reference, moving = al.datasets.shifted_pair(9.3, -6.7, shape=shape, area=1, noise=0.01, dtype="float32")
    domain = (16, shape[0] - 16, 16, shape[1] - 16)
    fused = al.NCC(reference, moving, domain=domain, evaluation="direct")
    objective = al.NCC(reference, moving, domain=domain)
    field, window = np.zeros((shape[0] - 2, shape[1] - 2)), np.zeros((shape[0] - 32, shape[1] - 32))
    length = [fast_length(n) for n in field.shape]
    spectrum = np.fft.rfft2(field, length)
    once = _evaluation(fused)

    def transforms() -> None:
        np.fft.rfft2(field, length)
        np.fft.rfft2(window, length)
        np.fft.irfft2(spectrum, length)

    def allowed() -> None:
        transforms()
        for _ in range(10):
            once()

    return Group(
        f"{_size(shape)}: exhaustive search over +-15 px, over one evaluation of NCC",
        {
            "one evaluation": once,
            "global_minimum": lambda: al.global_minimum(objective, max_shift=15),
            "all cells of the box": lambda: CellBox(objective, (15, 15)),
            "its three Fourier transforms": transforms,
            "these and ten evaluations": allowed,
            "register": lambda: al.register(reference, moving, max_shift=15),
            "register, exhaustive": lambda: al.register(reference, moving, method="exhaustive", max_shift=15),
        },
        (Asked("global_minimum", "these and ten evaluations", 1.0),),
    )


def python(*words: str, env: dict[str, str] | None = None) -> Call:
    """Return what runs an interpreter of its own on this package."""
    home = str(Path(al.__file__).parents[1])
    path = os.pathsep.join([home, *filter(None, [os.environ.get("PYTHONPATH")])])

    def call() -> None:
        subprocess.run(
            [sys.executable, *words], env={**os.environ, "PYTHONPATH": path, **(env or {})},
            check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip

    return call


def starting() -> Group:
    """A new interpreter that imports the package, or prints what takes no computing."""
    calls = {
        'python -c "import numpy"': python("-c", "import numpy"),
        'python -c "import alignment"': python("-c", "import alignment"),
        "alignment --help": python("-m", "alignment", "--help"),
        "alignment --version": python("-m", "alignment", "--version"),
        "python -c pass": python("-c", "pass"),
    }
    base, *others = calls
    asked = tuple(Asked(name, base, limit) for name, limit in zip(others, (2.0, 1.5, 1.5), strict=False))
    return Group("a new interpreter", calls, asked, clock=time.perf_counter)


def compiling(folder: Path, plate: Path) -> Group:
    """The first `alignment colorize` ever, with nothing compiled, over the second."""
    number = itertools.count()
    kept = str(folder / "kept")

    def colorize(cache: str | None) -> None:
        n = next(number)
        env = {"NUMBA_CACHE_DIR": cache or str(folder / f"cache {n}")}
        python("-m", "alignment", "colorize", str(plate), "-o", str(folder / f"{n}.tif"), "-q", env=env)()

    colorize(kept)
    calls = {"second": lambda: colorize(kept), "first, empty cache": lambda: colorize(None)}
    asked = (Asked("first, empty cache", "second", 6),)
    return Group("alignment colorize of a small plate", calls, asked, time.perf_counter, rounds=3, warm=False)


def full_plate(file: Path) -> Group:
    """A plate of full size: reading its file, registering its channels, everything."""
    from alignment.scans import block_mean, grey

    plate = grey(al.read_image(file))
    found = al.colorize(plate)
    places = list(found.exposures.values())
    height, width = (min(r[k + 1] - r[k] for r in places) for k in (0, 2))
    options = {"features": "edges", "max_shift": min(height, width) / 5}

    def forget() -> None:
        with open(file, "rb") as opened:
            os.fsync(opened.fileno())
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def from_disk() -> None:
        forget()
        al.read_image(file)

    def register(factor: int) -> None:
        cut = {n: block_mean(plate[r[0] : r[0] + height, r[2] : r[2] + width], factor)
               for n, r in found.exposures.items()}  # fmt: skip
        for name in ("red", "blue"):
            al.register(cut["green"], cut[name], features="edges", max_shift=options["max_shift"] / factor)

    reading, stored = "reading the 16-bit TIFF, file in memory", "reading the 16-bit TIFF, from the disk"
    calls: dict[str, Call] = {reading: lambda: al.read_image(file)}
    if hasattr(os, "posix_fadvise"):
        calls[stored] = from_disk
    both = {1: "registering both channels, full size", 2: "registering both channels, half size"}
    for factor, name in both.items():
        calls[name] = functools.partial(register, factor)
    calls["colorize, all of it, array to array"] = lambda: al.colorize(plate)
    asked = tuple(Asked(name, base, 1.0) for name in both.values() for base in (stored, reading) if base in calls)
    return Group(
        f"a plate of {plate.shape[1]} x {plate.shape[0]} px, 16 bits, over reading it", calls, asked,
        clock=time.perf_counter, rounds=5, note=f"colorize: {found.message}",
    )  # fmt: skip


def memory(file: Path) -> Group:
    """The peak of memory over a plate of full size, each in a process of its own."""
    shape = al.read_image(file).shape
    inside = functools.cache(lambda: growth.in_a_child({"what": "colorizing", "file": str(file)}))
    outside = functools.cache(lambda: growth.in_a_child({"what": "commanding", "file": str(file)}))
    base = "the plate as float32"
    calls: dict[str, Call] = {
        base: lambda: 4 * shape[0] * shape[1],
        "the plate as it is read": lambda: inside()["given"],
        "colorize, beyond the plate": lambda: inside()["resident"],
        "colorize, NumPy's and Python's alone": lambda: inside()["traced"],
        "alignment colorize, beyond a small plate's": lambda: outside()["resident"],
        "alignment colorize, the whole process": lambda: outside()["peak"],
    }
    asked = tuple(Asked(name, base, 3) for name in list(calls)[2::2] + list(calls)[-1:])
    return Group("peak memory on a plate of full size", calls, asked, clock=None, rounds=1, warm=False)


def make_plate(folder: Path, given: Image | None) -> Path:
    """Write a full-size plate as a 16-bit TIFF without compression, unless there is one, and return its name."""
    file = folder / "plate.tif"
    if file.exists():
        return file
    if given is None:
        from PIL import Image as Pillow

        small = al.datasets.demo_plate(grain=0.0).plate.astype(np.float32)
        given = np.array(Pillow.fromarray(small).resize(PLATE[::-1], Pillow.Resampling.BICUBIC))
        rng = np.random.default_rng(0)
        for row in range(0, PLATE[0], 256):
            rows = given[row : row + 256]
            rows += 500 * rng.standard_normal(rows.shape, np.float32)
        given = given.clip(0, 65535).astype(np.uint16)
    al.write_image(file, given if given.dtype == np.uint16 else given.astype(np.uint16) * 257)
    return file


def small_plate(folder: Path, given: Image | None) -> Path:
    """Write a small plate, the demonstration's unless one is given, and return its name."""
    file = folder / "small plate.tif"
    if not file.exists():
        al.write_image(file, al.datasets.demo_plate().plate if given is None else given)
    return file


def groups(
    sizes: list[tuple[int, int]], folder: Path, plate: Image | None = None
) -> Iterator[tuple[str, Callable[[], Group]]]:
    """Yield name and maker of each group; the images of one are gone before the next are made."""
    large = plate if plate is not None and max(plate.shape) > 3000 else None
    small = plate if large is None else None
    for size in sizes:
        for dtype in ("float32", "float64"):
            yield "objectives", functools.partial(objectives, size, dtype)
    if FULL in sizes:
        yield "refinement", refinement
    for size in sizes:
        yield "threads", functools.partial(threads, size)
    if importlib.util.find_spec("torch"):
        for size in sizes:
            yield "autograd", functools.partial(autograd, size)
    yield "published", lambda: published(small)
    yield from (("steps", steps), ("registration", registration), ("exhaustive", exhaustive), ("starting", starting))
    yield "compiling", lambda: compiling(folder, small_plate(folder, small))
    yield "plate", lambda: full_plate(make_plate(folder, large))
    if growth.STATUS.exists():
        yield "memory", lambda: memory(make_plate(folder, large))


def measure(group: Group, rounds: int) -> dict[str, list[float]]:
    """Time all candidates in turn; return the seconds, or bytes, of each in each round."""
    clock = group.clock
    if clock is None:
        return {name: [float(call())] for name, call in group.calls.items()}  # type: ignore[arg-type]
    repeats = dict.fromkeys(group.calls, 1)
    for name, call in group.calls.items() if group.warm else ():
        call()
        begin = time.perf_counter()
        call()
        repeats[name] = max(1, int(LEAST / max(time.perf_counter() - begin, 1e-7)))
    times: dict[str, list[float]] = {name: [] for name in group.calls}
    for number in range(min(rounds, group.rounds)):
        names = list(times)
        for place in range(len(names)):
            name = names[(number + place) % len(names)]
            call = group.calls[name]
            if repeats[name] > 1:
                call()  # so that short calls find their images in the cache, whichever ran before
            begin = clock()
            for _ in range(repeats[name]):
                call()
            times[name].append((clock() - begin) / repeats[name])
    return times


def quartiles(times: dict[str, list[float]], name: str, over: str) -> list[float]:
    """Return the quartiles of the ratios, round by round: lower, median, upper."""
    return [float(q) for q in np.quantile(np.array(times[name]) / np.array(times[over]), (0.25, 0.5, 0.75))]


def judge(asked: Asked, times: dict[str, list[float]]) -> dict[str, Any]:
    """Set a ratio beside what is asked of it."""
    low, ratio, high = quartiles(times, asked.name, asked.over)
    holds = ratio >= asked.limit if asked.at_least else ratio <= asked.limit
    answer = "not clear" if low < asked.limit < high else "yes" if holds else "NO"
    return {**asked._asdict(), "ratio": ratio, "quartiles": [low, high], "holds": answer}


def tell(group: Group, times: dict[str, list[float]]) -> dict[str, Any]:
    """Print a group's table, and return it for the record."""
    base = next(iter(times))
    print(f"\n**{group.title}**\n\n| | {'time' if group.clock else 'memory'} | ratio |\n|---|---|---|")
    rows = {}
    for name, values in times.items():
        rows[name] = {"median": float(np.median(values)), "ratio": quartiles(times, name, base)[1]}
        value = rows[name]["median"]
        words = growth.seconds_in_words(value) if group.clock else growth.bytes_in_words(value)
        print(f"| {name} | {words} | {rows[name]['ratio']:.3g} |")
    if group.note:
        print(f"\n{group.note}")
    sys.stdout.flush()
    return {"rows": rows, "asked": [judge(asked, times) for asked in group.asked], "note": group.note}


def conclude(results: dict[str, Any]) -> None:
    """Print all that is asked, what was measured, and whether it holds."""
    print("\n**What is asked, and what was measured**\n")
    print("| where | ratio | asked | measured | quartiles | holds |\n|---|---|---|---|---|---|")
    counts: dict[str, int] = {}
    for title, result in results.items():
        for a in result["asked"]:
            limit = f"at {'least' if a['at_least'] else 'most'} {a['limit']:g}"
            low, high = a["quartiles"]
            print(
                f"| {title.split(', over')[0]} | {a['name']} / {a['over']} | {limit} | {a['ratio']:.3g} "
                f"| {low:.3g} to {high:.3g} | {a['holds']} |"
            )
            counts[a["holds"]] = counts.get(a["holds"], 0) + 1
    print("\nHolds: " + ", ".join(f"{answer} {count}" for answer, count in sorted(counts.items())) + ".")


def busy() -> str:
    """Return how busy the machine is, as far as it says."""
    return f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores" if hasattr(os, "getloadavg") else "load unknown"


def main(argv: list[str] | None = None) -> int:
    """Measure, print, and store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=[f"{h}x{w}" for h, w in SIZES], metavar="HxW")
    parser.add_argument("--rounds", type=int, default=15, help="turns that every candidate takes (default: 15)")
    parser.add_argument(
        "--only", nargs="+", metavar="GROUP", default=[], choices=GROUPS,
        help=", ".join(GROUPS) + "; default: all",
    )  # fmt: skip
    parser.add_argument("--plate", metavar="FILE", help="a scan; its size decides which of the plates it stands for")
    parser.add_argument("--json", metavar="FILE")
    arguments = parser.parse_args(argv)
    sizes = [(int(h), int(w)) for h, w in (size.split("x") for size in arguments.sizes)]
    plate = None if arguments.plate is None else al.read_image(arguments.plate)
    if plate is not None and (plate.ndim != 2 or plate.dtype.kind != "u"):
        raise SystemExit(f"{arguments.plate} has shape {plate.shape} and holds {plate.dtype}; give a grey scan")
    began = busy()
    print(f"NumPy {np.__version__}, Python {platform.python_version()}, {platform.machine()}, {began} at the start.")
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, make in tqdm(list(groups(sizes, Path(folder), plate)), unit="group", disable=None):
            if arguments.only and name not in arguments.only:
                continue
            group = make()
            results[group.title] = tell(group, measure(group, arguments.rounds))
            del group
    conclude(results)
    print(f"\n{began} at the start, {busy()} at the end.")
    if not importlib.util.find_spec("torch"):
        print("torch is not installed, its groups are left out; pip install torch")
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
