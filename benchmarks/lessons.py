"""What makes a loop over pixels fast, one lesson at a time, as Markdown.

    python benchmarks/lessons.py [--sizes 333x375 3200x3700] [--rounds 15]

The same sums, those behind the MSE and its gradient, written in several ways that differ in one thing each, beside the
package's own `sums_mse`; then two weighted sums of nine rows, in one loop and in two. All variants must give the same
numbers, or the program fails. Times are the processor's, on one thread; ratios are medians over rounds in which the
variants take turns. `packed` counts the instructions, in what the compiler made, that multiply or add several numbers
at once, and "pieced together" those that collect such numbers one by one (x86 only).
"""

from __future__ import annotations

import argparse
import platform
import re
import sys
import time
from collections.abc import Callable
from typing import Any

import growth
import numba
import numpy as np
from numpy.typing import NDArray

from alignment import _kernels

Image = NDArray[Any]
FASTMATH = {"reassoc", "contract", "arcp", "nsz"}
PACKED = re.compile(r"\bv?(?:mul|add|fn?m(?:add|sub)\d*)p[sd]\b")
PIECED = re.compile(r"\bv?(?:p?gather[a-z]*|insertps|pinsr[dq]|unpcklps|movlhps)\b")
A, B = np.float32(0.3), np.float32(0.6)  # the fractions of dx and dy


def with_temporaries(reference: Image, moving: Image, kx: int) -> Image:
    """NumPy as one would write the formula: every intermediate is an image that travels to memory and back."""
    height, width = reference.shape[0] - 1, reference.shape[1] - 1 - kx
    p, q = moving[:-1, kx : kx + width], moving[:-1, kx + 1 :]
    s, t = moving[1:, kx : kx + width], moving[1:, kx + 1 :]
    slope_x = (1 - B) * (q - p) + B * (t - s)
    slope_y = (1 - A) * (s - p) + A * (t - q)
    e = (1 - B) * ((1 - A) * p + A * q) + B * ((1 - A) * s + A * t) - reference[:height, :width]
    return np.array([(e * e).sum(dtype=np.float64), (e * slope_x).sum(dtype=np.float64),
                     (e * slope_y).sum(dtype=np.float64)])  # fmt: skip


def signed_offset(reference: Any, moving: Any, kx: int) -> Any:
    """One pass, but every index may be negative, which Python reads from the end: the loop works on one pixel."""
    out = np.zeros(3)
    for y in range(reference.shape[0] - 1):
        upper, lower, target = moving[y], moving[y + 1], reference[y]
        ee = ex = ey = np.float32(0)
        for x in range(reference.shape[1] - 1 - kx):
            down_left = lower[x + kx] - upper[x + kx]
            down_right = lower[x + kx + 1] - upper[x + kx + 1]
            at_left = upper[x + kx] + B * down_left
            slope_x = upper[x + kx + 1] + B * down_right - at_left
            slope_y = down_left + A * (down_right - down_left)
            e = at_left + A * slope_x - target[x]
            ee += e * e
            ex += e * slope_x
            ey += e * slope_y
        out[0] += ee
        out[1] += ex
        out[2] += ey
    return out


def slices(reference: Any, moving: Any, kx: int) -> Any:
    """One pass over slices, all indexed from zero."""
    out = np.zeros(3)
    width = reference.shape[1] - 1 - kx
    for y in range(reference.shape[0] - 1):
        p, q = moving[y, kx : kx + width], moving[y, kx + 1 : kx + 1 + width]
        s, t = moving[y + 1, kx : kx + width], moving[y + 1, kx + 1 : kx + 1 + width]
        target = reference[y, :width]
        ee = ex = ey = np.float32(0)
        for x in range(width):
            down_left = s[x] - p[x]
            down_right = t[x] - q[x]
            at_left = p[x] + B * down_left
            slope_x = q[x] + B * down_right - at_left
            slope_y = down_left + A * (down_right - down_left)
            e = at_left + A * slope_x - target[x]
            ee += e * e
            ex += e * slope_x
            ey += e * slope_y
        out[0] += ee
        out[1] += ex
        out[2] += ey
    return out


