"""The command line: what it prints, what it writes, and how it ends."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from alignment import InputError, __version__, cli, commands, datasets, plates, read_image, registration, write_image

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
    state = SimpleNamespace(calls=[], success=True, error=None)

    def colorize(image, **options):
        state.calls.append((image, options))
        if state.error is not None:
            raise state.error
        return _made(image, state.success)

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
    assert files() == ["p.tif", f"p_color{suffix}"]
    assert read_image(f"p_color{suffix}").dtype == dtype


@pytest.mark.parametrize("name", ["out.png", "out.jpg"])
def test_a_format_that_cannot_hold_the_depth_is_refused_before_the_work(inside, quick, capsys, name):
    write_image("p.tif", np.zeros((30, 20), np.uint16))
    assert cli.main(["colorize", "p.tif", "-o", name]) == 1
    assert "is to hold uint16" in one_sentence(capsys)
    assert quick.calls == []
    assert files() == ["p.tif"]


def test_output_may_be_a_folder_that_is_made(plate, quick):
    assert cli.main(["colorize", plate, "-o", "some/where"]) == 0
    assert files() == ["plate.png", str(Path("some/where/plate_color.png"))]


def test_output_may_be_a_folder_with_a_dot_that_exists(plate, quick):
    Path("v1.png").mkdir()
    assert cli.main(["colorize", plate, "-o", "v1.png"]) == 0
    assert files() == ["plate.png", str(Path("v1.png/plate_color.png"))]


def test_output_may_be_a_file(plate, quick):
    assert cli.main(["colorize", plate, "-o", "out.tif"]) == 0
    assert files() == ["out.tif", "plate.png"]


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
    assert files() == ["letter.jpg", str(Path("made/plate_color.png")), "plate.png"]
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
