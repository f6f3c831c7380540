"""From a file with a plate, through the command line as a user types it, to a file with a colour photograph."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

import alignment
from alignment import datasets, read_image, write_image

# content of blue and of red against green, in pixels
MOVES = {"blue": (1.6, -2.3), "red": (-2.2, 1.45)}
HEIGHT, WIDTH, PAPER = 84, 100, 6


def run(*arguments, cwd):
    """Run the command line as a process of its own, compiled or not as this one is."""
    root = str(Path(alignment.__file__).parents[1])
    path = os.pathsep.join(p for p in (root, os.environ.get("PYTHONPATH")) if p)
    command = [sys.executable, "-W", "error", "-m", "alignment", *arguments]
    environment = os.environ | {"PYTHONPATH": path}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def worked(tmp_path_factory):
    """Return the folder in which a tiny 16-bit plate has been coloured, the process, and the plate."""
    folder = tmp_path_factory.mktemp("plates")
    views = [datasets.shifted_pair(*MOVES.get(name, (0, 0)), shape=(HEIGHT, WIDTH)).moving
             for name in ("blue", "green", "red")]  # fmt: skip
    # each filter passes its own share of the light
    views = [gain * view for gain, view in zip((0.6, 0.75, 0.9), views, strict=True)]
    plate = np.pad(np.concatenate(views).clip(0, 1), PAPER, constant_values=1.0)
    plate = np.rint(plate * 65535).astype(np.uint16)
    write_image(folder / "plate.tif", plate)
    done = run("colorize", "plate.tif", "-o", "colour.tif", "--json", cwd=folder)
    return folder, done, plate


def test_a_plate_becomes_a_photograph(worked):
    folder, done, plate = worked
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in folder.iterdir()) == ["colour.tif", "colour_shifts.json", "plate.tif"]
    (entry,) = json.loads(done.stdout)["plates"]
    assert (entry["input"], entry["success"], entry["status"]) == ("plate.tif", True, "converged")
    assert Path(entry["output"]).name == "colour.tif"
    assert entry["reference"] == "green"

    # displacements on the plate, whatever rectangles were chosen
    green = entry["exposures"]["green"]
    for number, name in ((-1, "blue"), (1, "red")):
        rectangle, moved = entry["exposures"][name], entry["registrations"][name]
        assert moved["success"]
        assert rectangle[2] - green[2] + moved["dx"] == pytest.approx(MOVES[name][0], abs=0.05)
        assert rectangle[0] - green[0] + moved["dy"] == pytest.approx(number * HEIGHT + MOVES[name][1], abs=0.05)
        assert 0 < max(moved["stderr"]) < 0.1

    # green stays as it was scanned
    top, bottom, left, right = entry["crop"]
    rgb = read_image(folder / "colour.tif")
    assert rgb.dtype == np.uint16
    assert rgb.shape == (bottom - top, right - left, 3)
    assert bottom - top > HEIGHT / 2
    assert right - left > WIDTH / 2
    assert (rgb[..., 1] == plate[top:bottom, left:right]).all()

    # the other two are what SciPy's linear interpolation makes of the scan at the truth, to a twentieth of a pixel
    for number, name, channel in ((-1, "blue", rgb[..., 2]), (1, "red", rgb[..., 0])):
        scan, (dx, dy) = plate.astype(float), MOVES[name]
        want = ndimage.shift(scan, (-number * HEIGHT - dy, -dx), order=1)[top:bottom, left:right]
        steepness = sum(np.abs(slope) for slope in np.gradient(want)).mean()
        assert np.abs(channel - want).mean() <= 0.05 * steepness


def test_a_photograph_is_not_replaced_unasked(worked):
    folder, _, _ = worked
    before = (folder / "colour.tif").read_bytes()
    again = run("colorize", "plate.tif", "-o", "colour.tif", cwd=folder)
    assert again.returncode == 1
    assert again.stdout == ""
    assert "colour.tif" in again.stderr
    assert "--overwrite" in again.stderr
    assert "Traceback" not in again.stderr
    assert (folder / "colour.tif").read_bytes() == before
