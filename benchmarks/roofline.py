"""How near the kernels come to what one core can do, as Markdown and as one figure.

    python benchmarks/roofline.py [--size 3200x3700] [--dtypes float32 float64] [--rounds 9] [--figure roofline.png]

A core has two limits: how many bytes it can fetch per second (measured: a dot product and a copy of arrays too large
for the cache), and how many operations it can do per second (measured: multiply-adds on numbers that stay in
registers). A kernel that does I operations for each byte it moves cannot do more than min(peak, I x bandwidth) of them
per second. That is its roof; the tables say what each kernel does of it. Candidates take turns, the limits among them,
times are the
processor's, and where a kernel stands is the median over the rounds, so that a busy machine matters less.

The operations per pixel were counted by hand, in the comments of `KERNELS`, and then by running the very same source on
numbers that count (`--count`, in a process where nothing is compiled): if the two differ, the program says so and
fails.
"""

# ruff: noqa: E402  (the environment must be set before NumPy is loaded)
from __future__ import annotations

import os

for _name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

import alignment as al
from alignment import _kernels

Image = NDArray[Any]
LARGE = 1 << 25  # elements of an array that no cache holds
LINKS = 6  # multiply-adds in each of the eight chains of the peak


class Kernel(NamedTuple):
    """A loop over pixels.

    Attributes
    ----------
    flops : int
        Additions, subtractions, multiplications and roots for each pixel, counted by hand.
    read, written : int
        Images that pass through memory.
    """

    flops: int
    read: int
    written: int


# Rows of the moving image are used twice, as the lower and then as the upper neighbours, and come from the cache the
# second time: an image passes through memory once. Sums, and row buffers, stay in the cache. A row's share of work
# (adding its sums up) is nothing beside its thousands of pixels and is left out. Writing a line of the cache that was
# not there costs a read besides; like everybody we do not count it, and kernels that write seem a little slow for it.
KERNELS = {
    # w0 p + w1 q + w2 s + w3 t: 4 products, 3 sums
    "interpolate": Kernel(7, 1, 1),
    # t - q and s - p: 2; p + b (s - p): 2; its counterpart and the difference, the slope along x: 3; the slope along y:
    # 3; the error: 3; three products that are added up: 6
    "sums_mse": Kernel(19, 2, 0),
    # as far as the slopes: 10; u: 3; v: 1; four plain sums: 4; seven sums of products: 14
    "sums_ncc": Kernel(32, 2, 0),
    # four differences: 4; ten sums of products: 20
    "cell_moments_mse": Kernel(24, 2, 0),
    # five differences: 5; fifteen sums of products (10 + 4 + 1): 30; five plain sums: 5
    "cell_moments_ncc": Kernel(40, 2, 0),
    # two sets of nine taps, as one along each axis: 9 x (product, sum) each
    "filter_separably": Kernel(36, 1, 1),
    # two differences, two squares, a sum, a root, a half
    "gradient_magnitude": Kernel(7, 1, 1),
    # five weighted sums of nine (9 products, 8 sums), twice down and three times across, of two images: 170; then u, v:
    # 2; su, sv, sx, sy: 4; eleven sums of products: 22
    "sums_gaussian": Kernel(198, 2, 0),
}


