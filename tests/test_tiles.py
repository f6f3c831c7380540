"""Tiles: what one displacement leaves over, on scenes that are formulas and so can be warped exactly."""

from __future__ import annotations

import json

import numpy as np
import pytest

import alignment as al
from alignment import InputError, cli
from alignment.plots.tiles import magnification

SHAPE = (260, 300)
CENTRE = (149.5, 129.5)
SHIFT = (3.3, -2.4)
TURN = np.radians(0.15)
ROTATION = np.array([[np.cos(TURN) - 1, -np.sin(TURN)], [np.sin(TURN), np.cos(TURN) - 1]])
_RNG = np.random.default_rng(7)
WAVES = [(*_RNG.uniform(-0.7, 0.7, 2), *_RNG.uniform(0, 6.28, 1)) for _ in range(40)]


def scene(x, y):
    """Return forty plane waves, long against a pixel."""
    return sum(np.sin(u * x + v * y + phase) for u, v, phase in WAVES) / 20


def pair(M=((0, 0), (0, 0)), shift=SHIFT, noise=0.02, motion=None, seed=0):
    """Return the scene, and the scene with its content at x + shift + M (x - c)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0 : SHAPE[0], 0 : SHAPE[1]].astype(float)
    back = np.linalg.inv(np.eye(2) + np.asarray(M))
    u, v = x - CENTRE[0] - shift[0], y - CENTRE[1] - shift[1]
    px, py = CENTRE[0] + back[0, 0] * u + back[0, 1] * v, CENTRE[1] + back[1, 0] * u + back[1, 1] * v
    if motion is not None:
        px, py = px - motion(x, y)[0], py - motion(x, y)[1]
    return tuple(image + rng.normal(0, noise, SHAPE) for image in (scene(x, y), scene(px, py)))


@pytest.fixture(scope="module")
def turned():
    """Return a pair that is turned, and its tiles."""
    images = pair(ROTATION)
    return images, al.local_displacements(*images)


def test_a_turn_is_measured(turned):
    local = turned[1]
    assert local.kind == "rotation"
    assert local.rotation == pytest.approx(0.15, abs=min(4 * local.fit.rotation_stderr, 0.01))
    assert local.scale == pytest.approx(1, abs=1e-4)
    assert "rotation of +0.15" in local.message
    assert local.known.all()
    # clockwise: what lies below the middle has moved to the left
    assert (local.dx[-1] < -0.1).all()
    assert (local.dx[0] > 0.1).all()
    wanted = np.einsum("ij,jrc->irc", ROTATION, np.stack([local.x - CENTRE[0], local.y - CENTRE[1]]))
    assert np.abs(np.stack([local.dx, local.dy]) - wanted).max() < 0.12
    assert local.spread == pytest.approx(np.sqrt(np.mean(np.sum(wanted**2, axis=0))), rel=0.1)
    assert local.spread > 3 * local.expected_spread


@pytest.mark.parametrize(
    ("M", "kind", "figure"),
    [
        (0.002 * np.eye(2), "scale", lambda fit: fit.scale - 1 - 0.002),
        ([[0, 0.002], [0.002, 0]], "shear", lambda fit: fit.shear[1] - 0.002),
        ([[-0.002, 0], [0, 0.002]], "shear", lambda fit: fit.shear[0] + 0.002),
    ],
)
def test_a_stretch_is_measured(M, kind, figure):
    local = al.local_displacements(*pair(M))
    assert local.kind == kind
    assert figure(local.fit) == pytest.approx(0, abs=1e-4)


def test_one_displacement_is_called_one():
    local = al.local_displacements(*pair(), tiles=(3, 5))
    assert local.dx.shape == (3, 5)
    assert local.kind == "translation"
    assert np.hypot(local.dx, local.dy).max() < 0.05
    assert local.fit.offset == pytest.approx((0, 0), abs=0.01)
    assert (np.abs(local.registration.dx - SHIFT[0]), np.abs(local.registration.dy - SHIFT[1])) < (0.01, 0.01)


def test_motion_of_a_part_is_found_where_it_is():
    def motion(x, y):
        inside = 1 / (1 + np.exp(np.hypot(x - 230, y - 190) - 60))
        return 0.8 * inside, -0.5 * inside

    local = al.local_displacements(*pair(motion=motion), tiles=(4, 4))
    assert local.kind.endswith("local motion")
    i, j = np.unravel_index(np.argmax(np.where(local.known, np.hypot(local.dx, local.dy), 0)), local.dx.shape)
    assert np.hypot(local.x[i, j] - 230, local.y[i, j] - 190) < 60
    assert local.differs[i, j]
    assert not local.differs[:2, :2].any()


def test_tiles_share_what_was_compared_and_are_read_where_they_are():
    images = pair(shift=(21.4, -13.7))
    found = al.register(*images)
    local = al.local_displacements(*images, found, tiles=(2, 3))
    top, bottom, left, right = found.window
    assert local.registration is found
    assert local.x.mean() == pytest.approx((left + right - 1) / 2, abs=1)
    assert local.y.mean() == pytest.approx((top + bottom - 1) / 2, abs=1)
    assert local.known.all()
    assert np.hypot(local.dx, local.dy).max() < 0.05


def test_tiles_without_structure_or_pixels_say_so():
    reference, moving = pair()
    reference[:130, :150] = moving[:130, :150] = 0.5
    mask = np.ones(SHAPE, bool)
    mask[130:, 150:] = False
    hidden = np.where(mask, reference, 77.0)
    # the middle of the window is that of the frame, give or take the displacement
    local = al.local_displacements(hidden, moving, reference_mask=mask, tiles=(4, 4))
    assert not local.known[0, 0]
    assert local.status[0, 0] in {"flat", "no correlation"}
    assert local.status[-1, -1] == "masked"
    assert np.isnan(local.dx[-1, -1])
    assert np.isnan(local.stderr[-1, -1]).all()
    assert local.known[0, -1]
    assert local.known[-1, 0]
    plain = json.loads(local.to_json())
    assert plain["dx"][-1][-1] is None
    assert plain["status"][-1][-1] == "masked"


def test_threads_change_nothing(turned):
    images, local = turned
    again = al.local_displacements(*images, local.registration, threads=3)
    assert np.array_equal(again.dx, local.dx)
    assert np.array_equal(again.covariance, local.covariance)
    assert again.message == local.message


def test_error_bars_hold():
    local = al.local_displacements(*pair(noise=0.1), tiles=(5, 5))
    error = np.stack([local.dx + local.registration.dx - SHIFT[0], local.dy + local.registration.dy - SHIFT[1]], -1)
    z = error[local.known] / local.stderr[local.known]
    assert 0.6 < np.sqrt(np.mean(z**2)) < 1.8


def test_few_tiles_are_too_few():
    local = al.local_displacements(*pair(), tiles=(1, 2))
    assert local.kind == "unknown"
    assert "2 of 2 tiles tell a displacement" in local.message


def test_as_plain_data(turned):
    local = turned[1]
    plain = json.loads(local.to_json())
    assert plain["tiles"] == [4, 4]
    assert np.array(plain["dx"]) == pytest.approx(local.dx)
    assert np.array(plain["stderr"]).shape == (4, 4, 2)
    assert plain["fit"]["kind"] == "rotation"
    assert plain["fit"]["rotation"] == local.rotation
    assert np.array(plain["fit"]["differs"]).shape == (4, 4)


def test_the_map(turned, tmp_path):
    images, local = turned
    figure = local.plot(tmp_path / "map.png", image=images[0])
    assert al.read_image(tmp_path / "map.png").shape[0] > 300
    ax = figure.axes[0]
    assert "rotation" in ax.get_title()
    assert len(ax.patches) == 16
    i, j = 1, 2
    magnify = magnification(local)
    ellipse = ax.patches[4 * i + j]
    assert ellipse.center == pytest.approx((local.x[i, j] + magnify * local.dx[i, j],
                                            local.y[i, j] + magnify * local.dy[i, j]))  # fmt: skip
    # the ellipse is that of 95 % of the covariance, as magnified as the arrow
    angle = np.radians(ellipse.angle)
    axes = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    drawn = axes @ np.diag([ellipse.width**2, ellipse.height**2]) @ axes.T / (4 * 5.99 * magnify**2)
    assert drawn == pytest.approx(local.covariance[i, j], rel=1e-6)
    with pytest.raises(InputError, match="exists"):
        local.plot(tmp_path / "map.png")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"tiles": 4}, "tiles is 4; give the numbers of rows and columns"),
        ({"tiles": "4x4"}, "tiles is '4x4'"),
        ({"tiles": (0, 3)}, r"tiles\[0\] is 0"),
        ({"tiles": (40, 3)}, "makes tiles of . x .. px; give at most"),
        ({"reach": 0}, "reach is 0"),
        ({"registration": 3}, "registration is int"),
        ({"threads": 0}, "threads is 0"),
        ({"reference_mask": np.ones((3, 3))}, "reference_mask has shape"),
    ],
)
def test_what_makes_no_sense_is_refused(turned, options, sentence):
    images, local = turned
    with pytest.raises(InputError, match=sentence):
        al.local_displacements(*images, **{"registration": local.registration, **options})


# the command


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Write a turned pair into a folder worked in."""
    monkeypatch.chdir(tmp_path)
    for name, image in zip(("reference.tif", "moving.tif"), pair(ROTATION), strict=True):
        al.write_image(name, (image / 4 + 0.5).astype(np.float32))
    return "reference.tif", "moving.tif"


