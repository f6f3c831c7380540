"""``alignment apply``: what was saved is applied as it is, and nothing is estimated."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alignment import cli, colour, datasets, plates, read_image, register, registration, shift, write_image
from alignment.imagefiles import read_resolution
from alignment.sidecar import Fingerprint, Record

REFERENCE = "green"


@pytest.fixture(scope="module")
def demo():
    return datasets.demo_plate(dtype="uint16")


@pytest.fixture
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def saved(inside, demo):
    """Return the name of a record of a plate that lies beside it, with displacements that nobody estimated."""
    write_image("plate.tif", demo.plate, resolution=(900, 900))
    top, bottom, left, right = demo.exposures[REFERENCE]
    result = {
        "success": True,
        "status": "converged",
        "message": "converged",
        "reference": REFERENCE,
        "exposures": {name: list(rectangle) for name, rectangle in demo.exposures.items()},
        "crop": [top + 20, bottom - 30, left + 25, right - 15],
        "registrations": {name: {"dx": dx, "dy": dy} for name, (dx, dy) in demo.truth.items()},
    }
    options = {"dtype": "keep", "balance": None, "contrast": False, "gamma": 1.0}
    record = Record(Fingerprint.of("plate.tif"), demo.plate.shape, options, result)
    record.write("plate_shifts.json")
    return "plate_shifts.json"


@pytest.fixture
def nothing_estimated(monkeypatch):
    """Fail whoever registers."""

    def refuse(*_, **__):
        raise AssertionError("this is estimating")

    monkeypatch.setattr(registration, "register", refuse)
    monkeypatch.setattr(plates, "registered", refuse)
    monkeypatch.setattr(plates, "colorize", refuse)


def files():
    return sorted(path.name for path in Path().rglob("*") if path.is_file())


def one_sentence(capsys):
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1, err
    assert "internal error" not in err
    return err.rstrip("\n")


def change(path, **values):
    """Change what a JSON file holds."""
    data = json.loads(Path(path).read_text())
    Path(path).write_text(json.dumps({**data, **values}))


# plates


def test_the_photograph_is_laid_together_as_saved(saved, demo, nothing_estimated, capsys):
    assert cli.main(["apply", saved, "plate.tif"]) == 0
    assert "plate_color.tif: " in capsys.readouterr().out
    made = read_image("plate_color.tif")
    crop = json.loads(Path(saved).read_text())["crop"]
    assert (made.shape, made.dtype) == ((crop[1] - crop[0], crop[3] - crop[2], 3), np.uint16)
    top, _, left, _ = demo.exposures[REFERENCE]
    window = np.s_[crop[0] - top : crop[1] - top, crop[2] - left : crop[3] - left]
    for channel, name in enumerate(("red", "green", "blue")):
        t, b, l, r = demo.exposures[name]  # noqa: E741
        exposure = demo.plate[t:b, l:r]
        laid = exposure if name == REFERENCE else shift(exposure, *demo.truth[name])
        assert np.abs(made[..., channel].astype(int) - laid[window]).max() <= 1


@pytest.mark.slow
def test_what_colorize_saved_makes_the_same_file_again(inside, demo):
    write_image("p.tif", demo.plate)
    options = ["--balance", "white-patch", "--contrast", "--gamma", "1.2", "--dtype", "8", "--crop", "overlap"]
    assert cli.main(["colorize", "p.tif", "-o", "first.png", *options, "-q"]) == 0
    assert cli.main(["apply", "first_shifts.json", "p.tif", "-o", "second.png", "-q"]) == 0
    assert Path("first.png").read_bytes() == Path("second.png").read_bytes()


def test_other_finishes_on_request(saved, demo):
    assert cli.main(["apply", saved, "plate.tif", "-o", "a.tif"]) == 0
    assert cli.main(["apply", saved, "plate.tif", "-o", "b.png", "--dtype", "8"]) == 0
    assert cli.main(["apply", saved, "plate.tif", "-o", "c.tif", "--gamma", "1.5"]) == 0
    plain = read_image("a.tif")
    assert np.abs(read_image("b.png") - plain / 257).max() <= 0.5
    np.testing.assert_array_equal(read_image("c.tif"), colour.Adjustment(gamma=1.5).apply(plain))


def test_saved_finishes_are_kept_or_left_out(saved):
    change(saved, options={"dtype": "8", "balance": "gray-world", "contrast": [1, 99], "gamma": 1.4})
    assert cli.main(["apply", saved, "plate.tif", "-o", "a.png"]) == 0
    assert (
        cli.main(["apply", saved, "plate.tif", "-o", "b.tif", "--dtype", "keep", "--balance", "none", "--gamma", "1"])
        == 0
    )
    assert read_image("a.png").dtype == np.uint8
    change(saved, options={})
    assert cli.main(["apply", saved, "plate.tif", "-o", "c.tif"]) == 0
    plain = read_image("c.tif")
    found = colour.measure(plain, balance="gray-world", contrast=(1, 99), gamma=1.4)
    assert np.abs(read_image("a.png") - found.apply(plain) / 257).max() <= 0.5
    np.testing.assert_array_equal(read_image("b.tif"), colour.measure(plain, contrast=(1, 99)).apply(plain))


@pytest.mark.parametrize("crop", ["none", "overlap", "400,500,60,180"])
def test_other_crops_on_request(saved, demo, crop, capsys):
    assert cli.main(["apply", saved, "plate.tif", "--crop", crop, "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)["images"]
    top, bottom, left, right = entry["crop"]
    assert read_image("plate_color.tif").shape[:2] == (bottom - top, right - left)
    if crop == "none":
        assert tuple(entry["crop"]) == tuple(demo.exposures[REFERENCE])
    elif "," in crop:
        assert entry["crop"] == [400, 500, 60, 180]


def test_many_plates_with_the_same_displacements(saved, demo, capsys):
    write_image("second.tif", demo.plate // 2)
    assert cli.main(["apply", saved, "plate.tif", "second.tif", "-o", "made"]) == 0
    first, second = (read_image(f"made/{name}_color.tif") for name in ("plate", "second"))
    assert np.abs(first / 2 - second).max() <= 2
    assert capsys.readouterr().out.splitlines()[-1] == "2 images: 2 done, 0 failed"


def test_a_plate_of_another_size_is_refused_and_the_others_get_done(saved, demo, capsys):
    write_image("a.tif", demo.plate[:-2])
    assert cli.main(["apply", saved, "a.tif", "plate.tif", "-o", "made"]) == 1
    out, err = capsys.readouterr()
    assert "but the displacements were found on" in err
    assert out.splitlines()[-1] == "2 images: 1 done, 1 failed"
    assert "plate_color.tif" in files()


def test_the_file_says_how_it_was_made(saved, demo):
    write_image("other.tif", demo.plate // 3, resolution=(300, 300))
    for name in ("plate", "other"):
        assert cli.main(["apply", saved, f"{name}.tif", "-o", f"{name}.png", "--dtype", "8"]) == 0
        with Image.open(f"{name}.png") as picture:
            text = picture.info["Description"]
        assert Fingerprint.of(f"{name}.tif").sha256 in text
        assert f"Plate: {name}.tif" in text
    assert read_resolution("plate.png") == pytest.approx((900, 900), abs=0.02)
    assert read_resolution("other.png") == pytest.approx((300, 300), abs=0.02)


def test_dry_run_writes_nothing(saved, capsys):
    before = files()
    assert cli.main(["apply", saved, "plate.tif", "-o", "new/folder", "--dry-run"]) == 0
    assert f"would be written to {Path('new/folder/plate_color.tif')}" in capsys.readouterr().out
    assert files() == before


def test_nothing_is_replaced_unless_told(saved, capsys):
    Path("plate_color.tif").write_text("precious")
    assert cli.main(["apply", saved, "plate.tif"]) == 1
    assert "plate_color.tif exists already; give --overwrite" in one_sentence(capsys)
    assert Path("plate_color.tif").read_text() == "precious"
    assert cli.main(["apply", saved, "plate.tif", "--overwrite"]) == 0


# pairs


@pytest.fixture
def pair(inside):
    """Return the names of a JSON file with a registration, and of its moving image."""
    made = datasets.shifted_pair(dx=2.4, dy=-1.7, shape=(90, 100))
    write_image("moving.tif", np.clip(made.moving, 0, 1), dtype="uint16")
    Path("pair.json").write_text(register(made.reference, made.moving).to_json())
    return "pair.json", "moving.tif"


def test_a_registered_pair(pair, nothing_estimated):
    shifts, moving = pair
    assert cli.main(["apply", shifts, moving]) == 0
    image = read_image(moving)
    found = registration.Registration.from_json(Path(shifts).read_text())
    np.testing.assert_array_equal(read_image("moving_aligned.tif"), found.apply(image))


def test_another_image_in_colour_and_at_another_depth(pair):
    shifts, moving = pair
    grey = read_image(moving)
    write_image("colour.png", np.stack([grey, grey // 2, grey // 4], axis=2), dtype="uint8")
    assert cli.main(["apply", shifts, "colour.png", moving, "-o", "made", "--dtype", "8"]) == 0
    made = read_image("made/colour_aligned.png")
    assert (made.shape[2], made.dtype) == (3, np.uint8)
    assert read_image("made/moving_aligned.png").dtype == np.uint8


def test_what_register_prints_can_be_applied(pair, capsys):
    _, moving = pair
    made = datasets.shifted_pair(dx=2.4, dy=-1.7, shape=(90, 100))
    write_image("reference.tif", np.clip(made.reference, 0, 1), dtype="uint16")
    assert cli.main(["register", "reference.tif", moving, "--json", "-o", "direct.tif"]) == 0
    Path("printed.json").write_text(capsys.readouterr().out)
    assert cli.main(["apply", "printed.json", moving, "-o", "applied.tif"]) == 0
    np.testing.assert_array_equal(read_image("direct.tif"), read_image("applied.tif"))


@pytest.mark.parametrize("option", [["--crop", "none"], ["--gamma", "2"], ["--balance", "none"], ["--contrast"]])
def test_options_that_are_for_plates(pair, capsys, option):
    shifts, moving = pair
    assert cli.main(["apply", shifts, moving, *option]) == 2
    assert f"{option[0]} is for plates" in capsys.readouterr().err
    assert files() == ["moving.tif", "pair.json"]


# what cannot be


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is not JSON"),
        ("a letter", "is not JSON"),
        ("[]", "holds no displacements"),
        ('{"dx": 1, "dy": 2}', "holds no displacements"),
        ('{"dx": 1, "dy": 2, "theta": []}', "not the JSON of a Registration"),
        ('{"format": "x", "frames": {"dx": [1]}}', "bad.json holds no displacements that are known here"),
        ('{"schema": "other"}', "schema is 'other'"),
        ('{"schema": "alignment-shifts-1"}', "is no record of a plate"),
    ],
)
def test_what_holds_no_displacements(pair, capsys, text, says):
    Path("bad.json").write_text(text)
    assert cli.main(["apply", "bad.json", "moving.tif"]) == 1
    sentence = one_sentence(capsys)
    assert "bad.json" in sentence
    assert says in sentence


@pytest.mark.parametrize("value", ["1", None, 1e9, [1]])
def test_displacements_that_cannot_be(pair, capsys, value):
    change("pair.json", dx=value)
    assert cli.main(["apply", "pair.json", "moving.tif"]) == 1
    assert "pair.json" in one_sentence(capsys)


def test_missing_files(saved, capsys):
    assert cli.main(["apply", "gone.json", "plate.tif"]) == 1
    assert "gone.json cannot be read" in one_sentence(capsys)
    assert cli.main(["apply", saved, "gone.tif"]) == 1
    assert "gone.tif cannot be read" in one_sentence(capsys)
    assert cli.main(["apply", saved]) == 2


def test_saved_displacements_are_not_an_output(saved, capsys):
    assert cli.main(["apply", saved, "plate.tif", "-o", "plate.tif", "--overwrite"]) == 2
    assert "would replace the input plate.tif" in capsys.readouterr().err
