"""Draw every kind of picture that `alignment.plots` makes, from images whose displacements are known.

``python notebooks/gallery.py FOLDER`` writes one PNG for each. Nothing is downloaded, and the same
pictures come every time.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

import alignment as al
from alignment import plots

TRUTH = (3.3, -2.7)


def pair() -> tuple[np.ndarray, np.ndarray]:
    """Return two views of one scene, displaced by the truth."""
    reference, moving = al.datasets.shifted_pair(*TRUTH, shape=(160, 180))
    return reference, moving


def draw_landscape():
    objective = al.NCC(*pair(), domain="interior")
    descent = al.minimise(objective, al.GradientDescent(6.0, momentum=0.5), steps=40)
    return plots.landscape(
        None, objective, region=(-2, 7, -7, 2), trace=descent.trace, truth=TRUTH, unit="loss: negative NCC"
    )


def draw_rough_landscape():
    """Raw NCC over the whole frame, zeros outside: many minima."""
    rng = np.random.default_rng(3)
    reference, moving = (image + rng.normal(0, 0.08, image.shape) for image in pair())
    return plots.landscape(None, al.NCC(reference, moving), region=(-2, 5, -5, 2), unit="loss: negative NCC")


def draw_convergence(quantity: str):
    objective = al.NCC(*pair(), domain="interior")
    ax = None
    rules = {"plain": al.GradientDescent(6.0), "momentum": al.GradientDescent(6.0, 0.5), "Adam": al.Adam(0.3)}
    for (name, rule), colour, marker in zip(rules.items(), plots.CYCLE, "osD", strict=False):
        trace = al.minimise(objective, rule, steps=60).trace
        ax = plots.convergence(ax, trace, quantity=quantity, target=TRUTH, label=name, colour=colour, marker=marker)
    ax.legend(frameon=False, fontsize=11.5)
    return ax


def draw_gradient_check():
    from alignment.plots.style import axes_or_new

    check = al.check_gradient(al.NCC(*pair(), domain="interior").value_and_gradient, (0.4, -0.2))
    return check.plot(axes_or_new(None))


def draw_kernel():
    return plots.kernel(None)


def draw_gaussian():
    return plots.kernel(None, al.Gaussian(0.8))


def draw_cell():
    reference, moving = pair()
    # smaller and noisier than life, so that the kinks can be seen
    rng = np.random.default_rng(0)
    images = [image[40:80, 40:80] + rng.normal(0, 0.05, (40, 40)) for image in (reference, moving)]
    options = {"domain": (8, 32, 8, 32)}
    objective, direct = al.MSE(*images, **options), al.MSE(*images, evaluation="direct", **options)
    return plots.cell(None, objective, between=(1, 5), other=-2.7, samples=direct)


def draw_before_after():
    demo = al.datasets.demo_plate()
    made = al.colorize(demo.plate)
    before = plots.unaligned(demo.plate, made.exposures, made.crop, made.reference)
    return plots.before_after(None, before, made.rgb, magnify=True)[0]


def draw_residual():
    reference, moving = pair()
    return plots.residual(None, reference, moving, *TRUTH)


def draw_residual_before():
    return plots.residual(None, *pair())


def draw_bias_curve():
    truths = np.linspace(0.0, 1.0, 11)
    ax = None
    looks = {"bilinear": ({"kernel": "hat", "smooth": 0.0}, 0), "Gaussian": ({}, 1)}
    for name, (options, number) in looks.items():
        found = []
        for truth in truths:
            reference, moving = al.datasets.shifted_pair(3 + truth, 0.0, shape=(120, 120), noise=0.02, seed=5)
            found.append(al.register(reference, moving, **options).dx - 3)
        look = {"colour": plots.CYCLE[number], "marker": "os"[number]}
        ax = plots.bias_curve(ax, truths, found, label=name, **look)
    ax.legend(frameon=False, fontsize=11.5)
    return ax


def draw_table():
    objective = al.NCC(*pair())
    rates, counts = (0.1, 0.01, 0.001), (30, 100)
    distances = [
        [np.hypot(d.dx - TRUTH[0], d.dy - TRUTH[1]) for d in (
            al.minimise(objective, al.Adam(rate), steps=steps, units="normalised") for rate in rates)]
        for steps in counts
    ]  # fmt: skip
    return plots.table(None, distances, counts, rates, unit="distance from the truth  (px)")


def draw_displacement_map():
    y, x = np.mgrid[20:150:5j, 20:170:6j]
    dx, dy = 0.004 * (y - 80), -0.004 * (x - 90)
    dx[1, 2] = np.nan
    return plots.displacement_map(None, x, y, dx, dy, image=pair()[0])


GALLERY: dict[str, Callable[[], object]] = {
    "landscape": draw_landscape,
    "landscape_rough": draw_rough_landscape,
    "convergence_loss": lambda: draw_convergence("loss"),
    "convergence_gradient": lambda: draw_convergence("gradient"),
    "convergence_distance": lambda: draw_convergence("distance"),
    "gradient_check": draw_gradient_check,
    "kernel_hat": draw_kernel,
    "kernel_gaussian": draw_gaussian,
    "cell": draw_cell,
    "before_after": draw_before_after,
    "residual_before": draw_residual_before,
    "residual": draw_residual,
    "bias_curve": draw_bias_curve,
    "table": draw_table,
    "displacement_map": draw_displacement_map,
}


def main() -> None:
    """Draw them all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in GALLERY.items():
        plots.save(draw().figure, folder / f"{name}.png", overwrite=True)
        print(folder / f"{name}.png")


if __name__ == "__main__":
    main()
