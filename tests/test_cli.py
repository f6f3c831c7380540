"""The command line: what it prints, what it writes, and how it ends."""

from __future__ import annotations

import csv
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from alignment import (
    InputError,
    __version__,
    cli,
    colour,
    commands,
    datasets,
    imagefiles,
    plates,
    read_image,
    registration,
    write_image,
)
from alignment.imagefiles import read_resolution
from alignment.sidecar import read_record

FROZEN = {"input", "output", "success", "status", "message", "reference", "exposures", "crop", "registrations"}


@pytest.fixture(scope="session")
def demo():
    """Return a plate with known displacements."""
    return datasets.demo_plate(dtype="uint8")


@pytest.fixture
def inside(tmp_path, monkeypatch):
    """Work in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def plate(inside, demo):
    """Return the name of a file that holds a plate, in the folder worked in."""
    write_image("plate.png", demo.plate)
    return "plate.png"


@pytest.fixture
def quick(monkeypatch):
    """Put a quick stand-in in the place of `colorize`; return the calls it has had, and what it will answer."""
    state = SimpleNamespace(calls=[], success=True, error=None, darker=0)

    def colorize(image, **options):
        state.calls.append((image, options))
        if state.error is not None:
            raise state.error
        return _made(image >> state.darker if state.darker else image, state.success)

    monkeypatch.setattr(plates, "colorize", colorize)
    return state


def _made(image, success):
    """Return what colouring a plate might have given."""
    height, width = image.shape[0] // 3, image.shape[1]
    found = {
        name: SimpleNamespace(
            dx=dx,
            dy=-0.5,
            loss=-0.98,
            ncc=0.98,
            stderr=(float("nan"), float("nan")),
            success=success,
            status="converged" if success else "steps used up",
            message="converged after 5 steps" if success else "took all 5 steps",
            options={"loss": "ncc", "features": "edges"},
        )
        for name, dx in (("red", -2.25), ("blue", 3.5))
    }
    status = "converged" if success else "not converged"
    entry = {
        "success": success,
        "status": status,
        "message": f"both channels {status}",
        "reference": "green",
        "exposures": {
            name: (n * height, (n + 1) * height, 0, width) for n, name in enumerate(("blue", "green", "red"))
        },
        "crop": (height, 2 * height, 0, width),
        "registrations": {
            name: {"dx": r.dx, "dy": r.dy, "stderr": r.stderr, "loss": r.loss, "success": r.success}
            for name, r in found.items()
        },
        "closure": [0.3, -0.4],
    }
    rgb = np.stack([image[n * height : (n + 1) * height] for n in range(3)], axis=2)
    return SimpleNamespace(**(entry | {"registrations": found}), rgb=rgb, to_dict=lambda: dict(entry))


def files():
    """Return the names of all files in the folder worked in."""
    return sorted(str(path) for path in Path().rglob("*") if path.is_file())


def one_sentence(capsys):
    """Return the only line on stderr, and check that nothing is on stdout."""
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1, err
    assert "Traceback" not in err
    return err.rstrip("\n")


# the process


def run(*arguments, **options):
    """Run the command line as a process of its own."""
    root = Path(cli.__file__).parents[1]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])}
    environment.pop("NUMBA_DISABLE_JIT", None)  # nobody measures coverage in there
    command = [sys.executable, "-W", "error", "-m", "alignment", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, **options)


def test_version_in_a_process_of_its_own():
    done = run("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"alignment {__version__}\n", "")


def test_help_and_version_import_nothing_heavy():
    code = (
        "import sys; from alignment.cli import main\n"
        "assert main(['--version']) == 0 and main(['colorize', '--help']) == 0\n"
        "heavy = {'numpy', 'numba', 'matplotlib', 'imageio', 'scipy', 'tqdm'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    root = str(Path(cli.__file__).parents[1])
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root, stdout=subprocess.DEVNULL)


def test_a_bad_plate_in_a_process_of_its_own(inside):
    done = run("colorize", "missing.jpg")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == ("alignment: error: missing.jpg cannot be read, because it does not exist; check the path\n")


@pytest.mark.skipif(os.name != "posix", reason="needs a pipe that its reader has closed")
def test_a_reader_who_leaves_is_taken_quietly():
    root = Path(cli.__file__).parents[1]
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "alignment", "info"], stdout=writing, stderr=subprocess.PIPE, check=False, cwd=root
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.skipif(sys.platform != "linux", reason="needs file names that are any bytes")
def test_a_name_that_is_no_text_is_printed_all_the_same(inside):
    done = run("colorize", b"\xff.png")
    assert done.returncode == 1
    assert r"\udcff.png cannot be read" in done.stderr


# usage


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "COMMAND"),
        (["colourise"], "invalid choice: 'colourise'"),
        (["colorize"], "PLATE"),
        (["colorize", "a.png", "--loss", "ssim"], "invalid choice: 'ssim'"),
        (["colorize", "a.png", "--threads", "0"], "'0' is not a whole number above 0"),
        (["colorize", "a.png", "-q", "-v"], "not allowed with argument"),
        (["register", "a.png"], "MOVING"),
        (["register", "a.png", "b.png", "--max-shift", "nan"], "'nan' is not a number of pixels above 0"),
        (["register", "a.png", "b.png", "--method", "luck"], "invalid choice: 'luck'"),
        (["colorize", "a.png", "b.png", "-o", "c.png"], "c.png is one file, but there are 2 inputs"),
        (["colorize", "a.png", "-o", "c.gif"], "suffix '.gif'"),
        (["colorize", "a.png", "a.png"], "a.png and a.png would both be written as a_color"),
        (
            ["colorize", "x/a.png", "y/a.tif", "-o", "z"],
            f"x/a.png and y/a.tif would both be written as {Path('z/a_color')}",
        ),
        (["colorize", "a.png", "-o", "a.png", "--overwrite"], "would replace the input a.png"),
        (["colorize", "a.png", "a_color.png", "--overwrite"], "would replace the input a_color.png"),
        (["register", "a.png", "b.png", "-o", "b.png", "--overwrite"], "would replace the input b.png"),
        (["register", "a.png", "b.png", "-o", "a.png", "--overwrite"], "would replace the input a.png"),
    ],
)
def test_wrong_usage(inside, capsys, arguments, says):
    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert says in err
    assert files() == []


@pytest.mark.parametrize("arguments", [["--help"], ["demo", "--help"], ["colorize", "-h"], ["register", "-h"]])
def test_help_has_examples(capsys, arguments):
    assert cli.main(arguments) == 0
    assert "examples:\n  alignment " in capsys.readouterr().out


def test_methods_offered_are_those_that_exist():
    assert registration.METHODS == commands.register.METHODS


# colorize: what is written


def test_colorize_recovers_the_displacements(plate, demo, capsys):
    assert cli.main(["colorize", plate, "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    (entry,) = json.loads(out)["plates"]
    assert entry.keys() >= FROZEN
    assert (entry["input"], entry["output"], entry["reference"]) == (plate, "plate_color.png", "green")
    assert entry["success"] is True
    truth = commands.demo._referred(demo.truth, demo.exposures, entry["exposures"], "green")
    for name, (dx, dy) in truth.items():
        found = entry["registrations"][name]
        assert found.keys() >= {"dx", "dy", "stderr", "loss", "success"}
        assert np.hypot(found["dx"] - dx, found["dy"] - dy) < 0.05
    top, bottom, left, right = entry["crop"]
    picture = read_image("plate_color.png")
    assert (picture.shape, picture.dtype) == ((bottom - top, right - left, 3), np.uint8)


def test_colorize_tells_people(plate, quick, capsys):
    assert cli.main(["colorize", plate]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.splitlines() == [
        "plate.png: 472 x 1148 px, grey, uint8",
        "  red    dx   -2.250 px   dy   -0.500 px   NCC 0.9800 of edges   converged",
        "  blue   dx   +3.500 px   dy   -0.500 px   NCC 0.9800 of edges   converged",
        "  going round the three channels ends 0.50 px from where it began",
        "  both channels converged",
        "  plate_color.png: 472 x 382 px, colour, uint8",
    ]


def test_quiet_says_nothing(plate, quick, capsys):
    assert cli.main(["colorize", plate, "-q"]) == 0
    assert capsys.readouterr() == ("", "")


def test_verbose_adds_the_time_of_each_stage_on_stderr(plate, quick, capsys):
    assert cli.main(["colorize", plate, "-v", "--json"]) == 0
    out, err = capsys.readouterr()
    json.loads(out)
    stages = [line[:24].strip() for line in err.splitlines()]
    assert stages == [
        "interpreter and imports",
        "loading the kernels",
        "reading",
        "aligning",
        "writing",
        "everything else",
        "wall time",
    ]
    seconds = [float(line.split(" s ")[0].split()[-1]) for line in err.splitlines()]
    assert sum(seconds[:-1]) == pytest.approx(seconds[-1], abs=0.01)


def test_options_reach_the_function(plate, quick):
    arguments = ["--loss", "mse", "--reference", "blue", "--order", "rgb", "--crop", "none", "--threads", "2"]
    assert cli.main(["colorize", plate, *arguments]) == 0
    assert quick.calls[0][1] == {"loss": "mse", "reference": "blue", "order": "rgb", "crop": "none", "threads": 2}


@pytest.mark.parametrize(
    ("stored", "option", "suffix", "dtype"),
    [
        ("uint8", "keep", ".png", "uint8"),
        ("uint8", "16", ".tif", "uint16"),
        ("uint16", "keep", ".tif", "uint16"),
        ("uint16", "8", ".png", "uint8"),
        ("float32", "keep", ".tif", "float32"),
        ("float32", "8", ".png", "uint8"),
    ],
)
def test_depth(inside, quick, stored, option, suffix, dtype):
    image = np.linspace(0, 1, 9 * 12 * 10).reshape(36, 30)
    write_image("p.tif", image, dtype=stored)
    assert cli.main(["colorize", "p.tif", "--dtype", option]) == 0
    assert files() == ["p.tif", f"p_color{suffix}", "p_shifts.json"]
    assert read_image(f"p_color{suffix}").dtype == dtype


@pytest.mark.parametrize("name", ["out.png", "out.jpg"])
def test_a_format_that_cannot_hold_the_depth_is_refused_before_the_work(inside, quick, capsys, name):
    write_image("p.tif", np.zeros((30, 20), np.uint16))
    assert cli.main(["colorize", "p.tif", "-o", name]) == 1
    kind = {"out.png": "PNG in colour", "out.jpg": "JPEG"}[name]
    assert f"{name} is to hold uint16, which {kind} cannot; name it .tif, or give --dtype 8" in one_sentence(capsys)
    assert quick.calls == []
    assert files() == ["p.tif"]


def test_output_may_be_a_folder_that_is_made(plate, quick):
    assert cli.main(["colorize", plate, "-o", "some/where"]) == 0
    assert files() == [
        "plate.png",
        *(str(Path("some/where", f"plate_{name}")) for name in ("color.png", "shifts.json")),
    ]


def test_output_may_be_a_folder_with_a_dot_that_exists(plate, quick):
    Path("v1.png").mkdir()
    assert cli.main(["colorize", plate, "-o", "v1.png"]) == 0
    assert files() == ["plate.png", *(str(Path("v1.png", f"plate_{name}")) for name in ("color.png", "shifts.json"))]


def test_output_may_be_a_file(plate, quick):
    assert cli.main(["colorize", plate, "-o", "out.tif"]) == 0
    assert files() == ["out.tif", "out_shifts.json", "plate.png"]


def test_dry_run_writes_nothing(plate, quick, capsys):
    assert cli.main(["colorize", plate, "-o", "new/folder", "--dry-run"]) == 0
    assert f"would be written to {Path('new/folder/plate_color.png')}" in capsys.readouterr().out
    assert cli.main(["colorize", plate, "--dry-run", "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)["plates"]
    assert entry.keys() >= FROZEN
    assert entry["status"] == "dry run"
    assert quick.calls == []
    assert files() == ["plate.png"]
    assert not Path("new").exists()


def test_dry_run_finds_what_would_fail(plate, quick, capsys):
    Path("plate_color.png").write_text("precious")
    assert cli.main(["colorize", plate, "--dry-run"]) == 1
    assert "plate_color.png exists already; give --overwrite" in one_sentence(capsys)


def test_overwrite_is_needed_and_enough(plate, quick, capsys):
    Path("plate_color.png").write_text("precious")
    assert cli.main(["colorize", plate]) == 1
    assert one_sentence(capsys).startswith(
        "alignment: error: plate.png: plate_color.png exists already; give --overwrite"
    )
    assert quick.calls == []
    assert Path("plate_color.png").read_text() == "precious"
    assert cli.main(["colorize", plate, "--overwrite"]) == 0
    assert read_image("plate_color.png").ndim == 3


@pytest.mark.parametrize("loaded", [True, False])
def test_threads_are_limited(plate, quick, monkeypatch, loaded):
    asked = []
    numba = SimpleNamespace(set_num_threads=asked.append, config=SimpleNamespace(NUMBA_NUM_THREADS=4))
    monkeypatch.setenv("NUMBA_NUM_THREADS", "7")
    monkeypatch.setitem(sys.modules, "numba", numba if loaded else None)
    assert cli.main(["colorize", plate, "--threads", "9", "--overwrite"]) == 0
    assert asked == ([4] if loaded else [])
    assert os.environ["NUMBA_NUM_THREADS"] == ("7" if loaded else "9")


# colorize: what cannot be used


def _text(path):
    path.write_text("this is a letter, not a picture\n")


def _half_a_jpeg(path):
    whole = path.with_name("whole.jpg")
    write_image(whole, np.random.default_rng(0).integers(0, 255, (120, 60), np.uint8))
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    whole.unlink()


def _constant(path):
    write_image(path, np.full((300, 100), 77, np.uint8))


def _tiny(path):
    write_image(path, np.arange(6, dtype=np.uint8).reshape(3, 2))


BAD = [
    ("missing.jpg", lambda path: None, "does not exist"),
    ("folder.jpg", Path.mkdir, "is a folder"),
    ("letter.jpg", _text, "its content is text"),
    ("half.jpg", _half_a_jpeg, "damaged or incomplete JPEG"),
    ("empty.png", Path.touch, "is empty (0 bytes)"),
    ("constant.png", _constant, "constant"),
    ("tiny.png", _tiny, ""),
]


@pytest.mark.parametrize(("name", "make", "says"), BAD, ids=[name for name, *_ in BAD])
def test_bad_input_is_one_sentence_and_leaves_nothing(inside, capsys, name, make, says):
    make(Path(name))
    before = files()
    assert cli.main(["colorize", name]) == 1
    sentence = one_sentence(capsys)
    assert sentence.startswith("alignment: error: ")
    assert "internal error" not in sentence
    assert name in sentence
    assert says in sentence
    assert files() == before


@pytest.mark.parametrize(("name", "make", "says"), BAD, ids=[name for name, *_ in BAD])
def test_bad_input_as_json(inside, capsys, name, make, says):
    make(Path(name))
    assert cli.main(["colorize", name, "--json"]) == 1
    out, err = capsys.readouterr()
    (entry,) = json.loads(out)["plates"]
    assert entry.keys() >= FROZEN
    assert (entry["input"], entry["output"], entry["success"], entry["status"]) == (name, None, False, "failed")
    assert err == f"alignment: error: {entry['message']}\n"


def test_the_others_still_get_done(plate, quick, capsys):
    _text(Path("letter.jpg"))
    assert cli.main(["colorize", "letter.jpg", plate, "gone.png", "-o", "made"]) == 1
    out, err = capsys.readouterr()
    made = [str(Path("made", f"plate_{name}")) for name in ("color.png", "shifts.json")]
    assert files() == ["letter.jpg", *made, "plate.png"]
    assert err.count("alignment: error: ") == 2
    assert out.splitlines()[-1] == "3 plates: 1 done, 0 not converged, 2 failed"


def test_no_bar_where_nobody_watches(plate, quick, capsys, demo):
    write_image("second.png", demo.plate)
    assert cli.main(["colorize", plate, "second.png"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("quiet", [True, False])
def test_a_bar_on_stderr_where_someone_watches(plate, quick, capsys, monkeypatch, demo, quiet):
    write_image("second.png", demo.plate)
    monkeypatch.setattr(type(sys.stderr), "isatty", lambda stream: True)
    assert cli.main(["colorize", plate, "second.png", *(["-q"] if quiet else [])]) == 0
    out, err = capsys.readouterr()
    assert ("/2" in err) == (not quiet)
    assert "/2" not in out


def test_what_did_not_converge_is_written_and_told(plate, quick, capsys):
    quick.success = False
    assert cli.main(["colorize", plate]) == 3
    assert "steps used up: took all 5 steps" in capsys.readouterr().out
    assert read_image("plate_color.png").ndim == 3
    assert cli.main(["colorize", plate, "gone.png", "--overwrite"]) == 1


def test_numbers_that_are_not_finite_are_null_in_json(plate, quick, capsys):
    assert cli.main(["colorize", plate, "--json"]) == 0
    out = capsys.readouterr().out
    assert "NaN" not in out
    assert json.loads(out)["plates"][0]["registrations"]["red"]["stderr"] == [None, None]


@pytest.mark.parametrize("output", ["letter.txt/deep", "letter"])
def test_a_folder_that_cannot_be_made(plate, quick, capsys, output):
    _text(Path("letter.txt"))
    _text(Path("letter"))
    assert cli.main(["colorize", plate, "-o", output]) == 1
    assert "choose another with -o" in one_sentence(capsys)
    assert quick.calls == []


def test_an_output_that_cannot_be_written(plate, quick, capsys):
    assert cli.main(["colorize", plate, "-o", "no/such/folder/out.png"]) == 1
    assert "no/such/folder does not exist; create it first" in one_sentence(capsys)
    assert quick.calls == []


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="needs a folder that refuses its user")
def test_a_folder_that_refuses(plate, quick, capsys):
    Path("locked").mkdir(mode=0o500)
    assert cli.main(["colorize", plate, "-o", "locked"]) == 1
    assert "permission is denied" in one_sentence(capsys)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (InputError("plate is too narrow; give a wider one."), "plate.png: plate is too narrow; give a wider one"),
        (OSError(28, "No space left on device", "x.png"), "plate.png: x.png: no space left on device; check the path"),
        (MemoryError(), "plate.png: the memory of this machine does not suffice"),
        (ZeroDivisionError("by\nnought"), "plate.png: internal error, ZeroDivisionError: by nought; this is a defect"),
    ],
)
def test_errors_are_one_sentence_with_a_traceback_only_on_request(plate, quick, capsys, error, says):
    quick.error = error
    assert cli.main(["colorize", plate]) == 1
    sentence = one_sentence(capsys)
    assert sentence.startswith(f"alignment: error: {says}")
    assert not sentence.endswith(".")
    assert cli.main(["colorize", plate, "-v"]) == 1
    assert "Traceback" not in capsys.readouterr().err
    assert cli.main(["colorize", plate, "-vv"]) == 1
    assert "Traceback" in capsys.readouterr().err
    assert files() == ["plate.png"]


def test_interrupted(plate, quick, capsys):
    quick.error = KeyboardInterrupt()
    assert cli.main(["colorize", plate, plate.replace("plate", "other")]) == 130
    assert capsys.readouterr() == ("", "alignment: interrupted\n")
    assert files() == ["plate.png"]


# colorize: records, and doing again


class Killed(BaseException):
    """The end of a process that nothing in it can stop, other than that what it has begun to write is tidied up."""


def picture_and_record():
    return Path("plate_color.png"), Path("plate_shifts.json")


def test_a_record_lies_beside_the_picture(plate, quick):
    assert cli.main(["colorize", plate, "--crop", "overlap"]) == 0
    picture, record = picture_and_record()
    held = read_record(record)
    assert held.output.matches(picture)
    assert held.input.matches(plate)
    assert held.options["crop"] == "overlap"
    assert held.displacements == {"red": (-2.25, -0.5), "blue": (3.5, -0.5)}
    data = json.loads(record.read_text())
    assert data.keys() >= FROZEN - {"input", "output"}
    assert data["registrations"]["red"]["stderr"] == [None, None]


def test_what_is_done_and_unchanged_is_not_done_again(plate, quick, capsys):
    assert cli.main(["colorize", plate, "-o", ".", "--json"]) == 0
    first = json.loads(capsys.readouterr().out)["plates"][0]
    before = {path: path.stat().st_mtime_ns for path in picture_and_record()}
    assert cli.main(["colorize", plate, "-o", ".", "--json"]) == 0
    again = json.loads(capsys.readouterr().out)["plates"][0]
    assert len(quick.calls) == 1
    assert (first.pop("done_before"), again.pop("done_before")) == (False, True)
    assert first.pop("seconds") > 0 <= again.pop("seconds")
    assert first == again
    assert {path: path.stat().st_mtime_ns for path in picture_and_record()} == before
    assert cli.main(["colorize", plate, "-o", "."]) == 0
    assert "plate.png: done before, and nothing has changed; --force does it again" in capsys.readouterr().out


def test_what_did_not_converge_before_still_has_not(plate, quick, capsys):
    quick.success = False
    assert cli.main(["colorize", plate, "-o", "."]) == 3
    assert cli.main(["colorize", plate, "-o", "."]) == 3
    assert len(quick.calls) == 1


def test_one_plate_to_one_file_is_refused_the_second_time(plate, quick, capsys):
    assert cli.main(["colorize", plate]) == 0
    before = Path("plate_color.png").stat().st_mtime_ns
    capsys.readouterr()
    assert cli.main(["colorize", plate]) == 1
    assert (
        one_sentence(capsys)
        .rstrip()
        .endswith(
            "plate_color.png exists already, made from this plate with these options by this version; "
            "give --overwrite to make it again, or another name with -o"
        )
    )
    assert Path("plate_color.png").stat().st_mtime_ns == before
    assert len(quick.calls) == 1
    assert cli.main(["colorize", plate, "--overwrite"]) == 0


def test_force_does_it_again_but_replaces_only_what_is_ours(plate, quick, capsys):
    assert cli.main(["colorize", plate]) == 0
    assert cli.main(["colorize", plate, "--force"]) == 0
    assert len(quick.calls) == 2
    write_image("plate_color.png", np.zeros((4, 4, 3), np.uint8), overwrite=True)  # somebody has retouched it
    capsys.readouterr()
    assert cli.main(["colorize", plate, "--force"]) == 1
    assert "plate_color.png exists already; give --overwrite" in one_sentence(capsys)
    assert read_image("plate_color.png").shape == (4, 4, 3)
    assert cli.main(["colorize", plate]) == 1
    assert cli.main(["colorize", plate, "--overwrite"]) == 0
    assert read_image("plate_color.png").shape != (4, 4, 3)


CHANGES = [
    (["--crop", "none"], "with another crop"),
    (["--gamma", "1.5"], "with another gamma"),
    (["--reference", "red", "--loss", "mse"], "with another loss and reference"),
]


@pytest.mark.parametrize(("options", "says"), CHANGES, ids=[says for _, says in CHANGES])
def test_other_options_are_other_work(plate, quick, capsys, options, says):
    assert cli.main(["colorize", plate]) == 0
    old = Path("plate_color.png").read_bytes()
    capsys.readouterr()
    assert cli.main(["colorize", plate, *options]) == 1
    assert f"plate_color.png exists already, made {says}; give --overwrite" in one_sentence(capsys)
    assert Path("plate_color.png").read_bytes() == old
    assert cli.main(["colorize", plate, *options, "--overwrite"]) == 0
    assert cli.main(["colorize", plate, *options, "-o", "."]) == 0
    assert len(quick.calls) == 2


def test_another_plate_of_the_same_name_is_other_work(plate, quick, capsys, demo):
    assert cli.main(["colorize", plate]) == 0
    write_image(plate, demo.plate[::-1], overwrite=True)
    capsys.readouterr()
    assert cli.main(["colorize", plate]) == 1
    assert "made from another plate, or another state of it" in one_sentence(capsys)
    assert cli.main(["colorize", plate, "--overwrite"]) == 0


def test_another_version_is_other_work(plate, quick, capsys):
    assert cli.main(["colorize", plate]) == 0
    record = Path("plate_shifts.json")
    record.write_text(record.read_text().replace(f"alignment {__version__}", "alignment 0.0.1"))
    capsys.readouterr()
    assert cli.main(["colorize", plate]) == 1
    assert "made by version 0.0.1; give --overwrite" in one_sentence(capsys)
    # in a folder it is made again, as the same work; what differs in more than the version is not
    assert cli.main(["colorize", plate, "-o", ".", "--gamma", "2"]) == 1
    assert "with another gamma, by version 0.0.1; give --overwrite to replace it, or another folder" in one_sentence(
        capsys
    )
    assert len(quick.calls) == 1
    assert cli.main(["colorize", plate, "-o", "."]) == 0
    assert len(quick.calls) == 2
    assert read_record(record).version == __version__
    assert cli.main(["colorize", plate, "-o", "."]) == 0
    assert len(quick.calls) == 2


def test_what_somebody_has_changed_is_kept_whatever_the_version(plate, quick, capsys):
    assert cli.main(["colorize", plate]) == 0
    record = Path("plate_shifts.json")
    record.write_text(record.read_text().replace(f"alignment {__version__}", "alignment 0.0.1"))
    write_image("plate_color.png", np.zeros((4, 4, 3), np.uint8), overwrite=True)
    capsys.readouterr()
    assert cli.main(["colorize", plate, "-o", "."]) == 1
    assert "plate_color.png exists already" in one_sentence(capsys)
    assert read_image("plate_color.png").shape == (4, 4, 3)


def test_a_record_of_another_picture_is_not_replaced(plate, quick, capsys):
    assert cli.main(["colorize", plate]) == 0
    capsys.readouterr()
    assert cli.main(["colorize", plate, "--dtype", "16"]) == 1
    assert "plate_shifts.json exists already, made with another dtype" in one_sentence(capsys)
    assert files() == ["plate.png", "plate_color.png", "plate_shifts.json"]


def test_a_foreign_file_in_the_place_of_the_record_is_kept(plate, quick, capsys):
    Path("plate_shifts.json").write_text('{"mine": 1}')
    assert cli.main(["colorize", plate]) == 1
    assert "plate_shifts.json exists already; give --overwrite" in one_sentence(capsys)
    assert quick.calls == []


def test_a_record_without_its_picture_is_an_interrupted_run(plate, quick):
    assert cli.main(["colorize", plate]) == 0
    Path("plate_color.png").unlink()
    assert cli.main(["colorize", plate]) == 0
    assert len(quick.calls) == 2
    assert read_image("plate_color.png").ndim == 3


@pytest.mark.parametrize("renamed", [0, 1, 2])
@pytest.mark.parametrize("death", [KeyboardInterrupt, Killed])
def test_stopped_between_any_two_renamings(plate, quick, monkeypatch, renamed, death):
    """Whoever is stopped leaves nothing damaged, and the next run completes, without being told to overwrite."""
    from alignment import replacement

    true_rename, count = replacement._rename, []

    def rename(*names, **options):
        if len(count) == renamed:
            raise death
        count.append(names)
        true_rename(*names, **options)

    monkeypatch.setattr(replacement, "_rename", rename)
    if renamed < 2:
        with pytest.raises(Killed) if death is Killed else nullcontext():
            cli.main(["colorize", plate])
    monkeypatch.setattr(replacement, "_rename", true_rename)
    assert set(files()) <= {"plate.png", "plate_shifts.json", "plate_color.png"}  # no temporary file
    assert not Path("plate_color.png").exists()
    assert cli.main(["colorize", plate]) == 0
    held = read_record("plate_shifts.json")
    assert held.output.matches("plate_color.png")


@pytest.mark.parametrize("moment", ["reading", "aligning"])
def test_what_another_run_has_done_meanwhile_is_done(plate, quick, monkeypatch, capsys, moment):
    """Two people start the same work, or a worker outlives its run by one plate."""
    other = ["colorize", plate, "-o", ".", "-q"]
    honest = {"reading": imagefiles.read_image, "aligning": plates.colorize}

    def overtaken(*arguments, **options):
        monkeypatch.setattr(imagefiles, "read_image", honest["reading"])
        monkeypatch.setattr(plates, "colorize", honest["aligning"])
        assert cli.main(other) == 0
        return honest[moment](*arguments, **options)

    module, name = {"reading": (imagefiles, "read_image"), "aligning": (plates, "colorize")}[moment]
    monkeypatch.setattr(module, name, overtaken)
    assert cli.main(["colorize", plate, "-o", "."]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert printed.out.startswith("plate.png: done before, and nothing has changed")
    assert files() == ["plate.png", "plate_color.png", "plate_shifts.json"]
    assert read_record("plate_shifts.json").output.matches("plate_color.png")


@pytest.mark.parametrize("renamed", [0, 1, 2])
@pytest.mark.parametrize("again", [["--force"], []])
def test_stopped_while_what_is_ours_is_replaced(plate, quick, monkeypatch, renamed, again):
    """Picture, record and figure of an earlier run are still there, each old or new, and all are known to be ours."""
    from alignment import replacement

    def plate_figure(image, made, *, title):
        return SimpleNamespace(savefig=lambda file, format, dpi: file.write(b"x" * (1 + len(quick.calls))))

    monkeypatch.setattr("alignment.plots.plate_figure", plate_figure)
    order = ["colorize", plate, "-o", ".", "--figures"]
    assert cli.main(order) == 0
    quick.darker = 1
    true_rename, count = replacement._rename, []

    def rename(*names, **options):
        if len(count) == renamed:
            raise Killed
        count.append(names)
        true_rename(*names, **options)

    monkeypatch.setattr(replacement, "_rename", rename)
    with pytest.raises(Killed):
        cli.main([*order, "--force"])
    monkeypatch.setattr(replacement, "_rename", true_rename)
    assert files() == ["plate.png", "plate_color.png", "plate_figure.png", "plate_shifts.json"]
    assert cli.main([*order, *again]) == 0
    held = read_record("plate_shifts.json")
    assert held.output.matches("plate_color.png")
    assert held.figure.matches("plate_figure.png")
    assert cli.main(order) == 0
    assert len(quick.calls) == (2 if renamed == 0 and not again else 3)


def _started(order, folder):
    """Start a run as a process of its own."""
    environment = os.environ | {"PYTHONPATH": str(Path(cli.__file__).parents[1])}
    environment.pop("NUMBA_DISABLE_JIT", None)
    return subprocess.Popen(
        [sys.executable, "-m", "alignment", *order], cwd=folder, env=environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def _made_of(folder):
    """Return what lies in a folder and is not hidden: pictures as bytes, records without the times of their files."""
    found = {}
    for path in Path(folder).glob("[!.]*"):
        found[path.name] = path.read_bytes()
        if path.suffix == ".json":
            found[path.name] = json.loads(found[path.name])
            found[path.name]["output"].pop("mtime_ns")
    return found


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals of this kind are not known there")
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_folder_run_interrupted_at_random_moments(inside, demo, jobs):
    """By Ctrl-C and kill -9: nothing damaged, and the next run makes of it what an uninterrupted one would have."""
    Path("scans").mkdir()
    for n in range(3):
        write_image(f"scans/p{n}.tif", demo.plate[: -1 - n])
    order = ["colorize", "scans", "-q", "--jobs", jobs, "-o"]
    begun = time.perf_counter()
    whole = _started([*order, "whole"], inside)
    assert (whole.communicate()[1], whole.returncode) == ("", 0)
    lasted = time.perf_counter() - begun
    want = _made_of("whole")
    assert len(want) == 6
    draw = random.Random(int(jobs))
    for n, deadly in enumerate((signal.SIGINT, signal.SIGKILL) * 2):
        process = _started([*order, f"made{n}"], inside)
        time.sleep(draw.uniform(0.3, 1.0) * lasted)
        process.send_signal(deadly)
        said = process.communicate()[1]
        assert "Traceback" not in said, said
        if process.returncode:
            assert process.returncode in ({130, -signal.SIGINT} if deadly == signal.SIGINT else {-deadly})
        for name in _made_of(f"made{n}").keys() & {"p0_color.png", "p1_color.png", "p2_color.png"}:
            assert Path(f"made{n}", name).read_bytes() == want[name]
        process = _started([*order, f"made{n}"], inside)
        said = process.communicate()[1]
        assert (process.returncode, said) == (0, "")
        assert _made_of(f"made{n}") == want


def test_results_are_no_plates(plate, quick, capsys, demo):
    write_image("plate10.png", demo.plate)
    assert cli.main(["colorize", "*.png"]) == 0
    assert [call[0].shape for call in quick.calls] == [demo.plate.shape] * 2
    assert cli.main(["colorize", "."]) == 0
    assert cli.main(["colorize", "plate.png", "plate10.png", "plate_color.png", "plate10_color.png", "-v"]) == 0
    assert "2 pictures of earlier runs are left out" in capsys.readouterr().err
    assert sum(call[0].shape == demo.plate.shape for call in quick.calls) == 2  # besides the warming up of -v
    assert len(files()) == 6
    assert cli.main(["colorize", "plate_color.png", "plate10_color.png"]) == 2


# colorize: many plates


@pytest.fixture
def folder(inside, demo):
    """Return the names of three plates in a folder, in the order in which people count."""
    names = ["p1.png", "p2.png", "p10.png"]
    Path("scans").mkdir()
    for name in names:
        write_image(Path("scans", name), demo.plate)
    Path("scans/notes.txt").write_text("nothing to see")
    Path("scans/.hidden.png").write_text("nothing to see")
    return [str(Path("scans", name)) for name in names]


@pytest.mark.parametrize("given", ["scans", "scans/*.png", "sc*/p*", "**/p*.png"])
def test_folders_and_patterns_in_natural_order(folder, quick, capsys, given):
    assert cli.main(["colorize", given, "-o", "made", "--json"]) == 0
    assert [entry["input"] for entry in json.loads(capsys.readouterr().out)["plates"]] == folder


def test_a_name_with_signs_of_a_pattern_is_a_name(inside, quick, demo):
    write_image("plate[1].png", demo.plate)
    assert cli.main(["colorize", "plate[1].png"]) == 0
    assert Path("plate[1]_color.png").exists()


def test_a_pattern_that_matches_nothing(folder, quick, capsys):
    assert cli.main(["colorize", "scans/*.tif"]) == 1
    assert "scans/*.tif cannot be read, because it does not exist" in one_sentence(capsys)


def test_files_given_twice_by_patterns_are_done_once(folder, quick):
    assert cli.main(["colorize", "scans/p*.png", "scans", "-o", "made"]) == 0
    assert len(quick.calls) == 3


def test_a_line_for_each_plate_and_a_table_at_the_end(folder, quick, capsys):
    Path("scans/p3.png").write_text("a letter")
    assert cli.main(["colorize", "scans", "-o", "made"]) == 1
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert [line.split(":")[0] for line in lines[:3]] == folder
    header, *rows = lines[4:9]
    assert header.split()[:2] == ["plate", "status"]
    assert [row.split()[1] for row in rows] == ["converged", "converged", "failed", "converged"]
    assert "-2.25, -0.50" in rows[0]
    assert lines[-1] == "4 plates: 3 done, 0 not converged, 1 failed"
    assert err.count("alignment: error: ") == 1
    assert cli.main(["colorize", "scans", "-o", "made"]) == 1
    assert capsys.readouterr().out.splitlines()[-1].endswith("1 failed; 3 of them had been done before")


@pytest.mark.parametrize("suffix", [".csv", ".json"])
def test_the_summary_as_a_file(folder, quick, capsys, suffix):
    Path("scans/p3.png").write_text("a letter")
    arguments = ["colorize", "scans", "-o", "made", "--summary", f"all{suffix}"]
    assert cli.main(arguments) == 1
    if suffix == ".csv":
        with open("all.csv", newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert rows[0]["red_dx"] == "-2.25"
        assert rows[0]["crop_bottom"] != ""
        assert rows[0]["done_before"] == "False"
    else:
        data = json.loads(Path("all.json").read_text())
        rows = data["plates"]
        assert data["counts"] == {"plates": 4, "not_converged": 0, "failed": 1}
    assert [row["status"] for row in rows] == ["converged", "converged", "failed", "converged"]
    assert "is text" in rows[2]["message"]
    assert cli.main(arguments) == 1  # its own summary is replaced
    Path(f"all{suffix}").write_text("precious")
    capsys.readouterr()
    assert cli.main(arguments) == 1
    assert "exists already; give --overwrite" in one_sentence(capsys)
    assert Path(f"all{suffix}").read_text() == "precious"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--summary", "all.txt"], "ends neither in .csv nor in .json"),
        (["--figure", "how.gif"], "how.gif is no name for a figure"),
        (["--figure", "plate.png"], "would replace the input plate.png"),
        (["--figure", "plate_color.png"], "cannot be both the picture and the figure"),
        (["second.png", "--figure", "how.png"], "how.png is one figure, but there are 2 plates"),
        (["plate_figure.png", "--figures"], "would replace the input plate_figure.png"),
        (["--jobs", "2", "--scheduler", "tcp://x:1"], "not allowed with argument"),
        (["--gamma", "0"], "'0' is not a gamma"),
        (["--percentiles", "60,40"], "'60,40' is not two percentiles"),
        (["--crop", "inside"], "invalid choice: 'inside'"),
        (["--crop", "5,4,0,9"], "'5,4,0,9' is no rectangle"),
        (["--order", "bgg"], "invalid choice: 'bgg'"),
        (["--exposures", "red=1,2,3,4;blue=1,2,3,4"], "give one rectangle each"),
        (["--exposures", "red=1,2,3;blue=1,2,3,4;green=1,2,3,4"], "'1,2,3' is no rectangle"),
        (["--exposures", "nowhere.json"], "cannot be read"),
        (["--exposures", "plate.png"], "is not JSON"),
    ],
)
def test_wrong_usage_of_what_is_written(plate, quick, capsys, arguments, says):
    assert cli.main(["colorize", plate, *arguments]) == 2
    assert says in capsys.readouterr().err
    assert files() == ["plate.png"]


def test_rectangles_reach_the_function(plate, quick):
    where = {"red": [700, 1000, 5, 400], "green": [360, 700, 5, 400], "blue": [10, 350, 5, 400]}
    text = ";".join(f"{name}={','.join(map(str, value))}" for name, value in where.items())
    Path("alone.json").write_text(json.dumps(where))
    Path("inside.json").write_text(json.dumps({"exposures": where, "other": 1}))
    for number, given in enumerate((text, "alone.json", "inside.json")):
        arguments = ["--exposures", given, "--crop", "400,600,20,300", "--features", "edges", "--max-shift", "30"]
        assert cli.main(["colorize", plate, *arguments, "-o", f"{number}.png"]) == 0
    assert quick.calls[0][1] == quick.calls[1][1] == quick.calls[2][1]
    options = quick.calls[0][1]
    assert options["exposures"] == {name: tuple(value) for name, value in where.items()}
    assert (options["crop"], options["features"], options["max_shift"]) == ((400, 600, 20, 300), "edges", 30.0)


@pytest.mark.parametrize("order", ["bgr", "brg", "gbr", "grb", "rbg", "rgb"])
def test_any_order_reaches_the_function(plate, quick, order):
    assert cli.main(["colorize", plate, "--order", order]) == 0
    assert quick.calls[0][1]["order"] == order


def test_colours_are_as_scanned_unless_asked_for(plate, quick, demo):
    assert cli.main(["colorize", plate]) == 0
    plain = read_image("plate_color.png")
    np.testing.assert_array_equal(plain, _made(demo.plate, True).rgb)
    assert "colours" not in json.loads(Path("plate_shifts.json").read_text())
    options = ["--balance", "gray-world", "--contrast", "--gamma", "1.3"]
    assert cli.main(["colorize", plate, *options, "-o", "other.png"]) == 0
    held = colour.Adjustment.from_dict(read_record("other_shifts.json").result["colours"])
    assert held == colour.measure(plain, balance="gray-world", contrast=True, gamma=1.3)
    np.testing.assert_array_equal(read_image("other.png"), held.apply(plain))
    assert cli.main(["colorize", plate, "--percentiles", "5,90", "-o", "third.png"]) == 0
    third = colour.Adjustment.from_dict(read_record("third_shifts.json").result["colours"])
    assert third == colour.measure(plain, contrast=(5.0, 90.0))


def test_finer_levels_take_up_the_curve(plate, quick, demo):
    assert cli.main(["colorize", plate, "--gamma", "2", "--dtype", "16"]) == 0
    made = read_image("plate_color.tif")
    exact = np.sqrt(_made(demo.plate, True).rgb / 255) * 65535
    assert np.abs(made - exact).max() <= 0.5 + 1e-6


def test_the_file_says_how_it_was_made_and_how_large(inside, quick, demo):
    write_image("p.tif", demo.plate, resolution=(1200, 1200))
    assert cli.main(["colorize", "p.tif"]) == 0
    assert read_resolution("p_color.png") == pytest.approx((1200, 1200), abs=0.02)
    with Image.open("p_color.png") as picture:
        text = picture.info["Description"]
        assert picture.info["icc_profile"]
    assert f"alignment {__version__}" in text
    assert "p.tif" in text
    assert read_record("p_shifts.json").input.sha256 in text
    assert "red by dx -2.250, dy -0.500 px, blue by dx +3.500, dy -0.500 px" in text
    assert "Colours: as scanned." in text


# colorize: figures, processes, a first sign of life


@pytest.fixture
def drawn(quick, monkeypatch):
    """Put a quick stand-in in the place of the figure."""
    figures = []

    def plate_figure(image, made, *, title):
        figures.append(title)
        return SimpleNamespace(savefig=lambda file, format, dpi: file.write(f"{format} of {title}".encode()))

    monkeypatch.setattr("alignment.plots.plate_figure", plate_figure)
    return figures


def test_a_figure_for_one_plate(plate, drawn):
    assert cli.main(["colorize", plate, "--figure", "how.pdf"]) == 0
    assert Path("how.pdf").read_bytes() == b"pdf of plate.png"
    assert cli.main(["colorize", plate, "--figure", "how.pdf", "-o", "."]) == 0
    assert len(drawn) == 1


def test_figures_beside_the_pictures(folder, drawn, quick):
    assert cli.main(["colorize", "scans", "-o", "made"]) == 0
    assert drawn == []
    assert cli.main(["colorize", "scans", "-o", "made", "--figures"]) == 0  # pictures there, figures missing
    assert len(quick.calls) == 6
    assert len(drawn) == 3
    assert Path("made/p10_figure.png").read_bytes() == b"png of p10.png"
    assert cli.main(["colorize", "scans", "-o", "made", "--figures"]) == 0
    assert cli.main(["colorize", "scans", "-o", "made"]) == 0
    assert (len(quick.calls), len(drawn)) == (6, 3)


def test_a_figure_that_fails_does_not_keep_the_picture_from_being_made(folder, quick, monkeypatch, capsys):
    def fail(image, made, *, title):
        if "10" in title:
            raise ValueError("no room\nfor the axes")
        return SimpleNamespace(savefig=lambda file, format, dpi: file.write(title.encode()))

    monkeypatch.setattr("alignment.plots.plate_figure", fail)
    order = ["colorize", "scans", "-o", "made", "--figures", "--json"]
    assert cli.main(order) == 1
    printed = capsys.readouterr()
    trouble = (
        "the figure made/p10_figure.png could not be drawn (ValueError: no room for the axes), the picture is written "
        "without it; run again with -vv and report what it prints"
    )
    assert printed.err.splitlines() == [f"alignment: error: scans/p10.png: {trouble}"]
    entries = json.loads(printed.out)["plates"]
    assert [entry["success"] for entry in entries] == [True] * 3
    assert [entry["figure"] for entry in entries] == ["made/p1_figure.png", "made/p2_figure.png", None]
    assert entries[2]["trouble"].endswith(trouble)
    assert read_record("made/p10_shifts.json").output.matches("made/p10_color.png")
    assert cli.main(order[:-1]) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "3 plates: 3 done, 0 not converged, 0 failed; 2 of them had been done before; 1 without the figure"
    monkeypatch.setattr("alignment.plots.plate_figure", lambda *_, title: fail(None, None, title=title[:2]))
    assert cli.main(order) == 0  # what is missing is drawn
    made = [entry["done_before"] for entry in json.loads(capsys.readouterr().out)["plates"]]
    assert made == [True, True, False]


def test_a_foreign_figure_is_not_replaced(plate, drawn, quick, capsys):
    Path("plate_figure.png").write_text("precious")
    assert cli.main(["colorize", plate, "--figures"]) == 1
    assert "plate_figure.png exists already; give --overwrite" in one_sentence(capsys)
    assert quick.calls == []
    assert files() == ["plate.png", "plate_figure.png"]


@pytest.mark.slow
def test_processes_make_the_same_files(folder):
    assert cli.main(["colorize", "scans", "-o", "one", "-q"]) == 0
    done = run("colorize", "scans", "-o", "two", "--jobs", "2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "3 plates: 3 done, 0 not converged, 0 failed"
    for name in ("p1_color.png", "p2_color.png", "p10_color.png"):
        assert Path("one", name).read_bytes() == Path("two", name).read_bytes()
    assert cli.main(["colorize", "scans", "-o", "two", "-q"]) == 0
    assert len(list(Path("two").iterdir())) == 6


def test_a_scheduler_that_is_not_there(plate, quick, capsys):
    pytest.importorskip("distributed")
    assert cli.main(["colorize", plate, "--scheduler", "nonsense"]) == 1
    assert "scheduler is 'nonsense'" in one_sentence(capsys)
    assert files() == ["plate.png"]


def test_a_bar_comes_before_the_heavy_imports(inside, monkeypatch, capsys):
    """Whoever watches sees a sign of life before anything that takes long."""
    monkeypatch.setattr(type(sys.stderr), "isatty", lambda stream: True)
    seen = []

    def plan(*_):
        seen.append(capsys.readouterr().err)
        raise commands.console.UsageError("enough seen")

    monkeypatch.setattr(commands.colorize, "_plan", plan)
    assert cli.main(["colorize", "a.png"]) == 2
    assert "starting" in seen[0]


# demo


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """Run the demonstration once, in a process of its own; return what it printed and where."""
    folder = tmp_path_factory.mktemp("shown")
    return run("demo", "-v", cwd=folder), folder


def test_demo_recovers_the_truth_and_says_so(shown):
    done, folder = shown
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    errors = {line.split()[0]: float(line.split()[-1]) for line in lines if line.startswith(("red", "blue"))}
    assert errors.keys() == {"red", "blue"}
    assert max(errors.values()) <= commands.demo.DEMO_TOLERANCE
    for name in ("demo_plate.tif", "demo_color.png", "demo_figure.png"):
        assert str(Path("alignment-demo") / name) in done.stdout
    assert sorted(os.listdir(folder / "alignment-demo")) == ["demo_color.png", "demo_figure.png", "demo_plate.tif"]
    assert "interpreter and imports" in done.stderr


def test_demo_writes_a_deep_plate_a_photograph_and_a_figure(shown):
    folder = shown[1] / "alignment-demo"
    assert read_image(folder / "demo_plate.tif").dtype == np.uint16
    picture = read_image(folder / "demo_color.png")
    assert (picture.dtype, picture.shape[2]) == (np.uint8, 3)
    assert read_image(folder / "demo_figure.png").shape[1] > 1200


def test_demo_refuses_to_replace_its_files_unless_told(shown, monkeypatch, capsys):
    monkeypatch.chdir(shown[1])
    assert cli.main(["demo"]) == 1
    assert "demo_plate.tif exists already; give --overwrite" in one_sentence(capsys)


@pytest.fixture
def undrawn(quick, monkeypatch):
    """Leave out what takes long in a demonstration, its figure."""
    monkeypatch.setattr(commands.demo, "_plain_descents", lambda *_: {})
    monkeypatch.setattr("alignment.plots.demo_figure", lambda *_, **__: "a figure")
    monkeypatch.setattr("alignment.plots.save", lambda figure, path, **_: Path(path).touch())


def test_demo_as_json(inside, undrawn, capsys):
    Path("here").mkdir()
    Path("here/demo_color.png").write_text("an older one")
    cli.main(["demo", "-o", "here", "--overwrite", "--json"])
    (entry,) = json.loads(capsys.readouterr().out)["plates"]
    assert entry.keys() >= FROZEN | {"figure", "truth", "error", "tolerance"}
    assert entry["input"] == str(Path("here/demo_plate.tif"))
    assert entry["output"] == str(Path("here/demo_color.png"))
    assert read_image(entry["output"]).dtype == np.uint8
    assert entry["error"].keys() == entry["truth"].keys() == {"red", "blue"}


def test_demo_out_of_tolerance_is_not_success(inside, undrawn, capsys):
    assert cli.main(["demo", "-o", "here"]) == 3
    assert "NOT within the 0.05 px" in capsys.readouterr().out


def test_truth_is_referred_to_the_rectangles_found():
    true = {"green": (100, 200, 10, 90), "red": (200, 300, 10, 90)}
    found = {"green": (103, 200, 10, 90), "red": (198, 300, 15, 90)}
    # red's rectangle begins 2 px higher and 5 px further right than the true one, green's 3 px lower
    assert commands.demo._referred({"red": (1.5, -2.5)}, true, found, "green") == {"red": (1.5 - 5, -2.5 + 2 + 3)}


# register


@pytest.fixture
def pair(inside):
    """Return the names of two files, the displacement between whose images is (2.4, -1.7) px."""
    made = datasets.shifted_pair(dx=2.4, dy=-1.7)
    for name, image in (("reference.tif", made.reference), ("moving.tif", made.moving)):
        write_image(name, np.clip(image, 0, 1), dtype="uint16")
    return ["reference.tif", "moving.tif"]


def test_register_prints_numbers_and_what_they_mean(pair, capsys):
    assert cli.main(["register", *pair]) == 0
    out = capsys.readouterr().out
    assert [float(value) for value in re.findall(r"^d[xy] ([+-]\d\.\d+).* px$", out, re.M)] == pytest.approx(
        [2.4, -1.7], abs=0.05
    )
    assert re.search(r"moving image's content lies 2\.\d+ px to the right of and 1\.\d+ px above the reference's", out)


def test_register_as_json_and_aligned_image(pair, capsys):
    assert cli.main(["register", *pair, "--json", "-o", "aligned.tif", "--max-shift", "20"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["dx"], found["dy"]) == pytest.approx((2.4, -1.7), abs=0.05)
    assert found["success"] is True
    aligned, reference = (read_image(name).astype(float) / 65535 for name in ("aligned.tif", "reference.tif"))
    assert read_image("aligned.tif").dtype == np.uint16
    inner = np.s_[10:-10, 10:-10]
    assert np.abs(aligned[inner] - reference[inner]).mean() < 0.02


def test_register_in_colour_keeps_the_colours(pair, capsys):
    for name in pair:
        grey = read_image(name)
        write_image(name, np.stack([grey // 2, grey, grey // 4], axis=2), overwrite=True)
    assert cli.main(["register", *pair, "-o", "made"]) == 0
    aligned = read_image(Path("made/moving_aligned.tif"))
    assert (aligned.dtype, aligned.shape[2]) == (np.uint16, 3)
    assert aligned[..., 1].mean() == pytest.approx(2 * aligned[..., 0].mean(), rel=0.01)


def test_register_dry_run_writes_nothing(pair, capsys):
    assert cli.main(["register", *pair, "-o", "new/", "--dry-run"]) == 0
    assert "would be written" in capsys.readouterr().out
    assert files() == sorted(pair)
    assert not Path("new").exists()


@pytest.mark.parametrize("as_json", [True, False])
def test_register_what_cannot_be_registered(pair, capsys, as_json):
    write_image("moving.tif", np.zeros((5, 7), np.uint8), overwrite=True)
    assert cli.main(["register", *pair, *(["--json"] if as_json else [])]) == 1
    out, err = capsys.readouterr()
    assert "shape" in err
    assert (json.loads(out)["status"] == "failed") if as_json else (out == "")


def test_register_refuses_to_replace(pair, capsys):
    Path("aligned.tif").write_text("precious")
    assert cli.main(["register", *pair, "-o", "aligned.tif"]) == 1
    assert "aligned.tif exists already" in one_sentence(capsys)
    assert Path("aligned.tif").read_text() == "precious"


def test_register_that_did_not_converge(pair, capsys, monkeypatch):
    true_register = registration.register

    def register(*images, **options):
        found = true_register(*images, **options)
        object.__setattr__(found, "success", False)
        return found

    monkeypatch.setattr(registration, "register", register)
    assert cli.main(["register", *pair]) == 3


# info


def test_info(capsys):
    assert cli.main(["info"]) == 0
    text = capsys.readouterr().out
    assert cli.main(["info", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["alignment"] == __version__
    assert facts["numpy"] == np.__version__
    assert facts["cores"] >= 1
    assert {line.split()[0] for line in text.splitlines()} == set(facts)
