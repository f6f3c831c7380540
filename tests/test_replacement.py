"""Replacement: all of a file or nothing, and nothing is replaced unless asked."""

from __future__ import annotations

import os
import stat

import numpy as np
import pytest

from alignment import replacement
from alignment._checks import InputError
from alignment.imagefiles import read_image, write_image
from alignment.replacement import check_writable, replace_file

from .imagetools import needs_posix, refuses


def test_nothing_is_replaced_unless_asked(tmp_path):
    path = tmp_path / "a.png"
    write_image(path, np.zeros((2, 2), np.uint8))
    with pytest.raises(InputError, match="exists already and will not be replaced"):
        write_image(path, np.ones((2, 2), np.uint8))
    assert read_image(path).max() == 0
    write_image(path, np.ones((2, 2), np.uint8), overwrite=True)
    assert read_image(path).max() == 1
    assert os.listdir(tmp_path) == ["a.png"]


def test_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")

    def fail(error):
        with replace_file(path, overwrite=True) as file:
            file.write(b"half")
            raise error

    with pytest.raises(ZeroDivisionError):
        fail(ZeroDivisionError())
    with pytest.raises(KeyboardInterrupt):
        fail(KeyboardInterrupt())
    with pytest.raises(InputError, match="cannot be written, because the disk is full; free some space"):
        fail(OSError(28, "No space left on device"))
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.json"]


def test_file_that_appears_during_the_writing_is_kept(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"

    def race():
        with replace_file(path) as file:
            file.write(b"mine")
            path.write_text("theirs")

    for link in (os.link, None):
        if link is None:  # a file system without hard links
            monkeypatch.setattr(os, "link", lambda *a: (_ for _ in ()).throw(PermissionError(1, "no links")))
        path.unlink(missing_ok=True)
        with pytest.raises(InputError, match="exists already"):
            race()
        assert path.read_text() == "theirs"
        assert os.listdir(tmp_path) == ["a.txt"]
    path.unlink()
    with replace_file(path) as file:
        file.write(b"mine")
    assert path.read_text() == "mine"


@needs_posix
def test_permissions_follow_the_umask_or_the_old_file(tmp_path):
    old = os.umask(0o027)
    try:
        write_image(tmp_path / "a.png", np.zeros((2, 2), np.uint8))
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "a.png").stat().st_mode) == 0o640
    (tmp_path / "a.png").chmod(0o604)
    write_image(tmp_path / "a.png", np.zeros((2, 2), np.uint8), overwrite=True)
    assert stat.S_IMODE((tmp_path / "a.png").stat().st_mode) == 0o604


@needs_posix
def test_symbolic_link_is_followed(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "b.png").write_text("old")
    (tmp_path / "a.png").symlink_to(tmp_path / "there" / "b.png")
    write_image(tmp_path / "a.png", np.zeros((2, 2), np.uint8), overwrite=True)
    assert (tmp_path / "a.png").is_symlink()
    assert read_image(tmp_path / "there" / "b.png").shape == (2, 2)
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    refuses(tmp_path / "loop.png", "circle")
    with pytest.raises(InputError, match=r"loop\.png"):
        check_writable(tmp_path / "loop.png")


def test_check_writable_reports_before_the_work_and_leaves_nothing(tmp_path):
    check_writable(tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "a.png").write_text("x")
    with pytest.raises(InputError, match="exists already"):
        check_writable(tmp_path / "a.png")
    check_writable(tmp_path / "a.png", overwrite=True)
    assert (tmp_path / "a.png").read_text() == "x"
    with pytest.raises(InputError, match="is a folder, so no file"):
        check_writable(tmp_path)
    with pytest.raises(InputError, match=r"the folder .*absent does not exist; create it first"):
        check_writable(tmp_path / "absent" / "a.png")
    with pytest.raises(InputError, match=r"the folder .*a\.png is not a folder; choose another"):
        check_writable(tmp_path / "a.png" / "b.png")
    with pytest.raises(InputError, match="name is too long; choose a shorter one"):
        check_writable(tmp_path / ("x" * 300 + ".png"))
    with pytest.raises(InputError, match="null character"):
        check_writable("a\0b.png")
    with pytest.raises(InputError, match="names no file"):
        check_writable("")


@needs_posix
@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="permissions do not bind the superuser")
def test_permissions_are_explained(tmp_path):
    (tmp_path / "a.png").write_text("x")
    (tmp_path / "a.png").chmod(0o400)
    with pytest.raises(InputError, match="write-protected"):
        check_writable(tmp_path / "a.png", overwrite=True)
    (tmp_path / "a.png").chmod(0)
    refuses(tmp_path / "a.png", "permission is denied")
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(InputError, match="permission is denied; change the permissions"):
            check_writable(tmp_path / "b.png")
    finally:
        tmp_path.chmod(0o700)


def test_denied_permission_is_explained(tmp_path, monkeypatch):
    def deny(*args, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(replacement, "open", deny, raising=False)
    with pytest.raises(InputError, match=r"a\.png cannot be written, because permission is denied"):
        check_writable(tmp_path / "a.png")


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs a folder where nothing can be created")
def test_folder_in_which_nothing_can_be_created(tmp_path):
    with pytest.raises(InputError, match=r"/proc/self/a\.png cannot be written, because .*; "):
        check_writable("/proc/self/a.png")