def calls(shape: tuple[int, int], dtype: Any, counting: type | None = None) -> dict[str, Callable[[], object]]:
    """Return one call of each kernel over all of two images but a border of eight pixels.

    With a class of numbers that count, images of these.
    """
    height, width = shape[0] + 16, shape[1] + 16
    images = np.random.default_rng(0).random((2, height, width), np.float32).astype(np.float64 if counting else dtype)
    kind: Any = float if counting else np.dtype(dtype).type
    if counting:
        images = np.frompyfunc(counting, 1, 1)(images)
    B, A = images
    inside = (8, 8 + shape[0], 8, 8 + shape[1])
    rectangles = np.array([inside])
    a, b, u0, v0 = (kind(number) for number in (0.3, 0.6, 0.5, 0.5))
    if counting:
        u0, v0 = counting(0.5), counting(0.5)
    out = np.empty(shape, A.dtype)
    weights = tuple(kind(n) for n in ((1 - a) * (1 - b), a * (1 - b), (1 - a) * b, a * b))
    rows, columns = (np.arange(8, 8 + n) for n in shape)
    nine = np.full(9, 1 / 9, A.dtype)
    taps = np.full((2, 9), 1 / 9, A.dtype)
    seen = np.array([[0, inside[1] - inside[0], 0, inside[3] - inside[2]]])
    origins = np.array([[4, 4], [4, 4]])
    none = None, None
    return {
        "interpolate": lambda: _kernels.interpolate(A, rows, rows + 1, columns, columns + 1, weights, out),
        "sums_mse": lambda: _kernels.sums_mse(B, A, rectangles, (0, 0), (a, b), *none),
        "sums_ncc": lambda: _kernels.sums_ncc(B, A, rectangles, (0, 0), (a, b), (u0, v0), *none),
        "cell_moments_mse": lambda: _kernels.cell_moments_mse(B, A, inside, (0, 0), *none),
        "cell_moments_ncc": lambda: _kernels.cell_moments_ncc(B, A, inside, (0, 0), (u0, v0), *none),
        "filter_separably": lambda: _kernels.filter_separably(A, nine, nine, (4, 4), 1, out),
        "gradient_magnitude": lambda: _kernels.gradient_magnitude(A, np.empty_like(A) if counting else _scratch(A)),
        "sums_gaussian": lambda: _kernels.sums_gaussian(
            (B, A), None, seen, origins, (taps, taps), (taps, taps), (v0, u0), *none
        ),
    }


_SCRATCH: dict[Any, Image] = {}


def _scratch(image: Image) -> Image:
    """Return an array like the image, the same each time: fresh memory is slow the first time it is written to."""
    key = image.shape, image.dtype
    if key not in _SCRATCH:
        _SCRATCH[key] = np.zeros_like(image)
    return _SCRATCH[key]


class Counting:
    """A number that counts what is done to any of its kind."""

    done = 0

    def __init__(self, value: float) -> None:
        self.value = float(value)

    def __float__(self) -> float:
        return self.value

    def _counted(self, value: float) -> Counting:
        Counting.done += 1
        return Counting(value)

    def __add__(self, other: Any) -> Counting:
        return self._counted(self.value + float(other))

    def __sub__(self, other: Any) -> Counting:
        return self._counted(self.value - float(other))

    def __rsub__(self, other: Any) -> Counting:
        return self._counted(float(other) - self.value)

    def __mul__(self, other: Any) -> Counting:
        return self._counted(self.value * float(other))

    def sqrt(self) -> Counting:
        return self._counted(self.value**0.5)

    __radd__, __rmul__ = __add__, __mul__


def count() -> dict[str, float]:
    """Return the operations per pixel of each kernel as its source does them: the growth from one width to a wider."""
    if not numba.config.DISABLE_JIT:
        raise SystemExit("operations are counted where nothing is compiled; set NUMBA_DISABLE_JIT=1")
    rows, widths = 6, (40, 50)
    counts: dict[str, list[int]] = {}
    for width in widths:
        for name, call in calls((rows, width), object, Counting).items():
            Counting.done = 0
            call()
            counts.setdefault(name, []).append(Counting.done)
    # one works on all rows of what it is given; what is the same at both widths, such as a row's sums, drops out
    every = {name: rows + 16 if name == "gradient_magnitude" else rows for name in counts}
    return {name: (many - few) / (widths[1] - widths[0]) / every[name] for name, (few, many) in counts.items()}


@numba.njit(fastmath={"contract"}, error_model="numpy")  # with leave to reassociate, the chains would be folded away
def multiply_add(x: Any, out: Any, a: Any, b: Any, rounds: int) -> None:
    """Do 8 x LINKS multiply-adds on each element; of eight chains, so that none need wait for its own last result."""
    for _ in range(rounds):
        for i in range(x.shape[0]):
            v = x[i]
            c0, c1, c2, c3, c4, c5, c6, c7 = v, v + a, v + b, v - a, v - b, v * a, v * b, v + v
            for _link in range(LINKS):
                c0 = c0 * a + b
                c1 = c1 * a + b
                c2 = c2 * a + b
                c3 = c3 * a + b
                c4 = c4 * a + b
                c5 = c5 * a + b
                c6 = c6 * a + b
                c7 = c7 * a + b
            out[i] = ((c0 + c1) + (c2 + c3)) + ((c4 + c5) + (c6 + c7))


