"""Bad files: damaged, cut, lying and altogether different ones. One sentence, bounded memory and time, the rest done.

The damaged files are made from sound ones of seventeen kinds in six ways, drawn from a fixed seed. A damaged file may
still be read, where the damage hits a grey level or a text; then it is an image of a sensible size. What must not
happen is anything but these two.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

import alignment as al
from alignment import cli, imagefiles

from .outcomes import outcome
from .strange_files import READ, REFUSED, SEED, WAYS, damaged, picture, saved, sound

SOUND = sound()
EACH = 4  # of every kind in every way: 17 x 6 x 4 = 408 files
MEMORY = 64e6  # bytes; the files are of a kilobyte


def _check_image(answer):
    assert isinstance(answer, np.ndarray)
    assert answer.ndim in (2, 3)
    assert 0 < answer.size < 20e6
    assert answer.dtype.name in ("uint8", "uint16", "float16", "float32", "float64")


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("name", SOUND)
def test_damaged_files_are_read_or_refused(tmp_path, capfd, name, how):
    suffix, content = SOUND[name]
    draw = np.random.default_rng([SEED, WAYS.index(how), list(SOUND).index(name)])
    path = tmp_path / f"image{suffix}"
    for _ in range(EACH):
        path.write_bytes(damaged(content, how, draw))
        kind, answer = outcome(lambda: al.read_image(path))
        if kind == "answer":
            _check_image(answer)
        kind, answer = outcome(lambda: imagefiles.read_resolution(path))
        assert kind == "refused" or answer is None or all(0 < number <= 1e6 for number in answer)
    said = capfd.readouterr()
    # libtiff, which decodes LZW for pillow, prints on its own account and cannot be told not to
    assert said.err == "" or name.startswith("LZW"), "a decoder spoke"
    assert said.out == ""


@pytest.mark.slow
def test_many_more_damaged_files(tmp_path):
    draw = np.random.default_rng(SEED + 1)
    ends = {"answer": 0, "refused": 0}
    for _ in range(6000):
        suffix, content = SOUND[str(draw.choice(list(SOUND)))]
        path = tmp_path / f"image{suffix}"
        path.write_bytes(damaged(damaged(content, str(draw.choice(WAYS)), draw), str(draw.choice(WAYS)), draw))
        kind, answer = outcome(lambda path=path: al.read_image(path))
        ends[kind] += 1
        if kind == "answer":
            _check_image(answer)
    assert min(ends.values()) > 300, ends  # both ends have been seen


@pytest.mark.parametrize("name", REFUSED)
def test_strange_files_are_refused_in_a_sentence(tmp_path, capfd, name):
    suffix, make = REFUSED[name]
    path = tmp_path / f"image{suffix}"
    path.write_bytes(make())
    outcome(lambda: al.read_image(path))  # loads the modules before the memory is counted
    tracemalloc.start()
    try:
        kind, answer = outcome(lambda: al.read_image(path))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert kind == "refused", answer
    assert str(path) in answer
    assert capfd.readouterr() == ("", ""), "a decoder spoke"
    assert peak < MEMORY, f"{peak / 1e6:.0f} MB for a file of {path.stat().st_size} bytes"


@pytest.mark.parametrize("name", READ)
def test_odd_files_are_read(tmp_path, name):
    suffix, make, (shape, dtype) = READ[name]
    path = tmp_path / f"image{suffix}"
    path.write_bytes(make())
    kind, answer = outcome(lambda: al.read_image(path))
    assert kind == "answer", answer
    assert (answer.shape, answer.dtype.name) == (shape, dtype)


def test_a_tiff_of_thousands_of_pages_in_a_circle_ends(tmp_path):
    suffix, make = REFUSED["TIFF in a circle of two"]
    path = tmp_path / f"image{suffix}"
    path.write_bytes(make())
    for page in (0, 1, 2, 10**6, -1):
        kind, answer = outcome(lambda page=page: al.read_image(path, page=page))
        if kind == "answer":
            assert answer.shape == (4, 4)


# what is no ordinary file, and names that are no text


NOT_FILES = ["a folder", "a pipe", "/dev/zero", "a circle of links", "a link to nothing", "not allowed", "too long"]


def _not_file(folder, what):
    path = folder / "image.png"
    if what == "a folder":
        path.mkdir()
    elif what == "a pipe":
        os.mkfifo(path)
    elif what == "/dev/zero":
        path.symlink_to("/dev/zero")
    elif what == "a circle of links":
        path.symlink_to(folder / "other.png")
        (folder / "other.png").symlink_to(path)
    elif what == "a link to nothing":
        path.symlink_to(folder / "absent.png")
    elif what == "not allowed":
        path.write_bytes(saved(picture(), "PNG"))
        path.chmod(0)
    else:
        return folder / ("x" * 300 + ".png")
    return path


@pytest.mark.skipif(sys.platform == "win32", reason="pipes and devices of this kind are not known there")
@pytest.mark.parametrize("what", NOT_FILES)
def test_what_is_no_file_is_neither_waited_for_nor_read(tmp_path, what):
    path = _not_file(tmp_path, what)
    if what == "not allowed" and os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    kind, answer = outcome(lambda: al.read_image(path))
    assert kind == "refused", answer


@pytest.mark.skipif(sys.platform != "linux", reason="file names are text there")
@pytest.mark.parametrize(
    "name", [b"two\nlines.png", b"\xff\xfe.png", b"tab\t.png", b"-o.png", b" .png", b"'\";$(id).png"]
)
def test_strange_names_are_names(tmp_path, name, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = os.path.join(os.fsencode(tmp_path), name)
    with open(path, "wb") as file:
        file.write(saved(picture(), "PNG"))
    assert al.read_image(os.fsdecode(path)).shape == (24, 30)
    assert al.read_image(path).shape == (24, 30)
    with open(path, "wb") as file:
        file.write(b"nothing")
    kind, _ = outcome(lambda: al.read_image(os.fsdecode(path)))
    assert kind == "refused"


@pytest.mark.parametrize("path", [3, None, 0.5, [], object(), "nul\0.png", "", "."])
def test_what_is_no_path_is_refused(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    kind, _ = outcome(lambda: al.read_image(path))
    assert kind == "refused"
    kind, _ = outcome(lambda: al.write_image(path, picture()))
    assert kind == "refused"


# commands: one sentence, the right exit code, the other inputs of the run still done


COMMANDS = {
    "register": lambda bad, good: ["register", good, bad],
    "register, the other way": lambda bad, good: ["register", bad, good, "--json"],
    "colorize": lambda bad, good: ["colorize", bad, "--json"],
    "apply": lambda bad, good: ["apply", bad, good],
    "stack": lambda bad, good: ["stack", bad, good, "--json"],
    "gradcheck": lambda bad, good: ["gradcheck", good, bad],
    "study": lambda bad, good: ["study", bad],
}
CHOSEN = [
    "empty", "text named .jpg", "zip named .jpg", "animated GIF", "PNG of 10 gigapixels", "JPEG of CMYK",
    "TIFF whose directory is itself", "TIFF of complex numbers", "JPEG of 65,500 x 65,500",
]  # fmt: skip


@pytest.mark.parametrize("what", CHOSEN)
@pytest.mark.parametrize("command", COMMANDS)
def test_commands_refuse_a_bad_file_in_a_sentence(tmp_path, monkeypatch, capsys, command, what):
    monkeypatch.chdir(tmp_path)
    suffix, make = REFUSED[what]
    bad, good = f"bad{suffix}", "good.png"
    (tmp_path / bad).write_bytes(make())
    (tmp_path / good).write_bytes(saved(picture(48, 60), "PNG"))
    before = sorted(path.name for path in tmp_path.iterdir())
    code = cli.main(COMMANDS[command](bad, good))
    said = capsys.readouterr()
    assert code in (1, 2), (code, said)
    assert "Traceback" not in said.err
    assert "internal error" not in said.err + said.out
    lines = [line for line in said.err.splitlines() if line.startswith("alignment")]
    assert len(lines) == 1, said.err
    assert bad in lines[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == before, "something was written"


def test_a_name_of_two_lines_is_told_in_one(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "two\nlines.png").write_bytes(b"nothing")
    assert cli.main(["colorize", "two\nlines.png"]) == 1
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1, said


@pytest.mark.slow
def test_a_bad_file_in_a_process_with_little_memory(tmp_path):
    """A lying header must not be believed: the whole command runs in 2 GB of addresses."""
    for what in (
        "PNG of 10 gigapixels",
        "JPEG of 65,500 x 65,500",
        "TIFF of 10 gigapixels",
        "PNG with too little data",
    ):
        suffix, make = REFUSED[what]
        path = tmp_path / f"bad{suffix}"
        path.write_bytes(make())
        script = (
            "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30));"
            "from alignment.cli import main; sys.exit(main(['colorize', sys.argv[1]]))"
        )
        done = subprocess.run(
            [sys.executable, "-c", script, path], capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 1, (what, done.stderr)
        assert "Traceback" not in done.stderr
