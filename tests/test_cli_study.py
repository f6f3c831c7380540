"""``alignment study`` and ``alignment demo --animate``: what is written, said and refused."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

import alignment as al
from alignment import cli, plots, study
from alignment.commands import report
from alignment.experiment import RATES, STEPS
from alignment.imagefiles import read_image, write_image

WRITTEN = {"study.md", "study.csv", "study.json", "study.png", "causes.png"}


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def plate():
    """Write a small plate on bright paper; return its name."""
    photo = al.datasets.demo_plate(dtype="uint8", grain=0.0, dust=0, scratches=0).scene
    small = photo[120:280, 100:260].mean(axis=2)
    exposures = [np.pad(0.1 + 0.4 * small[20 + y : 120 + y, 20 + x : 120 + x], 6) for x, y in ((2, 1), (0, 0), (-1, 2))]
    scan = np.pad(np.vstack(exposures), 10, constant_values=1.0)
    write_image("plate.png", np.rint(255 * scan).astype(np.uint8))
    return "plate.png"


@pytest.fixture
def quick(monkeypatch):
    """Leave the figures out, which take longest."""
    monkeypatch.setattr(plots, "save", lambda figure, path, **_: Path(path).touch())
    monkeypatch.setattr(plots, "study_figure", lambda *_, **__: None)
    monkeypatch.setattr(plots, "causes_figure", lambda *_, **__: None)


def one_sentence(capsys):
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert "Traceback" not in captured.err
    return captured.err.strip()


@pytest.mark.slow
def test_it_writes_tables_and_figures_and_says_what_became_of_the_claims(plate, capsys):
    assert cli.main(["study", plate, "--repeats", "1"]) == 0
    said = capsys.readouterr().out
    folder = Path("alignment-study")
    assert {path.name for path in folder.iterdir()} == WRITTEN
    rows = list(csv.DictReader((folder / "study.csv").read_text().splitlines()))
    assert len(rows) == 2 * 2 * (2 * len(RATES) * len(STEPS) + 1)
    assert {row["method"] for row in rows} == {"text", "program", "ours"}
    data = json.loads((folder / "study.json").read_text())
    assert len(data["claims"]) == 14
    for claim in data["claims"]:
        assert claim["statement"] in said
        assert claim["statement"] in (folder / "study.md").read_text()
    assert read_image(folder / "study.png").shape[2] == 3
    assert read_image(folder / "causes.png").shape[2] == 3
    assert all(str(folder / name) in said for name in WRITTEN)


@pytest.mark.slow
def test_every_part_of_the_work_is_shown(plate, monkeypatch, capsys):
    """Bars cover starting, reading, all experiments, and the drawing of each figure."""
    from alignment.commands.console import STARTING, Bar, Session

    stages, units = [], []
    monkeypatch.setattr(Bar, "stage", lambda self, text: stages.append(text))
    monkeypatch.setattr(Session, "progress", lambda self, jobs, unit: units.append(unit) or jobs)
    assert cli.main(["study", plate, "--repeats", "1"]) == 0
    assert stages == [STARTING, "reading", "writing tables", "drawing study.png", "drawing causes.png"]
    assert units == ["piece"]


@pytest.mark.slow
def test_json_is_all_of_stdout(plate, quick, capsys):
    assert cli.main(["study", plate, "--repeats", "1", "--json", "-o", "out"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert {"answers", "rows", "endings", "roughness", "closures", "claims", "explanation", "files"} <= data.keys()
    assert data["answers"][0]["plate"] == "plate"
    assert data["rows"] == json.loads(Path("out/study.json").read_text())["rows"]


@pytest.mark.slow
def test_without_a_plate_it_is_that_of_the_demonstration(quick, capsys, monkeypatch):
    seen = []
    real = study.run_study

    def few(cases, **options):
        seen.extend(cases)
        return real([case_of_corner(case) for case in cases], **options)

    def case_of_corner(case):
        return study.Case(case.plate, case.channel, case.reference[:80, :90], case.moving[:80, :90], case.truth)

    monkeypatch.setattr(study, "run_study", few)
    assert cli.main(["study", "--repeats", "1"]) == 0
    assert [(case.plate, case.channel) for case in seen] == [("demo", "red"), ("demo", "blue")]
    assert all(case.truth is not None for case in seen)
    assert "truth" in capsys.readouterr().out


@pytest.mark.slow
def test_what_is_there_is_not_replaced(plate, quick, capsys):
    Path("out").mkdir()
    Path("out/study.csv").write_text("mine")
    assert cli.main(["study", plate, "-o", "out"]) == 1
    assert "exists already" in one_sentence(capsys)
    assert Path("out/study.csv").read_text() == "mine"
    assert [path.name for path in Path("out").iterdir()] == ["study.csv"]
    assert cli.main(["study", plate, "-o", "out", "--repeats", "1", "--overwrite"]) == 0
    assert Path("out/study.csv").read_text() != "mine"


def test_a_dry_run_writes_nothing(plate, capsys):
    assert cli.main(["study", plate, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in WRITTEN)
    assert [path.name for path in Path().iterdir()] == ["plate.png"]


@pytest.mark.slow
def test_a_plate_that_fails_does_not_keep_the_others_from_being_studied(plate, quick, capsys):
    write_image("white.png", np.full((300, 100), 250, np.uint8))
    assert cli.main(["study", "white.png", "missing.png", plate, "--repeats", "1"]) == 1
    captured = capsys.readouterr()
    first, second = captured.err.strip().splitlines()
    assert "white.png" in first
    assert "as the published program cuts" in first
    assert "missing.png" in second
    assert "the claims" in captured.out
    assert Path("alignment-study/study.md").is_file()


def test_no_plate_left_writes_nothing(capsys):
    assert cli.main(["study", "missing.png", "-o", "out"]) == 1
    assert "missing.png" in one_sentence(capsys)
    assert not Path("out").exists()


def test_plates_of_one_name_are_refused(plate, capsys):
    assert cli.main(["study", plate, f"elsewhere/{plate}"]) == 2
    assert "same name" in one_sentence(capsys)


@pytest.mark.parametrize("wrong", ["0", "-1", "two"])
def test_repeats_are_a_whole_number_above_zero(wrong, capsys):
    assert cli.main(["study", "--repeats", wrong]) == 2
    assert "above 0" in capsys.readouterr().err


def test_tables_keep_their_columns():
    head, body = ["a", "bb"], [["x|y", "1"], ["z", "22"]]
    assert report.as_markdown(head, body).splitlines() == ["| a | bb |", "| --- | --- |", "| x/y | 1 |", "| z | 22 |"]
    assert report.as_text(head, body).splitlines() == ["a    bb", "x|y  1", "z    22"]
    assert report.wrapped("  " + "word " * 50).splitlines()[1].startswith("  word")


# the animation of the demonstration


@pytest.mark.slow
def test_animate_writes_a_small_film_that_ends_aligned(capsys):
    from PIL import Image

    assert cli.main(["demo", "--animate", "film.gif", "-o", "out"]) == 0
    assert "film.gif" in capsys.readouterr().out
    assert Path("film.gif").stat().st_size < 400_000
    with Image.open("film.gif") as film:
        assert film.n_frames == 18
        assert film.info["loop"] == 0
        first = np.asarray(film.convert("RGB"), float)
        film.seek(17)
        last = np.asarray(film.convert("RGB"), float)
    width = int(0.54 * first.shape[1])

    def fringes(frame):
        """Return how much the channels differ, which displaced ones do at every edge."""
        return np.ptp(frame[:, :width], axis=2).mean()

    assert fringes(last) < 0.9 * fringes(first)


@pytest.mark.slow
def test_the_paths_of_the_film_are_short_and_belong_to_its_landscapes():
    """They are descended on grey levels, as the landscapes are drawn, and do not swing about for hundreds of steps."""
    from alignment.commands import demo

    made = al.colorize(plate := al.datasets.demo_plate().plate)
    for name, found in demo._plain_descents(plate, made).items():
        assert found.options["features"] == "intensity"
        assert found.success
        assert len(found.trace) < 120
        assert np.hypot(found.dx - made.registrations[name].dx, found.dy - made.registrations[name].dy) < 0.1


@pytest.mark.parametrize("name", ["film.png", "film", "film.mp4"])
def test_an_animation_is_a_gif(name, capsys):
    assert cli.main(["demo", "--animate", name, "-o", "out"]) == 1
    assert "ends in .gif" in one_sentence(capsys)
    assert not Path(name).exists()
    assert not list(Path("out").glob("*"))


def test_an_animation_is_not_replaced(capsys):
    Path("film.gif").write_text("mine")
    assert cli.main(["demo", "--animate", "film.gif", "-o", "out"]) == 1
    assert "film.gif exists already" in one_sentence(capsys)
    assert Path("film.gif").read_text() == "mine"
