"""What the compiler made of the kernels: few variants of few kernels, and loops that work on several pixels at once."""

from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from alignment import _kernels

numba = pytest.importorskip("numba")

pytestmark = [
    pytest.mark.skipif(numba.config.DISABLE_JIT, reason="nothing is compiled under NUMBA_DISABLE_JIT"),
]

# several numbers at a time: packed multiplications and fused multiply-adds of x86, vector registers of ARM
_X86 = r"\bv?(?:mul|add|fn?m(?:add|sub)\d*)p{}\b"
_ARM = r"\bf(?:mul|add|mla)\s+v\d+\.{}"
PACKED = {
    "x86_64": {"float32": _X86.format("s"), "float64": _X86.format("d")},
    "aarch64": {"float32": _ARM.format("4s"), "float64": _ARM.format("2d")},
}.get({"AMD64": "x86_64", "arm64": "aarch64"}.get(platform.machine(), platform.machine()))

DTYPES = ("float32", "float64")


def calls(dtype):
    """Return one call of each loop that runs over pixels, by the kernel's name."""
    kind = np.dtype(dtype).type
    image = np.random.default_rng(0).random((12, 64)).astype(dtype)
    rows = tuple(image[:9])
    rectangles, window, origin = np.array([[1, 8, 1, 60]]), (1, 8, 1, 60), (0, 0)
    fraction, offsets = (kind(0.3), kind(0.6)), (kind(0.5), kind(0.5))
    taps, out = np.full(9, 1 / 9, dtype), np.empty(64, dtype)
    return {
        "sums_mse": (image, image, rectangles, origin, fraction, None, None),
        "sums_ncc": (image, image, rectangles, origin, fraction, offsets, None, None),
        "cell_moments_mse": (image, image, window, origin, None, None),
        "cell_moments_ncc": (image, image, window, origin, offsets, None, None),
        "_weigh_four": (*rows[:4], tuple(kind(t) for t in taps[:4]), out),
        "_add_three": (out.copy(), *rows[:3], *(kind(t) for t in taps[:3])),
        "_add_nine": (out.copy(), *rows, taps),
        "_weigh_nine": (*rows, taps, out),
        "_add_products": (rows[:3], rows[3:6], *offsets, None, None, np.zeros(16)),
    }


@pytest.mark.skipif(PACKED is None, reason="the packed instructions of this processor are not known here")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", list(calls("float32")))
def test_the_loop_works_on_several_pixels_at_once(name, dtype):
    """A signed index, a test for NaN or a sum in another dtype would silently make it work on one."""
    fresh = numba.njit(getattr(_kernels, name).py_func, **options())
    fresh(*calls(dtype)[name])
    assert packed(fresh, dtype) >= 3


@pytest.mark.skipif(PACKED is None, reason="the packed instructions of this processor are not known here")
def test_a_loop_that_may_not_be_reordered_is_recognised():
    """Without leave to reassociate, a sum is taken number by number: the count of instructions must show that."""
    strict = numba.njit(_kernels.sums_mse.py_func, nogil=True, error_model="numpy")
    strict(*calls("float32")["sums_mse"])
    free = numba.njit(_kernels.sums_mse.py_func, **options())
    free(*calls("float32")["sums_mse"])
    assert packed(strict, "float32") < packed(free, "float32")


def options():
    return {"nogil": True, "fastmath": _kernels._FASTMATH, "error_model": "numpy"}


def packed(dispatcher, dtype):
    """Count the packed instructions that a kernel was compiled to."""
    (text,) = dispatcher.inspect_asm().values()
    return len(re.findall(PACKED[dtype], text))


PROGRAM = """
    import json
    import numpy as np
    import alignment as al
    from alignment import _kernels
    for dtype in ("float32", "float64"):
        B, A = al.datasets.shifted_pair(3.3, -1.7, shape=(120, 140), dtype=dtype)
        mask = np.ones(B.shape, bool)
        mask[:3, :3] = False
        for loss in ("mse", "ncc"):
            for masks in ({}, {"reference_mask": mask, "moving_mask": mask}):
                for features in ("intensity", "fine", "edges"):
                    al.register(B, A, loss=loss, features=features, **masks)
                al.register(B, A, loss=loss, kernel="hat", method="newton", **masks)
        for kernel in (None, al.Gaussian(0.8)):
            al.shift(B, 0.5, 0.5) if kernel is None else al.shift(B, 0.5, 0.5, kernel=kernel)
    for rule in (al.Adam(0.1), al.GradientDescent(1)):
        for loss in (al.MSE(B, A), al.NCC(B, A)):
            al.minimise(loss, rule, tolerance=1e-3)
            al.minimise(loss, rule, callback=lambda *row: None)
    al.register_stack(np.stack([B, A, B]), to="mean")
    al.register_stack(np.stack([B, A, B]).astype(np.uint16), to="first")
    # those with an underscore are parts of others, and are listed only where nothing was found in the cache
    kernels = {n: k for n, k in vars(_kernels).items() if not n.startswith("_") and hasattr(k, "signatures")}
    compiled = {n: k for n, k in kernels.items() if k.signatures}
    print(json.dumps({name: len(kernel.signatures) for name, kernel in compiled.items()}))
"""


def test_kernels_are_few_and_so_are_their_variants():
    """Each costs a new user a second of compiling: images of one layout, in two dtypes, with or without masks."""
    program = [sys.executable, "-c", textwrap.dedent(PROGRAM)]
    counts = json.loads(subprocess.run(program, capture_output=True, text=True, check=True, timeout=600).stdout)
    assert len(counts) <= 11, counts
    assert max(counts.values()) <= 4, counts
    assert sum(counts.values()) <= 29, counts
