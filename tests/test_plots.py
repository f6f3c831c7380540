"""The pictures: what is drawn is what was given, and nothing lies on anything else."""

from __future__ import annotations

import subprocess
import sys
from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest

from alignment import InputError, plots
from alignment.imagefiles import read_image

TRACE = np.dtype([("level", int), ("step", int), *((name, float) for name in ("dx", "dy", "loss"))])


def trace_to(dx, dy, *, levels=(2, 1, 0), steps=6):
    """Return a trace that halves the way to (dx, dy) at each step."""
    share = 1 - 0.5 ** np.arange(len(levels) * steps)
    records = np.zeros(len(share), TRACE)
    records["level"] = np.repeat(levels, steps)
    records["step"] = np.tile(np.arange(steps), len(levels))
    records["dx"], records["dy"], records["loss"] = share * dx, share * dy, -0.5 - 0.4 * share
    return records


@pytest.fixture
def ax():
    """Return the axes of an empty figure."""
    return plots.new_figure().add_subplot()


@pytest.fixture(scope="module")
def plate():
    """Return a plate of noise with a patch of structure, and what colouring it might have given."""
    rng = np.random.default_rng(7)
    grey = (2000 + 300 * rng.random((330, 140))).astype(np.uint16)
    exposures = {"blue": (10, 110, 20, 120), "green": (113, 213, 22, 122), "red": (220, 320, 18, 118)}
    for top, _, left, _ in exposures.values():
        grey[top + 40 : top + 60, left + 30 : left + 50] = 65535 * rng.integers(0, 2, (20, 20))
    crop = (120, 205, 30, 115)
    rgb = plots.unaligned(grey, exposures, crop, "green")
    registrations = {
        "red": SimpleNamespace(dx=-2.5, dy=9.25, loss=-0.9, trace=trace_to(-2.5, 9.25)),
        "blue": SimpleNamespace(dx=3.25, dy=-6.75, loss=-0.9, trace=trace_to(3.25, -6.75)),
    }
    made = SimpleNamespace(
        rgb=rgb, exposures=exposures, crop=crop, reference="green", registrations=registrations, success=True
    )
    return grey, made


def test_before_after_shows_both_on_one_scale(ax):
    figure = ax.figure
    other = figure.add_axes((0, 0, 0.1, 0.1))
    before, after = np.full((4, 6), 51, np.uint8), np.full((4, 6, 3), 0.5)
    assert plots.before_after([ax, other], before, after, titles=("one", "two")) == (ax, other)
    shown = [axes.get_images()[0] for axes in (ax, other)]
    assert [float(image.get_array().max()) for image in shown] == [pytest.approx(0.2), 0.5]
    assert shown[0].get_clim() == (0, 1)
    assert [axes.get_title() for axes in (ax, other)] == ["one", "two"]


def test_convergence_draws_every_loss_and_one_line_per_level(ax):
    trace = trace_to(4, -2)
    assert plots.convergence(ax, trace, label="red") is ax
    lines = [line for line in ax.lines if line.get_linestyle() == "-"]
    assert len(lines) == 3
    np.testing.assert_array_equal(np.concatenate([line.get_ydata() for line in lines]), trace["loss"])
    np.testing.assert_array_equal(np.concatenate([line.get_xdata() for line in lines]), np.arange(18))
    assert ax.get_legend_handles_labels()[1] == ["red"]
    assert ax.get_xlabel()
    assert ax.get_ylabel()


def test_a_descent_without_levels_is_one_line(ax):
    trace = trace_to(1, 1)[["step", "dx", "dy", "loss"]]
    plots.convergence(ax, trace)
    assert sum(line.get_linestyle() == "-" for line in ax.lines) == 1


def test_path_has_equal_scales_and_dy_downwards(ax):
    trace = trace_to(4, -2)
    assert plots.path(ax, trace, (4.0, -2.0)) is ax
    plots.path(ax, trace_to(-1, 3), (-1.0, 3.0))
    assert ax.get_aspect() == 1
    assert ax.yaxis_inverted()
    np.testing.assert_array_equal(ax.lines[0].get_xydata(), np.column_stack((trace["dx"], trace["dy"])))
    crosses = [line.get_xydata().tolist() for line in ax.lines if line.get_marker() == "+"]
    assert crosses == [[[4.0, -2.0]], [[-1.0, 3.0]]]
    assert "px" in ax.get_xlabel()
    assert "px" in ax.get_ylabel()


def test_path_over_contours_asks_the_objective_on_a_small_grid(ax):
    asked = []

    class Bowl:
        def value_and_gradient(self, dx, dy):
            asked.append((dx, dy))
            return (dx - 4) ** 2 + (dy + 2) ** 2, np.zeros(2)

    plots.path(ax, trace_to(4, -2), objective=Bowl())
    assert len(asked) == 625
    across, down = np.array(asked).T
    assert across.min() < 0 < 4 < across.max()
    assert down.min() < -2 < 0 < down.max()
    assert len(ax.collections) == 1