def in_double(reference: Any, moving: Any, kx: int) -> Any:
    """The same with the sums of a row in float64: each pixel is converted, and half as many fit into a register."""
    out = np.zeros(3)
    width = reference.shape[1] - 1 - kx
    for y in range(reference.shape[0] - 1):
        p, q = moving[y, kx : kx + width], moving[y, kx + 1 : kx + 1 + width]
        s, t = moving[y + 1, kx : kx + width], moving[y + 1, kx + 1 : kx + 1 + width]
        target = reference[y, :width]
        ee = ex = ey = 0.0
        for x in range(width):
            down_left = s[x] - p[x]
            down_right = t[x] - q[x]
            at_left = p[x] + B * down_left
            slope_x = q[x] + B * down_right - at_left
            slope_y = down_left + A * (down_right - down_left)
            e = np.float64(at_left + A * slope_x - target[x])
            ee += e * e
            ex += e * np.float64(slope_x)
            ey += e * np.float64(slope_y)
        out[0] += ee
        out[1] += ex
        out[2] += ey
    return out


def eighteen(rows: Any, v: Any, w: Any, first: Any, second: Any) -> None:
    """Two weighted sums of nine rows in one loop: each row is read once, but eighteen weights want registers."""
    r0, r1, r2, r3, r4, r5, r6, r7, r8 = rows
    v0, v1, v2, v3, v4, v5, v6, v7, v8 = v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8]
    w0, w1, w2, w3, w4, w5, w6, w7, w8 = w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7], w[8]
    for x in range(first.shape[0]):
        first[x] = (
            v0 * r0[x] + v1 * r1[x] + v2 * r2[x] + v3 * r3[x] + v4 * r4[x]
            + v5 * r5[x] + v6 * r6[x] + v7 * r7[x] + v8 * r8[x]
        )  # fmt: skip
        second[x] = (
            w0 * r0[x] + w1 * r1[x] + w2 * r2[x] + w3 * r3[x] + w4 * r4[x]
            + w5 * r5[x] + w6 * r6[x] + w7 * r7[x] + w8 * r8[x]
        )  # fmt: skip


def compiled(function: Callable[..., Any], fastmath: set[str] | bool = False) -> Any:
    """Compile a variant by itself."""
    return numba.njit(function, error_model="numpy", fastmath=fastmath)


def instructions(function: Any) -> tuple[str, str]:
    """Count a compiled function's instructions on several numbers, and those that collect these one by one."""
    if not hasattr(function, "inspect_asm") or platform.machine() not in ("x86_64", "AMD64"):
        return "-", "-"
    text = "".join(function.inspect_asm().values())
    return str(len(PACKED.findall(text))), str(len(PIECED.findall(text)))


def take_turns(calls: dict[str, Callable[[], Any]], rounds: int, least: float = 5e-3) -> dict[str, list[float]]:
    """Return the seconds of each call in each round."""
    repeats = {}
    for name, call in calls.items():
        begun = time.process_time()
        call()
        repeats[name] = max(1, int(least / max(time.process_time() - begun, 1e-6)))
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            begun = time.process_time()
            for _ in range(repeats[name]):
                call()
            times[name].append((time.process_time() - begun) / repeats[name])
    return times


def tell(title: str, times: dict[str, list[float]], functions: dict[str, Any]) -> None:
    """Print a table of the variants; the last is the base."""
    print(f"\n**{title}**\n\n| | time | ratio | packed | pieced together |\n|---|---|---|---|---|")
    base = np.array(list(times.values())[-1])
    for name, values in times.items():
        ratio, time_ = float(np.median(np.array(values) / base)), growth.seconds_in_words(float(np.median(values)))
        print(f"| {name} | {time_} | {ratio:.2f} | {' | '.join(instructions(functions[name]))} |", flush=True)


