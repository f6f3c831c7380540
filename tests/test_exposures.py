"""Exposures: found on plates that are built here, whose rectangles are known, and on real ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from alignment import InputError, datasets, read_image
from alignment.exposures import CHANNELS, check_exposures, find_exposures, frame_end, is_negative, names_of

SHARED = Path(__file__).resolve().parents[1].parent / "shared" / "plates"
real = pytest.mark.skipif(not SHARED.is_dir(), reason="the real plates are not here: they are never shipped")
PLATES = ["00125v.jpg", "00149v.jpg", "00153v.jpg", "00351v.jpg", "00398v.jpg", "01112v.jpg"]

DOWN = ("blue", "green", "red")
BLACK, PAPER = 0.03, 0.96


def scene(height, width, seed):
    """Return a bright picture with structure of every size, all but no edges along its sides."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    picture = np.full((height, width), 0.55)
    for _ in range(40):
        angle, wave = rng.uniform(0, np.pi), rng.uniform(6, 90)
        picture += 0.035 * np.sin((x * np.cos(angle) + y * np.sin(angle)) * 2 * np.pi / wave + rng.uniform(0, 6))
    for _ in range(15):
        a, b = rng.integers(20, height - 50), rng.integers(20, width - 50)
        picture[a : a + rng.integers(8, 30), b : b + rng.integers(8, 30)] += rng.uniform(-0.3, 0.25)
    return picture.clip(0.12, 0.9)


def build(
    heights=(200, 200, 200),
    width=230,
    gaps=(5, 5),
    frame=(6, 6, 9, 9),
    paper=(10, 10, 10, 10),
    seed=0,
    exposures=True,
):
    """Return a plate and its rectangles; frame and paper as top, bottom, left, right."""
    views = [
        scene(max(heights), width, seed)[:height] * gain for height, gain in zip(heights, (0.8, 1.0, 0.9), strict=True)
    ]
    rows = frame[0] + sum(heights) + sum(gaps) + frame[1]
    glass = np.full((rows, frame[2] + width + frame[3]), BLACK)
    rectangles, y = {}, frame[0]
    for name, view, gap in zip(DOWN, views, (*gaps, 0), strict=True):
        glass[y : y + len(view), frame[2] : frame[2] + width] = view
        top, left = y + paper[0], frame[2] + paper[2]
        rectangles[name] = (top, top + len(view), left, left + width)
        y += len(view) + gap
    plate = np.pad(glass, ((paper[0], paper[1]), (paper[2], paper[3])), constant_values=PAPER)
    plate += np.random.default_rng(seed + 1).normal(0, 0.008, plate.shape)
    return np.rint(plate.clip(0, 1) * 255).astype(np.uint8), rectangles


def worst(found, rectangles):
    """Return by how many pixels the worst side is off."""
    assert found.rectangles.keys() == rectangles.keys()
    return max(int(np.abs(np.subtract(found.rectangles[name], rectangles[name])).max()) for name in rectangles)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"gaps": (3, 11)},
        {"gaps": (12, 2)},
        {"heights": (196, 201, 193)},
        {"frame": (3, 14, 2, 25)},
        {"paper": (0, 0, 0, 0)},
        {"paper": (60, 5, 0, 40)},
        {"paper": (5, 70, 50, 3)},
        {"paper": (0, 0, 0, 0), "frame": (0, 0, 0, 0)},
        {"paper": (70, 70, 30, 30)},
        {"seed": 5},
        {"width": 150, "seed": 6},
    ],
    ids=str,
)
def test_the_rectangles_are_those_the_plate_was_built_of(options):
    plate, rectangles = build(**options)
    found = find_exposures(plate)
    assert found.found
    assert not found.inverted
    assert worst(found, rectangles) <= 3


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p.astype(np.uint16) * 257,
        lambda p: p.astype(np.float32) / 255,
        lambda p: 40.0 + 3.0 * p,
        lambda p: (p // 2 + 60).astype(np.uint8),
        lambda p: np.dstack([p, p, p])[..., 1],
    ],
    ids=["16 bit", "float", "any scale", "faded", "strided"],
)
def test_levels_of_any_kind(change):
    plate, rectangles = build()
    assert worst(find_exposures(change(plate)), rectangles) <= 3


