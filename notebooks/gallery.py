"""Draw every kind of picture that `alignment.plots` makes, from images whose displacements are known.

``python notebooks/gallery.py FOLDER`` writes one PNG for each, and the film as a GIF. Nothing is downloaded, and the
same pictures come every time.
"""

from __future__ import annotations

import argparse
import functools
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


def draw_path():
    objective = al.NCC(*pair(), domain="interior")
    trace = al.minimise(objective, al.GradientDescent(6.0, momentum=0.5), steps=40).trace
    return plots.path(None, trace, TRUTH, objective=objective)


def draw_gradient_check():
    check = al.check_gradient(al.NCC(*pair(), domain="interior").value_and_gradient, (0.4, -0.2))
    return plots.gradient_check(None, check)


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


@functools.cache
def demo():
    """Return the plate of the demonstration, and its colour photograph."""
    plate = al.datasets.demo_plate().plate
    return plate, al.colorize(plate)


def draw_before_after():
    plate, made = demo()
    before = plots.unaligned(plate, made.exposures, made.crop, made.reference)
    return plots.before_after(None, before, made.rgb, magnify=True)[0]


def draw_detail():
    """The part of the photograph where most can be seen, pixel by pixel."""
    plate, made = demo()
    top, bottom, left, right = plots.detail(made.rgb)
    before = plots.unaligned(plate, made.exposures, made.crop, made.reference)
    return plots.before_after(None, before[top:bottom, left:right], made.rgb[top:bottom, left:right])[0]


def draw_demo():
    return plots.demo_figure(*demo())


def draw_plate():
    return plots.plate_figure(*demo(), title="the plate of the demonstration")


def draw_film():
    """Return the frames in which two channels slide onto the third."""
    reference, moving = pair()
    channels = {"red": moving, "green": reference, "blue": al.datasets.shifted_pair(-2.2, 4.1, shape=(160, 180)).moving}
    objectives = {name: al.NCC(reference, channels[name], domain="interior") for name in ("red", "blue")}
    traces = {name: al.minimise(o, al.GradientDescent(6.0, 0.5), steps=40).trace for name, o in objectives.items()}
    return plots.animation(channels, traces, objectives, truth={"red": TRUTH, "blue": (-2.2, 4.1)})


def draw_residual():
    reference, moving = pair()
    return plots.residual(None, reference, moving, *TRUTH)


def draw_residual_before():
    return plots.residual(None, *pair())


def draw_bias_curve():
    """The mean of eight registrations at each fraction, and their scatter."""
    truths = np.linspace(0.05, 0.95, 10)
    pairs = [
        [al.datasets.shifted_pair(3 + truth, -1.5, shape=(120, 120), noise=0.02, seed=seed) for seed in range(8)]
        for truth in truths
    ]
    ax = None
    looks = {"bilinear": ({"kernel": "hat", "smooth": 0.0}, 0), "Gaussian": ({}, 1)}
    for name, (options, number) in looks.items():
        found = np.array([[al.register(*images, **options).dx - 3 for images in trials] for trials in pairs])
        look = {"colour": plots.CYCLE[number], "marker": "os"[number], "spread": found.std(axis=1, ddof=1)}
        ax = plots.bias_curve(ax, truths, found.mean(axis=1), label=name, **look)
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


def draw_tiles():
    """What is left over where the lower half of the scene moved further."""
    reference, moving = pair()
    further = al.datasets.shifted_pair(TRUTH[0] + 0.4, TRUTH[1], shape=(160, 180)).moving
    torn = np.vstack([moving[:80], further[80:]])
    return plots.tiles_figure(al.local_displacements(reference, torn), image=reference)


def draw_drift():
    """A stack that wanders, with a frame in it that shows nothing."""
    steps = np.random.default_rng(8).normal(0, 0.4, (24, 2)).cumsum(axis=0)
    steps -= steps[0]
    frames = [
        al.datasets.shifted_pair(*step, shape=(96, 96), noise=0.02, seed=i).moving for i, step in enumerate(steps)
    ]
    frames[9] = np.full_like(frames[9], 0.5)
    return plots.drift(None, al.register_stack(frames))


@functools.cache
def study():
    """Return two channels, and the published experiments on them."""
    from alignment import study

    reference, moving = (image[20:116, 30:138] for image in al.datasets.shifted_pair(*TRUTH, noise=0.06, seed=3))
    near = [image[20:116, 30:138] for image in al.datasets.shifted_pair(0.8, 0.6, noise=0.06, seed=4)]
    cases = [study.Case("a scene", "red", reference, moving, TRUTH), study.Case("a scene", "blue", *near, (0.8, 0.6))]
    return cases, study.run_study(cases, repeats=1)


def draw_study():
    from alignment.experiment import RATES, STEPS

    return plots.study_figure(study()[1], rates=RATES, steps=STEPS)


def draw_causes():
    from alignment.experiment import AsProgrammed, run
    from alignment.study import landscapes, region_of

    (case, _), made = study()
    objective = AsProgrammed(case.reference, case.moving, loss="ncc")
    trace = run(objective, method="program", loss="ncc", learning_rate=0.001, steps=30).descent.trace
    region = region_of(made.answers[0])
    return plots.causes_figure(landscapes(case), region=region, trace=trace, answer=TRUTH, subject="a scene, red")


GALLERY: dict[str, Callable[[], object]] = {
    "landscape": draw_landscape,
    "landscape_rough": draw_rough_landscape,
    "convergence_loss": lambda: draw_convergence("loss"),
    "convergence_gradient": lambda: draw_convergence("gradient"),
    "convergence_distance": lambda: draw_convergence("distance"),
    "path": draw_path,
    "gradient_check": draw_gradient_check,
    "kernel_hat": draw_kernel,
    "kernel_gaussian": draw_gaussian,
    "cell": draw_cell,
    "before_after": draw_before_after,
    "detail": draw_detail,
    "residual_before": draw_residual_before,
    "residual": draw_residual,
    "bias_curve": draw_bias_curve,
    "table": draw_table,
    "displacement_map": draw_displacement_map,
    "tiles": draw_tiles,
    "drift": draw_drift,
    "study": draw_study,
    "causes": draw_causes,
    "plate": draw_plate,
    "demo": draw_demo,
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
    plots.save_animation(draw_film(), folder / "film.gif", overwrite=True)
    print(folder / "film.gif")


if __name__ == "__main__":
    main()
