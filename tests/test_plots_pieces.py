"""The pictures one by one: what is drawn is what was given, labelled with units, on the axes that were given."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import alignment as al
from alignment import InputError, plots

TRUTH = (1.5, -0.6)


@pytest.fixture(scope="module")
def pair():
    """Return a small pair whose displacement is known."""
    reference, moving = al.datasets.shifted_pair(*TRUTH, shape=(40, 48))
    return reference, moving


@pytest.fixture(scope="module")
def objective(pair):
    """Return the NCC of the pair over a window."""
    return al.NCC(*pair, domain="interior")


@pytest.fixture
def ax():
    """Return the axes of an empty figure."""
    return plots.new_figure().add_subplot()


def trace_of(objective, steps=8):
    return al.minimise(objective, al.GradientDescent(2.0), steps=steps).trace


def labels(axes):
    return f"{axes.get_xlabel()} {axes.get_ylabel()}"


def test_every_function_makes_its_own_axes_and_returns_them(pair, objective):
    made = [
        plots.landscape(None, objective, region=(-1, 2, -1, 1), step=0.5),
        plots.convergence(None, trace_of(objective)),
        plots.path(None, trace_of(objective)),
        plots.kernel(None),
        plots.cell(None, objective),
        plots.residual(None, *pair),
        plots.bias_curve(None, [0, 0.5], [0.1, 0.5]),
        plots.table(None, [[1.0, 2.0]], ["a"], ["b", "c"]),
        plots.displacement_map(None, [0, 9], [0, 9], [1, 0], [0, 1]),
        plots.gradient_check(None, al.check_gradient(objective.value_and_gradient, (0.4, -0.2))),
        *plots.before_after(None, *pair),
    ]
    for axes in made:
        assert axes.get_title() in ("", "before", "after", "gradient check: passed")
        axes.figure.canvas.draw()


def test_labels_have_units(pair, objective):
    assert "px" in labels(plots.kernel(None))
    assert "px" in labels(plots.cell(None, objective))
    assert "px" in labels(plots.bias_curve(None, [0, 1], [0, 1]))
    assert "px" in labels(plots.landscape(None, objective, region=(-1, 1, -1, 1), step=0.5))
    assert "px" in labels(plots.convergence(None, trace_of(objective), quantity="distance", target=TRUTH))
    assert "px" in labels(plots.displacement_map(None, [0, 9], [0, 9], [1, 0], [0, 1]))


# landscape


def test_the_landscape_marks_the_minima_of_its_samples(ax, objective):
    assert plots.landscape(ax, objective, region=(0, 3, -2, 1), step=0.125) is ax
    (star,) = [line for line in ax.lines if line.get_marker() == "*"]
    x, y = star.get_xydata()[0]
    assert np.hypot(x - TRUTH[0], y - TRUTH[1]) < 0.2
    assert ax.get_xlim() == (0, 3)
    assert ax.get_ylim() == (1, -2)


def test_the_landscape_shows_false_minima_as_rings(ax, pair):
    class Dimples:
        def landscape(self, dx, dy):
            u, v = np.meshgrid(dx, dy)
            return (u - 1) ** 2 / 20 + v**2 / 20 - np.cos(2 * np.pi * u) * np.cos(2 * np.pi * v)

    plots.landscape(ax, Dimples(), region=(-0.75, 2.75, -0.75, 0.75), step=0.125)
    rings = np.vstack([line.get_xydata() for line in ax.lines if line.get_marker() == "o"])
    (star,) = [line.get_xydata()[0] for line in ax.lines if line.get_marker() == "*"]
    assert np.hypot(star[0] - 1, star[1]) < 0.15
    assert {(round(x), round(y)) for x, y in rings} >= {(0, 0), (2, 0)}


def test_the_landscape_carries_path_and_truth(ax, objective):
    trace = trace_of(objective)
    plots.landscape(ax, objective, region=(-1, 3, -2, 1), step=0.5, trace=trace, truth=TRUTH, minima=False)
    assert any(np.array_equal(line.get_xydata(), np.column_stack((trace["dx"], trace["dy"]))) for line in ax.lines)
    assert [line.get_xydata().tolist() for line in ax.lines if line.get_marker() == "+"] == [[list(TRUTH)]]


def test_a_landscape_without_relief_is_refused(ax):
    class Flat:
        def landscape(self, dx, dy):
            return np.ones((len(dy), len(dx)))

    with pytest.raises(InputError, match="everywhere in the region"):
        plots.landscape(ax, Flat())


# convergence


def test_convergence_draws_gradient_and_distance_on_logarithmic_scales(ax, objective):
    trace = trace_of(objective)
    plots.convergence(ax, trace, quantity="gradient")
    np.testing.assert_allclose(ax.lines[0].get_ydata(), np.hypot(trace["grad_dx"], trace["grad_dy"]))
    assert ax.get_yscale() == "log"
    other = plots.convergence(None, trace, quantity="distance", target=TRUTH)
    np.testing.assert_allclose(other.lines[0].get_ydata(), np.hypot(trace["dx"] - 1.5, trace["dy"] + 0.6))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"quantity": "speed"}, "quantity"),
        ({"quantity": "distance"}, "target"),
        ({"quantity": "distance", "target": 3}, "target"),
    ],
)
def test_convergence_of_nothing_is_refused(objective, options, says):
    with pytest.raises(InputError, match=says):
        plots.convergence(None, trace_of(objective), **options)


# kernels and cells


def test_the_tie_is_marked_at_both_its_values(ax):
    plots.kernel(ax)
    ties = [line.get_xydata().tolist() for line in ax.lines if line.get_marker() == "s"]
    assert [[0, -1], [0, 1]] in ties
    assert any("tie" in text.get_text() for text in ax.texts)


def test_the_smooth_kernel_is_that_of_the_taps(ax):
    plots.kernel(ax, al.Gaussian(0.8))
    weight, slope = (line.get_xydata() for line in ax.lines[:2])
    weights, slopes = al.Gaussian(0.8).taps(0.25)
    for drawn, taps in ((weight, weights), (slope, slopes)):
        found = np.interp(np.arange(-4, 5) - 0.25, drawn[:, 0], drawn[:, 1])
        np.testing.assert_allclose(found, taps, atol=1e-12)


@pytest.mark.parametrize("along", ["dx", "dy"])
def test_cells_meet_and_samples_lie_on_them(ax, pair, along):
    engine, direct = (al.MSE(*pair, domain="interior", evaluation=e) for e in ("cells", "direct"))
    plots.cell(ax, engine, along=along, between=(-1, 2), other=-0.4, samples=direct)
    curves = [line.get_xydata() for line in ax.lines if line.get_label().startswith("cell")]
    assert len(curves) == 3
    for one, following in pairwise(curves):
        np.testing.assert_allclose(one[-1], following[0], rtol=1e-9)
    (dots,) = [line.get_xydata() for line in ax.lines if line.get_label() == "samples"]
    whole = np.vstack(curves)
    np.testing.assert_allclose(np.interp(dots[:, 0], whole[:, 0], whole[:, 1]), dots[:, 1], rtol=2e-3)
    for t, value in dots[::5]:
        at = (t, -0.4) if along == "dx" else (-0.4, t)
        assert value == pytest.approx(engine.value(*at), rel=1e-9)


def test_wrong_cells_are_refused(objective):
    with pytest.raises(InputError, match="between"):
        plots.cell(None, objective, between=(2, 2))
    with pytest.raises(InputError, match="along"):
        plots.cell(None, objective, along="x")
    with pytest.raises(InputError, match="shape"):
        plots.kernel(None, "cubic")


# pictures


def test_the_detail_is_a_part_of_the_picture(pair):
    axes = plots.before_after(None, *pair, magnify=(5, 15, 20, 32))
    for ax, image in zip(axes, pair, strict=True):
        (inset,) = ax.child_axes
        np.testing.assert_allclose(inset.get_images()[0].get_array(), np.clip(image[5:15, 20:32], 0, 1))
    with pytest.raises(InputError, match="magnify"):
        plots.before_after(None, *pair, magnify=(5, 15, 20, 99))


def test_the_residual_is_the_difference_after_a_gain_and_an_offset(ax, pair):
    reference, moving = pair
    plots.residual(ax, reference, 0.5 * moving + 0.2, 1.0, -1.0)
    shown = ax.get_images()[0].get_array().filled(np.nan)
    assert np.isnan(shown[0]).all()
    assert np.isnan(shown[:, -1]).all()
    inside = np.s_[1:, :-1]
    a, b = moving[:-1, 1:].ravel(), reference[inside].ravel()
    gain, offset = np.polyfit(a, b, 1)
    np.testing.assert_allclose(shown[inside].ravel(), gain * a + offset - b, atol=1e-10)
    other = plots.residual(None, reference, moving, 1.0, -1.0, matched=False)
    np.testing.assert_allclose(other.get_images()[0].get_array()[inside].ravel(), a - b, atol=1e-12)
    low, high = other.get_images()[0].get_clim()
    assert low == -high


def test_a_residual_needs_an_overlap(pair):
    with pytest.raises(InputError, match="do not overlap"):
        plots.residual(None, *pair, 60.0, 0.0)
    with pytest.raises(InputError, match="shape"):
        plots.residual(None, pair[0], pair[1][:-1])


# errors, tables, fields


def test_the_bias_is_found_less_true_in_order(ax):
    plots.bias_curve(ax, [0.5, 0.0], [0.6, -0.1], spread=[0.1, 0.2])
    np.testing.assert_allclose(ax.lines[-1].get_xydata(), [[0.0, -0.1], [0.5, 0.1]])
    with pytest.raises(InputError, match="shapes"):
        plots.bias_curve(None, [0, 1], [0])


def test_the_table_writes_every_number_and_darkens_small_ones(ax):
    plots.table(ax, [[0.1234, 20.0], [np.nan, 300.0]], ["r1", "r2"], ["c1", "c2"])
    texts = [text.get_text() for text in ax.texts]
    assert texts == ["0.12", "20.0", "-", "300"]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["c1", "c2"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["r1", "r2"]
    picture = ax.get_images()[0]
    tones = picture.to_rgba(np.array([0.1234, 20.0, 300.0]))[:, :3].sum(axis=1)
    assert tones[0] < tones[1] < tones[2]
    with pytest.raises(InputError, match="2 rows"):
        plots.table(None, [[1.0]], [1, 2], [3])
    with pytest.raises(InputError, match="limits"):
        plots.table(None, [[1.0]], [1], [3], limits=(0, 2))


def test_arrows_are_the_displacements_and_the_unknown_is_crossed(ax):
    y, x = np.mgrid[0:30:3j, 0:40:3j]
    dx, dy = np.full((3, 3), 0.5), np.full((3, 3), -0.25)
    dx[1, 1] = np.nan
    plots.displacement_map(ax, x, y, dx, dy)
    (arrows,) = [c for c in ax.collections if hasattr(c, "U")]
    assert len(arrows.U) == 8
    assert set(arrows.U) == {0.5}
    assert set(arrows.V) == {-0.25}
    crosses = [line.get_xydata().tolist() for line in ax.lines if line.get_marker() == "x"]
    assert crosses == [[[20.0, 15.0]]]
    assert ax.yaxis_inverted()
    for wrong in ([0], [0, 1, 2]):
        with pytest.raises(InputError, match="elements"):
            plots.displacement_map(None, wrong, [0, 1], [0, 1], [0, 1])


# under somebody's own settings


def test_settings_of_matplotlib_neither_warn_nor_draw_through_the_numbers(tmp_path, pair):
    """A matplotlibrc may lay out all figures, and draw a grid on all axes."""
    matplotlib = pytest.importorskip("matplotlib")
    with matplotlib.rc_context({"figure.constrained_layout.use": True, "axes.grid": True}):
        assert plots.new_figure().get_layout_engine() is None
        ax = plots.table(plots.new_figure().add_axes((0.1, 0.1, 0.8, 0.8)), [[1.0, 2.0]], ["a"], ["b", "c"])
        plots.save(ax.figure, tmp_path / "table.png")  # a warning is an error here
        drawn = [line for axis in (ax.xaxis, ax.yaxis) for line in axis.get_gridlines() if line.get_visible()]
    assert not drawn


# films


def test_a_film_draws_the_steps_that_were_taken(pair, monkeypatch):
    """The path in a frame is that of the descent up to there, not a chord between frames."""
    from matplotlib.lines import Line2D

    reference, moving = pair
    channels = {"red": moving, "green": reference, "blue": reference}
    objectives = {name: al.NCC(reference, channels[name], domain="interior") for name in ("red", "blue")}
    traces = {name: trace_of(o) for name, o in objectives.items()}
    drawn = []
    real = Line2D.set_data
    monkeypatch.setattr(Line2D, "set_data", lambda self, *xy: drawn.append(np.array(xy)) or real(self, *xy))
    plots.animation(channels, traces, objectives, frames=3, width=260)
    steps = np.column_stack((traces["red"]["dx"], traces["red"]["dy"]))
    start, middle, end = (points.T for points in drawn[-6::2])
    np.testing.assert_allclose(start, steps[:1])
    np.testing.assert_allclose(middle[:-1], steps[: len(middle) - 1])
    np.testing.assert_allclose(end[: len(steps) - 1], steps[:-1])
    np.testing.assert_allclose(end[-1], steps[-1])
    lengths = [np.hypot(*np.diff(points, axis=0).T).sum() for points in (middle, end)]
    assert lengths[0] == pytest.approx(lengths[1] / 2)


@pytest.fixture(scope="module")
def film(pair):
    """Return the frames of a small film."""
    reference, moving = pair
    channels = {"red": moving, "green": reference, "blue": reference}
    objectives = {name: al.NCC(reference, channels[name], domain="interior") for name in ("red", "blue")}
    traces = {name: trace_of(o) for name, o in objectives.items()}
    return plots.animation(channels, traces, objectives, frames=4, width=260)


def test_a_film_begins_at_the_start_and_changes(film):
    assert len(film) == 4
    assert {frame.shape for frame in film} == {film[0].shape}
    assert film[0].shape[1:] == (260, 3)
    assert film[0].dtype == np.uint8
    assert all((one != other).any() for one, other in pairwise(film))


def test_a_film_is_written_whole_or_not_at_all(tmp_path, film):
    plots.save_animation(film, tmp_path / "a.gif")
    from PIL import Image

    with Image.open(tmp_path / "a.gif") as made:
        assert made.n_frames == 4
        shown = np.asarray(made.convert("RGB"), int)
    assert np.abs(shown - film[0]).mean() < 12  # of a palette
    with pytest.raises(InputError, match="exists already"):
        plots.save_animation(film, tmp_path / "a.gif")
    for name, frames, says in (("b.png", film, "gif"), ("c.gif", [], "no frame")):
        with pytest.raises(InputError, match=says):
            plots.save_animation(frames, tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["a.gif"]


def test_a_film_needs_every_channel(pair):
    with pytest.raises(InputError, match="channels has no blue"):
        plots.animation({"red": pair[0], "green": pair[0]}, {}, {})


@pytest.mark.slow
def test_the_gallery_draws_them_all(tmp_path):
    script = Path(__file__).resolve().parents[1] / "notebooks" / "gallery.py"
    if not script.is_file():
        pytest.skip("the gallery lies in notebooks/, which an installed package does not carry")
    environment = {**os.environ, "PYTHONPATH": str(script.parents[1])}
    command = [sys.executable, "-W", "error", str(script), str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True, env=environment)
    assert len(list(tmp_path.glob("*.png"))) >= 15
    assert (tmp_path / "film.gif").is_file()
    source = script.read_text(encoding="utf-8")
    left_out = [name for name in plots.__all__ if inspect.isfunction(getattr(plots, name)) and name not in source]
    assert set(left_out) <= {"check_animation", "new_figure"}  # which draw nothing