@pytest.mark.parametrize(
    "options", [{}, {"paper": (0, 0, 0, 0)}, {"paper": (40, 10, 0, 30)}, {"gaps": (4, 10)}], ids=str
)
def test_a_negative_has_the_same_rectangles_and_is_said_to_be_one(options):
    plate, _ = build(**options)
    positive, negative = find_exposures(plate), find_exposures(255 - plate)
    assert (positive.inverted, negative.inverted) == (False, True)
    assert positive.rectangles == negative.rectangles
    assert (is_negative(plate), is_negative(255 - plate)) == (False, True)


def test_a_plate_upside_down():
    plate, rectangles = build(gaps=(4, 9), paper=(30, 5, 12, 3))
    found = find_exposures(plate[::-1], order="rgb")
    height = len(plate)
    turned = {name: (height - b, height - t, left, right) for name, (t, b, left, right) in rectangles.items()}
    assert worst(found, turned) <= 3


def test_the_order_names_them():
    plate, _ = build()
    down = [find_exposures(plate).rectangles[name] for name in DOWN]
    assert [find_exposures(plate, order="grb").rectangles[name] for name in ("green", "red", "blue")] == down
    assert names_of("rbg") == ("red", "blue", "green")
    for order in ("bgg", "bg", "bgrr", "", None, "BGR"):
        with pytest.raises(InputError, match=r"order is .*; give the letters r, g and b"):
            names_of(order)


def test_what_is_damaged_moves_nothing():
    """Writing on the frame, a chip in the glass, a tape over a corner, a blot across the frame between exposures."""
    plate, rectangles = build(frame=(10, 10, 16, 16))
    plate[60:110, 14:20] = 240
    plate[300:330, -26:-8] = 246
    plate[:30, :60] = 130
    plate[210:235, 100:125] = 0
    assert worst(find_exposures(plate), rectangles) <= 3


def test_a_crooked_scan():
    """Frames that climb by three pixels from left to right are found where they are in the middle."""
    plate, rectangles = build(gaps=(3, 3))
    climbed = np.stack(
        [np.roll(plate[:, x], round(3 * x / plate.shape[1] - 1.5)) for x in range(plate.shape[1])], axis=1
    )
    found = find_exposures(climbed)
    assert found.found
    assert worst(found, rectangles) <= 4


def test_a_scan_cut_through_the_outer_exposures():
    plate, rectangles = build()
    cut = plate[28:-25, 22:-21]
    found = find_exposures(cut)
    height, width = cut.shape
    inside = {
        name: (max(t - 28, 0), min(b - 28, height), max(left - 22, 0), min(right - 22, width))
        for name, (t, b, left, right) in rectangles.items()
    }
    assert worst(found, inside) <= 3


def test_one_exposure_at_a_third_of_its_contrast():
    plate, rectangles = build()
    third = len(plate) // 3
    for n in range(3):
        faded = plate.astype(float)
        part = faded[n * third : (n + 1) * third]
        part[:] = part.mean() + (part - part.mean()) / 3
        assert worst(find_exposures(np.rint(faded).astype(np.uint8)), rectangles) <= 6


def test_large_scans_within_what_the_reduced_one_resolves():
    plate, rectangles = build(gaps=(8, 8))
    found = find_exposures(np.kron(plate, np.ones((5, 5), np.uint8)))
    assert worst(found, {name: tuple(5 * v for v in r) for name, r in rectangles.items()}) <= 15


def test_without_frames_thirds_are_taken_and_it_is_said():
    plate = np.concatenate([scene(100, 120, 0)] * 3)
    found = find_exposures(plate)
    assert not found.found
    assert found.rectangles == {"blue": (0, 100, 0, 120), "green": (100, 200, 0, 120), "red": (200, 300, 0, 120)}
    noise = find_exposures(np.random.default_rng(0).random((300, 100)))
    assert not noise.found
    assert not noise.inverted


