"""The estimate of the noise in one image, over photographs to which a known noise was added, as one Markdown table.

    python benchmarks/noise.py [--size 400] [--repeats 3] [--json FILE]

What a photograph shows at noise 0 is its own: grain, rounding to 8 bits, and texture as fine as its pixels. Added noise
adds to it in quadrature, and the last but one line takes that into account: it is the error that is left.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

import numpy as np
from pairs import GREY, PHOTOGRAPHS, photograph

import alignment as al

NOISE = (0.0, 0.01, 0.02, 0.05, 0.1)


def grey(name: str, size: int) -> np.ndarray:
    """Return the upper left of a photograph, grey, in [0, 1]."""
    image = photograph(name)
    return (image @ GREY if image.ndim == 3 else image)[:size, :size]


def high_pass(image: np.ndarray) -> float:
    """Estimate the noise the usual way: from the median size of the second differences of second differences."""
    rows = image[:-2] - 2 * image[1:-1] + image[2:]
    both = rows[:, :-2] - 2 * rows[:, 1:-1] + rows[:, 2:]
    return float(np.median(np.abs(both)) / 0.6745 / 6)


def main(argv: list[str] | None = None) -> int:
    """Measure, print, and store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=400, help="pixels along a side (default: 400)")
    parser.add_argument("--repeats", type=int, default=3, help="draws of the noise (default: 3)")
    parser.add_argument("--json", metavar="FILE", help="store every estimate")
    arguments = parser.parse_args(argv)
    rng = np.random.default_rng(0)
    table: dict[str, list[list[float]]] = {}
    usual: dict[str, list[float]] = {}
    begun = time.perf_counter()
    for name in PHOTOGRAPHS:
        try:
            image = grey(name, arguments.size)
        except (OSError, ImportError):
            continue
        table[name], usual[name] = [], []
        for level in NOISE:
            noisy = [image + rng.normal(0, level, image.shape) for _ in range(arguments.repeats if level else 1)]
            table[name].append([al.estimate_noise(one) for one in noisy])
            usual[name].append(float(np.mean([high_pass(one) for one in noisy])))
    spent = time.perf_counter() - begun
    means = {name: np.array([np.mean(values) for values in row]) for name, row in table.items()}
    print("| photograph, noise added | " + " | ".join(f"{level:g}" for level in NOISE) + " |")
    print("|---" * (len(NOISE) + 1) + "|")
    for name, row in means.items():
        print(f"| {name} | " + " | ".join(f"{value:.4f}" for value in row) + " |")
    every = np.array(list(means.values()))
    own = np.hypot(every[:, :1], NOISE)
    print("| **median** | " + " | ".join(f"{value:.4f}" for value in np.median(every, axis=0)) + " |")
    print("| rms error against own and added noise | - | "
          + " | ".join(f"{v:.4f}" for v in np.sqrt(np.mean((every - own) ** 2, axis=0))[1:]) + " |")  # fmt: skip
    print("| median of the usual way | "
          + " | ".join(f"{v:.4f}" for v in np.median(list(usual.values()), axis=0)) + " |")  # fmt: skip
    estimates = sum(len(values) for row in table.values() for values in row)
    print(f"\n{len(table)} photographs, {1e3 * spent / estimates:.0f} ms for each estimate.")
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump({"noise": NOISE, "estimates": table, "usual": usual}, file, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