def limits(dtype: str) -> dict[str, Callable[[], float]]:
    """Return what measures each limit: calls that return the work they do, in bytes or operations."""
    x, y = (np.random.default_rng(0).random(LARGE, np.float32).astype(dtype) for _ in range(2))
    few, out = x[:1024].copy(), np.zeros(1024, dtype)
    a, b = np.dtype(dtype).type(0.5), np.dtype(dtype).type(0.25)

    def dot() -> float:
        np.dot(x, y)
        return 2.0 * x.nbytes

    def copy() -> float:
        np.copyto(y, x)
        return 2.0 * x.nbytes

    def peak() -> float:
        multiply_add(few, out, a, b, 1000)
        return 1000 * len(few) * (16 * LINKS + 14)

    return {"dot": dot, "copy": copy, "peak": peak}


class Standing(NamedTuple):
    """Where a kernel stands."""

    name: str
    seconds: float
    intensity: float
    flops: float
    bytes_: float
    share: float
    over_dot: float


def measure(shape: tuple[int, int], dtype: str, rounds: int) -> tuple[dict[str, float], list[Standing]]:
    """Measure the limits and the kernels, in turn; return rates per second, and where each kernel stands."""
    ceilings, kernels = limits(dtype), calls(shape, dtype)
    flat = np.random.default_rng(1).random((2, shape[0] * shape[1]), np.float32).astype(dtype)
    both: dict[str, Callable[[], Any]] = {**ceilings, "images": lambda: np.dot(*flat), **kernels}
    times: dict[str, list[float]] = {name: [] for name in both}
    work = {name: call() for name, call in both.items()}
    for _ in range(rounds):
        for name, call in both.items():
            begun = time.process_time()
            call()
            times[name].append(time.process_time() - begun)
    taken = {name: np.array(values) for name, values in times.items()}
    rates = {name: float(np.median(work[name] / taken[name])) for name in ceilings}
    size, pixels = np.dtype(dtype).itemsize, shape[0] * shape[1]
    standings = []
    for name, kernel in KERNELS.items():
        intensity = kernel.flops / (size * (kernel.read + kernel.written))
        # the bandwidth of the same round: of reading, or where an image is written as well, of copying
        fetch = ceilings["copy" if kernel.written else "dot"].__name__
        bandwidth = work[fetch] / taken[fetch]
        flops = kernel.flops * pixels / taken[name]
        roof = np.minimum(intensity * bandwidth, work["peak"] / taken["peak"])
        standings.append(
            Standing(
                name,
                float(np.median(taken[name])),
                intensity,
                float(np.median(flops)),
                float(np.median(flops / intensity)),
                float(np.median(flops / roof)),
                float(np.median(taken[name] / taken["images"])),
            )
        )
    return rates, standings