@pytest.mark.parametrize(
    ("plate", "sentence"),
    [
        (np.full((300, 100), 7, np.uint8), "the plate is constant: every pixel is 7; give a scan with three exposures"),
        (np.eye(71, 100), r"the plate has 100 x 71 pixels \(width x height\), too few .* give at least 24 x 72"),
        (np.eye(300, 23), r"the plate has 23 x 300 pixels"),
    ],
)
def test_what_is_no_plate_is_refused(plate, sentence):
    with pytest.raises(InputError, match=sentence):
        find_exposures(plate)


def test_the_demonstration_plate():
    demo = datasets.demo_plate()
    found = find_exposures(demo.plate)
    assert found.found
    inside = {name: (t + 9, b - 9, left + 9, right - 9) for name, (t, b, left, right) in demo.exposures.items()}
    assert worst(found, inside) <= 4


def test_where_a_frame_ends():
    strip = np.array([0.9, 0.9, 0.05, 0.06, 0.05, 0.05, 0.6, 0.5, 0.6, 0.7, 0.6, 0.5])
    assert frame_end(np.array([strip] * 4), 10) == 6
    assert frame_end(np.array([strip] * 4), 4) is None
    text = strip.copy()
    text[3:5] = 0.95  # writing on the frame, in one strip of many
    assert frame_end(np.array([strip] * 7 + [text]), 10) == 6
    assert frame_end(np.full((4, 12), 0.4), 10) is None


@pytest.mark.parametrize(
    ("exposures", "sentence"),
    [
        ({"red": (0, 50, 0, 50)}, "give 'red', 'green' and 'blue'"),
        ([(0, 1, 2, 3)], "give 'red', 'green' and 'blue'"),
        (dict.fromkeys(CHANNELS, (0, 10, 0, 50)), "50 x 10 pixels .* too few to align"),
        (dict.fromkeys(CHANNELS, (0, 500, 0, 50)), "no window inside an image of shape"),
        (dict.fromkeys(CHANNELS, (0, 50.5, 0, 50)), "whole number"),
        (dict.fromkeys(CHANNELS, "all"), "'all'"),
    ],
)
def test_rectangles_by_hand_are_checked(exposures, sentence):
    with pytest.raises(InputError, match=sentence):
        check_exposures(exposures, (300, 100))


def test_rectangles_by_hand_may_be_of_any_size():
    given = {"red": [0, 90, 0, 80], "green": (100, 180, 5, 95), "blue": np.array([200, 300, 0, 100])}
    assert check_exposures(given, (300, 100))["blue"] == (200, 300, 0, 100)


# --- real plates ------------------------------------------------------------------------------------------------------


@real
@pytest.mark.slow
@pytest.mark.parametrize("name", PLATES)
def test_real_plates_whatever_is_around_them(name):
    """More paper, less paper, another depth, a negative: the same rectangles, on the plate."""
    plate = read_image(SHARED / name)
    height, width = plate.shape
    found = find_exposures(plate)
    assert found.found
    assert not found.inverted
    sizes = np.array([(b - t, right - left) for t, b, left, right in found.rectangles.values()])
    assert (np.abs(sizes / [0.32 * height, 0.91 * width] - 1) < 0.05).all()
    wide = find_exposures(np.pad(plate, ((100, 40), (30, 60)), constant_values=250))
    moved = {n: (t + 100, b + 100, left + 30, right + 30) for n, (t, b, left, right) in found.rectangles.items()}
    assert worst(wide, moved) <= 0.012 * height
    assert find_exposures(255 - plate).inverted
    assert worst(find_exposures(255 - plate), found.rectangles) <= 1
    assert worst(find_exposures(plate.astype(np.uint16) * 257), found.rectangles) == 0
    cut = find_exposures(plate[20:-20, 8:-8])
    inside = {
        n: (max(t - 20, 0), min(b - 20, height - 40), max(left - 8, 0), min(right - 8, width - 16))
        for n, (t, b, left, right) in found.rectangles.items()
    }
    assert worst(cut, inside) <= 0.012 * height
