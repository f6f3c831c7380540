"""Files as the system knows them: every error of it becomes one sentence with advice."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from alignment._checks import InputError
from alignment.files import explain, kind_of_file, name_of


def test_names_come_from_text_bytes_and_paths():
    assert name_of("a.png") == name_of(b"a.png") == name_of(Path("a.png")) == "a.png"
    for wrong in (None, 7, ["a.png"]):
        with pytest.raises(InputError, match=r"give the name of a file as text or as a pathlib\.Path"):
            name_of(wrong)


@pytest.mark.parametrize("number", sorted(errno.errorcode))
@pytest.mark.parametrize("action", ["read", "written"])
def test_every_error_of_the_system_becomes_a_sentence(number, action):
    sentence = explain("a.png", action, OSError(number, os.strerror(number)))
    assert sentence.startswith(f"a.png cannot be {action}, because ")
    assert sentence.count(";") == 1
    assert sentence.endswith(".")
    assert not sentence.endswith("..")
    assert "\n" not in sentence


def test_an_error_without_a_number_is_explained_by_what_it_says():
    assert "because odd things happen; check" in explain("a", "read", OSError("Odd things happen."))
    assert "because filenotfounderror; check" in explain("a", "read", FileNotFoundError())


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        (stat.S_IFDIR, "a folder"),
        (stat.S_IFIFO, "a named pipe"),
        (stat.S_IFSOCK, "a socket"),
        (stat.S_IFCHR, "a device"),
    ],
)
def test_what_is_no_ordinary_file_has_a_name(mode, words):
    assert kind_of_file(mode | 0o644) == words