@pytest.mark.parametrize("trace", [trace_to(1, 1)[:0], np.zeros(3), trace_to(1, 1)[["step"]]])
def test_what_is_no_trace_is_refused(ax, trace):
    with pytest.raises(InputError, match="give the trace of a descent"):
        plots.convergence(ax, trace)
    with pytest.raises(InputError, match="give the trace of a descent"):
        plots.path(ax, trace)


def test_unaligned_cuts_the_same_place_out_of_each_rectangle(plate):
    grey, made = plate
    picture = plots.unaligned(grey, made.exposures, made.crop, "green")
    assert picture.dtype == grey.dtype
    assert picture.shape == (85, 85, 3)
    np.testing.assert_array_equal(picture[..., 1], grey[120:205, 30:115])
    np.testing.assert_array_equal(picture[..., 2], grey[17:102, 28:113])
    np.testing.assert_array_equal(picture[..., 0], grey[227:312, 26:111])


def test_unaligned_repeats_the_border_outside_the_plate(plate):
    grey, made = plate
    picture = plots.unaligned(grey, made.exposures, (100, 330, 0, 140), "green")
    assert picture.shape == (230, 140, 3)
    np.testing.assert_array_equal(picture[0, :, 2], grey[0, np.arange(-2, 138).clip(0)])


@pytest.mark.parametrize("channels", [(), (3,)])
def test_detail_finds_the_structure(channels):
    picture = np.zeros((200, 300, *channels))
    picture[120:160:2, 90:130] = 1.0
    top, bottom, left, right = plots.detail(picture)
    assert (bottom - top, right - left) == (40, 40)
    assert abs(top - 120) <= 2
    assert abs(left - 90) <= 2


def test_detail_stays_away_from_borders():
    picture = np.zeros((200, 300))
    picture[:6] = np.indices((6, 300)).sum(axis=0) % 2
    assert plots.detail(picture)[0] >= 6


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (7, 5), (9, 9), (60, 4)])
def test_detail_of_a_tiny_picture_lies_inside(shape):
    top, bottom, left, right = plots.detail(np.random.default_rng(0).random(shape))
    assert 0 <= top < bottom <= shape[0]
    assert 0 <= left < right <= shape[1]


@pytest.mark.parametrize("truth", [{"red": (-2.5, 9.2), "blue": (3.2, -6.75)}, None])
def test_demo_figure_shows_all_panels_without_overlap(plate, truth):
    figure = plots.demo_figure(*plate, truth)
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    assert len(figure.axes) == 7
    page = figure.bbox
    boxes = [axes.get_tightbbox(renderer) for axes in figure.axes]
    for box in boxes:
        assert page.x0 <= box.x0 < box.x1 <= page.x1
        assert page.y0 <= box.y0 < box.y1 <= page.y1
    for one, other in combinations(boxes, 2):
        assert not one.overlaps(other)
    texts = " ".join(text.get_text() for text in figure.axes[-1].texts)
    assert ("off by 0.050 px" in texts) == (truth is not None)


def test_demo_figure_takes_a_plate_stored_in_colour(plate):
    grey, made = plate
    assert len(plots.demo_figure(np.repeat(grey[..., None], 3, axis=2), made).axes) == 7


@pytest.mark.parametrize("name", ["f.png", "f.tif", "f.jpg", "f.pdf", "f.svg"])
def test_save_writes_a_complete_file(tmp_path, ax, name):
    ax.plot([0, 1], [0, 1])
    plots.save(ax.figure, tmp_path / name, dpi=50)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    if name.endswith(("png", "tif", "jpg")):
        assert read_image(tmp_path / name).shape == (240, 320, 3)
    else:
        assert (tmp_path / name).stat().st_size > 500


def test_save_refuses_what_is_there_and_what_it_does_not_know(tmp_path, ax):
    plots.save(ax.figure, tmp_path / "f.png", dpi=20)
    before = (tmp_path / "f.png").read_bytes()
    with pytest.raises(InputError, match="exists already"):
        plots.save(ax.figure, tmp_path / "f.png", dpi=30)
    assert (tmp_path / "f.png").read_bytes() == before
    plots.save(ax.figure, tmp_path / "f.png", dpi=30, overwrite=True)
    assert (tmp_path / "f.png").read_bytes() != before
    with pytest.raises(InputError, match="suffix"):
        plots.save(ax.figure, tmp_path / "f.gif")


def test_no_screen_and_no_pyplot_is_needed():
    code = (
        "import sys, numpy as np; from alignment import plots; assert 'matplotlib' not in sys.modules;"
        "plots.new_figure().add_subplot(); assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