def tell(shape: tuple[int, int], dtype: str, rates: dict[str, float], standings: list[Standing]) -> None:
    """Print the limits and the table of the kernels."""
    ridge = rates["peak"] / rates["dot"]
    print(f"\n**{dtype}, {shape[0]} x {shape[1]}, one core**\n")
    print("| reading (dot product) | copying, both ways | multiply-adds | as fast as memory below |")
    print("|---|---|---|---|")
    print(
        f"| {rates['dot'] / 1e9:.1f} GB/s | {rates['copy'] / 1e9:.1f} GB/s | {rates['peak'] / 1e9:.1f} Gflop/s "
        f"| {ridge:.1f} flops per byte |\n"
    )
    print(
        "| kernel | flops per pixel | flops per byte | time | GB/s | Gflop/s | of its roof | over the dot product "
        "| limit |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for s in standings:
        kernel = KERNELS[s.name]
        bandwidth = rates["copy" if kernel.written else "dot"]
        limit = "memory" if s.intensity * bandwidth < rates["peak"] else "arithmetic"
        print(
            f"| `{s.name}` | {kernel.flops} | {s.intensity:.2f} | {1e3 * s.seconds:.3g} ms | {s.bytes_ / 1e9:.1f} "
            f"| {s.flops / 1e9:.1f} | {s.share:.0%} | {s.over_dot:.2f} | {limit} |"
        )


def draw(results: dict[str, tuple[dict[str, float], list[Standing]]], file: str) -> None:
    """Draw the roof and where the kernels stand under it, a panel for each dtype."""
    from alignment import plots
    from alignment.plots.style import INK, SIZES, name_axes

    figure = plots.new_figure(6.8 * len(results), 5.2)
    figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.08)
    for number, (dtype, (rates, standings)) in enumerate(results.items()):
        ax = figure.add_subplot(1, len(results), number + 1)
        x = np.geomspace(0.3, 60, 200)
        peak = rates["peak"] / 1e9
        for name, words, line in (("dot", "reading", "-"), ("copy", "copying", ":")):
            roof = np.minimum(x * rates[name] / 1e9, peak)
            ax.loglog(x, roof, line, color=INK, linewidth=1.6, label=f"{words}: {rates[name] / 1e9:.1f} GB/s")
        ax.text(58, peak * 1.06, f"multiply-adds: {peak:.0f} Gflop/s", ha="right", va="bottom", fontsize=10, color=INK)
        for place, s in enumerate(sorted(standings, key=lambda s: s.intensity)):
            writes = KERNELS[s.name].written > 0
            again = place >= len(plots.CYCLE)
            ax.plot(
                s.intensity, s.flops / 1e9, "^" if writes else "o", markersize=8,
                color=plots.CYCLE[place % len(plots.CYCLE)], markerfacecolor="white" if again else None,
                label=f"{s.name}: {s.share:.0%} of its roof",
            )  # fmt: skip
        name_axes(ax, "operations for each byte from memory", "Gflop/s")
        ax.set_title(f"{dtype}, one core", fontsize=SIZES["title"])
        ax.set_xlim(0.3, 60)
        ax.set_ylim(0.3, peak * 2)
        ax.legend(fontsize=9, loc="lower right", framealpha=1)
    plots.save(figure, file, overwrite=True)


def counted() -> dict[str, float]:
    """Count the operations in a process in which nothing is compiled."""
    home = str(Path(al.__file__).parents[1])
    path = os.pathsep.join([home, *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, __file__, "--count"], env={**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": path},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"counting failed:\n{done.stderr}")
    return dict(json.loads(done.stdout))


def main(argv: list[str] | None = None) -> int:
    """Count, measure, print, draw and store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="3200x3700", metavar="HxW")
    parser.add_argument("--dtypes", nargs="+", choices=("float32", "float64"), default=["float32", "float64"])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--figure", metavar="FILE", help="a PNG, PDF or SVG file, replaced if it is there")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument(
        "--count", action="store_true", help="print the operations that the source does, and nothing else"
    )
    arguments = parser.parse_args(argv)
    if arguments.count:
        print(json.dumps(count()))
        return 0
    shape = (int(arguments.size.split("x")[0]), int(arguments.size.split("x")[1]))
    by_machine = counted()
    wrong = [f"{name}: {KERNELS[name].flops} by hand, {n:g} in the source" for name, n in by_machine.items()
             if n != KERNELS[name].flops]  # fmt: skip
    results = {}
    for dtype in arguments.dtypes:
        results[dtype] = measure(shape, dtype, arguments.rounds)
        tell(shape, dtype, *results[dtype])
    print(
        "\nThe operations counted by hand are those of the source."
        if not wrong
        else "\nMISCOUNTED: " + "; ".join(wrong)
    )
    if arguments.figure:
        draw(results, arguments.figure)
    if arguments.json:
        record = {d: {"rates": rates, "kernels": [s._asdict() for s in found]} for d, (rates, found) in results.items()}
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(record, file, indent=1)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