def sums(shape: tuple[int, int], rounds: int) -> None:
    """Compare ways to write the sums of the MSE."""
    kx = 2
    reference, moving = growth.waves(shape), growth.waves(shape, 1.7, 0.4)
    rectangle = np.array([[0, shape[0] - 1, 0, shape[1] - 1 - kx]])
    variants = {
        "NumPy, with temporaries": with_temporaries,
        "one pass, signed offsets": compiled(signed_offset, FASTMATH),
        "slices, sums in the order as written": compiled(slices),
        "slices, reassociated, sums in float64": compiled(in_double, FASTMATH),
        "slices, reassociated, row sums in float32": compiled(slices, FASTMATH),
        # compiled anew: what comes from the cache on disk cannot be inspected
        "the package's": compiled(_kernels.sums_mse.py_func, FASTMATH),
    }
    calls: dict[str, Callable[[], Any]] = {
        name: (lambda f=f: f(reference, moving, kx)) for name, f in list(variants.items())[:-1]
    }
    ours = variants["the package's"]
    calls["the package's"] = lambda: ours(reference, moving, rectangle, (0, kx), (A, B), None, None)[0, :3]
    expected = in_double(reference.astype(np.float64)[:9], moving.astype(np.float64)[:9], kx)
    for name, f in list(variants.items())[:-1]:  # on a few rows in plain Python, then against each other
        np.testing.assert_allclose(f(reference[:9], moving[:9], kx), expected, rtol=1e-3, err_msg=name)
    for name, call in calls.items():
        np.testing.assert_allclose(call(), calls["slices, reassociated, sums in float64"](), rtol=1e-3, err_msg=name)
    title = f"{shape[0]} x {shape[1]}, float32: the sums of the MSE and its gradient, over the package's"
    tell(title, take_turns(calls, rounds), variants)


def weights(shape: tuple[int, int], rounds: int) -> None:
    """Compare two weighted sums of nine rows in one loop and in two, for all rows of an image."""
    image = growth.waves(shape)
    v, w = np.random.default_rng(0).random((2, 9), np.float32)
    inlined, one, nine = compiled(eighteen, FASTMATH), np.empty((2, shape[1]), np.float32), _kernels._weigh_nine
    two = np.empty_like(one)

    def together(image: Any, v: Any, w: Any, out: Any) -> None:
        for y in range(image.shape[0] - 8):
            rows = (
                image[y], image[y + 1], image[y + 2], image[y + 3], image[y + 4], image[y + 5], image[y + 6],
                image[y + 7], image[y + 8],
            )  # fmt: skip
            inlined(rows, v, w, out[0], out[1])

    def apart(image: Any, v: Any, w: Any, out: Any) -> None:
        for y in range(image.shape[0] - 8):
            rows = (
                image[y], image[y + 1], image[y + 2], image[y + 3], image[y + 4], image[y + 5], image[y + 6],
                image[y + 7], image[y + 8],
            )  # fmt: skip
            nine(*rows, v, out[0])
            nine(*rows, w, out[1])

    functions = {
        "one loop, eighteen weights": compiled(together, FASTMATH),
        "two loops, nine weights": compiled(apart, FASTMATH),
    }
    calls: dict[str, Callable[[], Any]] = {
        name: (lambda f=f, out=out: f(image, v, w, out))
        for (name, f), out in zip(functions.items(), (one, two), strict=True)
    }
    for call in calls.values():
        call()
    np.testing.assert_allclose(one, two, rtol=1e-5)
    title = f"{shape[0]} x {shape[1]}, float32: two weighted sums of nine rows, over two loops"
    tell(title, take_turns(calls, rounds), functions)


def main(argv: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["333x375", "3200x3700"], metavar="HxW")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args(argv)
    for size in arguments.sizes:
        height, width = (int(n) for n in size.split("x"))
        sums((height, width), arguments.rounds)
        weights((height, width), arguments.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
