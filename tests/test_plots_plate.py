"""The page about one plate: what stands on it is what happened."""

from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.patches import Rectangle
from matplotlib.quiver import Quiver

from alignment import colorize, datasets
from alignment.plots import plate as page
from alignment.plots import plate_figure

pytestmark = pytest.mark.slow  # forty tiles are registered for a page


@pytest.fixture(scope="module")
def demo():
    return datasets.demo_plate(dtype="uint8")


@pytest.fixture(scope="module")
def made(demo):
    return colorize(demo.plate)


@pytest.fixture(scope="module")
def figure(demo, made):
    return plate_figure(demo.plate, made, title="plate.tif")


def panel(figure, title):
    return next(ax for ax in figure.axes if ax.get_title().startswith(title))


def test_the_page_has_every_panel(figure):
    titles = [ax.get_title() for ax in figure.axes]
    assert titles == [
        "the scan, and the exposures on it",
        "the exposures, laid on one another",
        "aligned",
        "in detail",
        "in detail, aligned",
        "loss of red, path and result",
        "loss of blue, path and result",
        "loss over the evaluations, a line for each level of the pyramid",
        "red against green, left over",
        "blue against green, left over",
    ]


def test_the_heading_says_what_came_out(figure, made):
    words = " ".join(text.get_text() for text in figure.texts)
    assert "plate.tif" in words
    assert "converged" in words
    red = made.registrations["red"]
    assert f"red:  dx {red.dx:+.2f} ± {red.stderr[0]:.2f}" in words


def test_the_rectangles_are_those_found(figure, made):
    boxes = [p for p in panel(figure, "the scan").patches if isinstance(p, Rectangle)]
    drawn = {
        (round(p.get_y() + 0.5), round(p.get_x() + 0.5), round(p.get_height()), round(p.get_width())) for p in boxes
    }
    wanted = [*made.exposures.values(), made.crop]
    assert drawn == {(top, left, bottom - top, right - left) for top, bottom, left, right in wanted}


def test_after_is_the_photograph_and_before_is_not(figure, made):
    shown = np.asarray(panel(figure, "aligned").images[0].get_array())
    np.testing.assert_allclose(shown, made.rgb / 255, atol=1e-6)
    before = np.asarray(panel(figure, "the exposures, laid").images[0].get_array())
    assert before.shape == shown.shape
    assert np.abs(before[..., 1] - shown[..., 1]).max() < 1e-6  # the reference stays
    assert np.abs(before[..., 0] - shown[..., 0]).mean() > 0.01


def test_the_result_lies_where_the_landscape_is_lowest(demo, made):
    for name, found in made.registrations.items():
        surface, factor = page._surface(demo.plate, made, name, (30.0, 30.0))
        row, column = np.unravel_index(np.argmin(surface.loss), surface.loss.shape)
        dx, dy = surface.displacement(int(row), int(column))
        assert abs(factor * dx - found.dx) <= factor
        assert abs(factor * dy - found.dy) <= factor


def test_what_is_left_over_is_what_was_put_in(made):
    """A channel that is displaced in one half of the picture shows so there, and only there."""
    field = page._residual(made.rgb, "red", made)
    assert np.isfinite(field.dx).sum() > 12
    assert np.nanmax(np.hypot(field.dx, field.dy)) < 0.3
    spoilt = made.rgb.copy()
    half = spoilt.shape[1] // 2
    spoilt[:, half:, 0] = np.roll(spoilt[:, half:, 0], 2, axis=0)
    field = page._residual(spoilt, "red", made)
    right = field.x > half + spoilt.shape[1] / 8
    left = field.x < half - spoilt.shape[1] / 8
    assert np.nanmedian(field.dy[right]) == pytest.approx(2.0, abs=0.15)
    assert abs(np.nanmedian(field.dy[left])) < 0.15


@pytest.mark.parametrize(("turn", "scale"), [(0.004, 0.0), (0.0, -0.006)])
def test_a_turn_and_a_change_of_scale_are_recognised(turn, scale):
    y, x = (values.ravel() for values in np.mgrid[50:950:5j, 50:950:5j])
    noise = np.random.default_rng(0).normal(0, 0.05, (2, 25))
    field = page._Field(
        x, y, scale * (x - 500) - turn * (y - 500) + noise[0], turn * (x - 500) + scale * (y - 500) + noise[1]
    )
    said = page._said(field, 20.0)
    assert (f"a turn by {np.degrees(turn):+.3f}"[:14] in said) == bool(turn)
    assert (f"a scale of {1 + scale:.3f}" in said) == bool(scale)


def test_no_structure_is_said(made):
    flat = np.full((300, 300, 3), 90, np.uint8)
    field = page._residual(flat, "red", made)
    assert np.isnan(field.dx).all()
    assert page._said(field, 1.0) == "too little structure to tell"


def test_arrows_point_where_the_content_went(figure):
    for name in ("red", "blue"):
        ax = panel(figure, f"{name} against")
        assert any(isinstance(c, Quiver) for c in ax.collections)
        assert ax.yaxis_inverted()


def test_the_page_can_be_saved_without_a_screen(figure):
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=40)
    assert file.getvalue()[:4] == b"\x89PNG"


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_other_depths_and_colour_scans(demo, made, dtype):
    deep = (demo.plate / 255).astype(np.float32) if dtype == "float32" else demo.plate.astype(np.uint16) * 257
    scan = np.stack([deep] * 3, axis=2)
    levels = page._unaligned(scan, made, made.crop, 1)
    flat = page._unaligned(demo.plate, made, made.crop, 1)
    np.testing.assert_allclose(levels, flat, atol=1e-4)


def test_blocks_are_means():
    image = np.arange(24, dtype=np.uint8).reshape(4, 6)
    np.testing.assert_allclose(page._reduced(image, 2)[0, 0], np.mean([0, 1, 6, 7]) / 255)
    assert page._reduced(image, 3).shape == (1, 2)