def test_register_by_tiles(files, capsys):
    assert cli.main(["register", *files, "--tiles", "3x4", "--figure", "map.png", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["success"]
    assert found["local"]["tiles"] == [3, 4]
    assert found["local"]["fit"]["kind"] == "rotation"
    assert found["local"]["fit"]["rotation"] == pytest.approx(0.15, abs=0.01)
    assert al.read_image("map.png").ndim == 3
    assert cli.main(["register", *files, "--tiles"]) == 0
    assert "16 of 16 tiles" in capsys.readouterr().out


def test_register_without_tiles_has_none(files, capsys):
    assert cli.main(["register", *files, "--json"]) == 0
    assert "local" not in json.loads(capsys.readouterr().out)


def test_register_writes_no_figure_in_a_dry_run(files, tmp_path, capsys):
    assert cli.main(["register", *files, "--figure", "map.png", "--dry-run"]) == 0
    assert "map.png: would be written" in capsys.readouterr().out
    assert not (tmp_path / "map.png").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--tiles", "4"], 2, "'4' is not a grid of ROWSxCOLUMNS"),
        (["--tiles", "0x4"], 2, "'0x4' is not a grid"),
        (["--tiles", "90x90"], 1, "tiles is (90, 90), which makes tiles of"),
        (["--figure", "map.doc"], 2, "map.doc is no name for a figure"),
        (["--figure", "moving.tif"], 2, "the figure would replace moving.tif"),
        (["--figure", "nowhere/map.png"], 2, "nowhere"),
        (["-o", "same.png", "--figure", "same.png"], 2, "the figure would replace same.png"),
    ],
)
def test_register_refuses(files, capsys, arguments, code, sentence):
    if code == 2:  # argparse leaves by an exception, a mistake found later by a code
        with pytest.raises(SystemExit) as end:
            raise SystemExit(cli.main(["register", *files, *arguments]))
        assert end.value.code == 2
    else:
        assert cli.main(["register", *files, *arguments]) == code
    said = capsys.readouterr().err
    assert sentence in said
    assert "Traceback" not in said


def test_register_that_fails_looks_at_no_tiles(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name in ("a.tif", "b.tif"):
        al.write_image(name, rng.random((150, 150)).astype(np.float32))
    assert cli.main(["register", "a.tif", "b.tif", "--tiles", "--json"]) == 3
    said = capsys.readouterr()
    assert json.loads(said.out)["local"] is None
    assert "no tiles were looked at" in said.err


def test_tiles_of_a_negative():
    """A tile is too small to tell a curve of tones: its edges are compared."""
    one = al.datasets.shifted_pair(3.3, -2.6, noise=0.01, seed=3)
    report = al.local_displacements(one.reference, 1 - one.moving, tiles=(3, 3))
    assert report.registration.options["features"] == "toned"
    assert report.spread <= 0.2
