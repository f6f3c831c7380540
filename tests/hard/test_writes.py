"""Writing: old or new, never part; nothing outside the folder; several writers at once; a disk that is full."""

from __future__ import annotations

import errno
import json
import os
import random
import resource
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import alignment as al
from alignment import cli, imagefiles

from .outcomes import outcome, scene
from .strange_files import picture

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and limits of this kind are not known there")

ROOT = str(Path(al.__file__).parents[1])
OLD, NEW = np.zeros((600, 800), np.uint8), np.full((600, 800), 200, np.uint8)

# writes NEW and OLD by turns over one file, and says when it has begun
WRITER = f"""
import itertools, sys
sys.path.insert(0, {ROOT!r})
import numpy as np
from alignment import write_image
import imageio.v3, tifffile, PIL.Image
images = [np.full((600, 800), level, np.uint8) for level in (200, 0)]
write_image(sys.argv[1], images[1], overwrite=True)
print("begun", flush=True)
for image in itertools.cycle(images):
    write_image(sys.argv[1], image, overwrite=True)
"""


def _killed_at_random(path, draw, times):
    """Kill a writer at so many random moments; return the grey level of the file after each."""
    levels = []
    writer = None
    for _ in range(times):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE)
        try:
            assert writer.stdout.readline() == b"begun\n"
            time.sleep(draw.uniform(0.0, 0.05))
        finally:
            writer.kill()
            writer.wait()
            writer.stdout.close()
        image = al.read_image(path)
        assert image.shape == OLD.shape
        assert np.ptp(image) == 0
        levels.append(int(image[0, 0]))
    return levels


@pytest.mark.parametrize(("suffix", "times"), [
    (".tif", 3), (".png", 2),
    pytest.param(".tif", 60, marks=pytest.mark.slow), pytest.param(".png", 40, marks=pytest.mark.slow),
])  # fmt: skip
def test_killed_at_any_moment_the_file_is_old_or_new(tmp_path, suffix, times):
    levels = _killed_at_random(tmp_path / f"image{suffix}", random.Random(times), times)
    assert set(levels) <= {0, 200}
    left = [path.name for path in tmp_path.iterdir() if path.name != f"image{suffix}"]
    # what a killed writer leaves behind is hidden, and says by its name that it is temporary
    assert all(name.startswith(".") and name.endswith(".tmp") for name in left)
    assert len(left) <= times


def test_the_content_is_on_the_disk_before_the_name(tmp_path, monkeypatch):
    done = []
    for name in ("fsync", "replace", "link", "unlink"):
        real = getattr(os, name)

        def watched(*args, real=real, name=name, **options):
            done.append((name, stat.S_ISREG(os.fstat(args[0]).st_mode) if name == "fsync" else None))
            return real(*args, **options)

        monkeypatch.setattr(os, name, watched)
    al.write_image(tmp_path / "new.png", OLD)
    al.write_image(tmp_path / "new.png", NEW, overwrite=True)
    assert [name for name, _ in done] == ["fsync", "link", "unlink", "fsync", "fsync", "replace", "fsync"]
    assert [regular for name, regular in done if name == "fsync"] == [True, False, True, False]


def test_two_writers_of_one_file_do_not_damage_it(tmp_path):
    path = tmp_path / "image.tif"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE) for _ in range(2)]
    try:
        for writer in writers:
            assert writer.stdout.readline() == b"begun\n"
        end = time.monotonic() + 2.0
        reads = 0
        while time.monotonic() < end:
            assert np.ptp(al.read_image(path)) == 0
            reads += 1
        assert all(writer.poll() is None for writer in writers), "a writer failed"
        assert reads > 3
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
            writer.stdout.close()


def test_two_that_do_not_overwrite_write_one_file_once(tmp_path):
    script = (
        f"import sys; sys.path.insert(0, {ROOT!r})\n"
        "import numpy as np\nfrom alignment import InputError, write_image\n"
        "try: write_image(sys.argv[1], np.full((300, 300), int(sys.argv[2]), np.uint8))\n"
        "except InputError: sys.exit(1)\n"
    )
    path = tmp_path / "image.png"
    runs = [subprocess.Popen([sys.executable, "-c", script, path, str(level)]) for level in (10, 20, 30)]
    codes = [run.wait(timeout=120) for run in runs]
    assert sorted(codes) == [0, 1, 1]
    assert int(al.read_image(path)[0, 0]) == (10, 20, 30)[codes.index(0)]
    assert [one.name for one in tmp_path.iterdir()] == ["image.png"]


# a disk that is full, or fails


def _limited(size, script, *args):
    """Run a script that may write files of so many bytes."""

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {ROOT!r})\n{script}", *map(str, args)],
        capture_output=True, text=True, preexec_fn=limit, timeout=120, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("suffix", [".tif", ".png", ".jpg"])
def test_a_file_that_does_not_fit_leaves_the_old_one_and_nothing_else(tmp_path, suffix):
    path = tmp_path / f"image{suffix}"
    al.write_image(path, np.zeros((5, 5), np.uint8))
    before = path.read_bytes()
    script = (
        "import numpy as np\nfrom alignment import InputError, write_image\n"
        "noise = np.random.default_rng(0).integers(0, 256, (700, 900), np.uint8)\n"
        "try: write_image(sys.argv[1], noise, overwrite=True)\n"
        "except InputError as error: print(error); sys.exit(7)\n"
    )
    done = _limited(100_000, script, path)
    assert done.returncode == 7, done.stderr
    assert "cannot be written, because" in done.stdout
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_a_command_on_a_full_disk_says_so_and_leaves_nothing(tmp_path):
    images = [np.rint(255 * scene(400, 500, dx=dx)).astype(np.uint8) for dx in (0.0, 2.0)]
    for name, image in zip("ab", images, strict=True):
        al.write_image(tmp_path / f"{name}.tif", image)
    script = "from alignment.cli import main; sys.exit(main(sys.argv[1:]))"
    done = _limited(50_000, script, "register", tmp_path / "a.tif", tmp_path / "b.tif", "-o", tmp_path / "c.tif")
    assert done.returncode == 1, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stderr
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a.tif", "b.tif"]


@pytest.mark.parametrize("call", ["write", "fsync", "replace", "link"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS])
def test_a_disk_that_fails_at_any_step(tmp_path, monkeypatch, call, code):
    path = tmp_path / "table.csv"
    path.write_bytes(b"old")

    def fail(*args, **options):
        raise OSError(code, os.strerror(code))

    def write():
        with imagefiles.replace_file(path if call != "link" else tmp_path / "other.csv", overwrite=call != "link") as f:
            if call == "write":
                fail()
            f.write(b"new")

    if call != "write":
        monkeypatch.setattr(os, call, fail)
        if call == "link":  # a file system without hard links: renaming is tried next
            monkeypatch.setattr(os, "replace", fail)
    kind, sentence = outcome(write)
    monkeypatch.undo()
    assert kind == "refused"
    assert "cannot be written" in sentence
    assert path.read_bytes() == b"old"
    assert [one.name for one in tmp_path.iterdir()] == ["table.csv"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, RuntimeError, SystemExit])
def test_whatever_ends_the_writing_nothing_stays(tmp_path, error):
    def write():
        with imagefiles.replace_file(tmp_path / "x.csv") as file:
            file.write(b"half")
            raise error

    with pytest.raises(error):
        write()
    assert not list(tmp_path.iterdir())


# links, and folders that must not be left


def test_a_link_to_a_result_stays_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    target, link = tmp_path / "real" / "image.png", tmp_path / "image.png"
    al.write_image(target, OLD)
    link.symlink_to(target)
    kind, sentence = outcome(lambda: al.write_image(link, NEW))
    assert kind == "refused"
    assert "exists already" in sentence
    al.write_image(link, NEW, overwrite=True)
    assert link.is_symlink()
    assert not target.is_symlink()
    np.testing.assert_array_equal(al.read_image(target), NEW)
    assert [one.name for one in (tmp_path / "real").iterdir()] == ["image.png"]


@pytest.mark.parametrize("name", ["..png", "a..b", "-", "~", "$HOME", "%s", "{}", "CON", "x" * 200])
def test_results_stay_in_the_folder_they_were_given(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    for folder in ("in", "out"):
        (tmp_path / folder).mkdir()
    moving = tmp_path / "in" / f"{name}.png"
    for path, dx in ((tmp_path / "in" / "reference.png", 0.0), (moving, 1.5)):
        al.write_image(path, scene(72, 80, dx=dx))
    before = sorted((tmp_path / "in").iterdir())
    code = cli.main(["register", "in/reference.png", str(moving), "-o", "out", "-q"])
    assert code in (0, 3)
    assert sorted((tmp_path / "in").iterdir()) == before
    written = sorted((tmp_path / "out").iterdir())
    assert len(written) == 1
    assert sorted(one.name for one in tmp_path.iterdir()) == ["in", "out"]


def test_a_record_that_names_another_folder_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    al.write_image("plate.png", np.vstack([picture(40, 40)] * 3))
    record = {
        "schema": "alignment-shifts-1", "made_by": "alignment 1", "options": {},
        "input": {"name": "../../plate.png", "size": 1, "mtime_ns": 1, "sha256": "0", "shape": [120, 40]},
        "reference": "green", "crop": [0, 40, 0, 40],
        "exposures": {name: [0, 40, 0, 40] for name in ("red", "green", "blue")},
        "registrations": {name: {"dx": 0, "dy": 0} for name in ("red", "blue")},
    }  # fmt: skip
    Path("evil.json").write_text(json.dumps(record))
    assert cli.main(["apply", "evil.json", "plate.png"]) == 1
    assert "with a folder" in capsys.readouterr().err
    assert sorted(one.name for one in tmp_path.iterdir()) == ["evil.json", "plate.png"]


@pytest.mark.parametrize("text", [
    "", "null", "[]", "{}", "3", "NaN", '{"dx": NaN}', "[" * 100_000, '{"a":' * 50_000, "\0", "\ufeff{}",
    '{"schema": "alignment-shifts-1"}', '{"schema": ["alignment-shifts-1"]}', '{"theta": 1, "dx": 1}',
    '{"theta": 1, "dx": "1", "dy": 1e999}', '{"schema": "alignment-shifts-1", "input": {"name": 3}}', "1" * 10_000,
    "x" * 5_000_000,
])  # fmt: skip
def test_json_that_is_no_record_is_refused_in_a_sentence(tmp_path, monkeypatch, capsys, text):
    monkeypatch.chdir(tmp_path)
    al.write_image("image.png", picture())
    Path("shifts.json").write_text(text, encoding="utf-8")
    assert cli.main(["apply", "shifts.json", "image.png"]) == 1
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1, said
    assert "internal error" not in said
    assert sorted(one.name for one in tmp_path.iterdir()) == ["image.png", "shifts.json"]
