"""What names, folders and patterns mean, and the words and tables of a summary."""

from __future__ import annotations

import csv
import io
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignment import naming
from alignment.commands import sources, summary

SUFFIXES = (".tif", ".png")


def nothing(_):
    return False


def test_people_count_so():
    names = ["p1.tif", "p2.tif", "p10.tif", "p10a2.tif", "p10a10.tif", "q.tif", "Q2.tif", "z"]
    mixed = random.Random(1).sample(names, len(names))
    assert sorted(mixed, key=naming.natural_key) == names


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(max_size=8), max_size=6))
def test_any_names_have_an_order_of_their_own(names):
    keys = [naming.natural_key(name) for name in names]
    assert sorted(keys) == sorted(sorted(keys, reverse=True))
    assert len({tuple(key) for key in keys}) == len(set(names))


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("scans/deep").mkdir(parents=True)
    for name in ("s2.tif", "s10.PNG", "s1.tif", "notes.txt", ".s.tif", "deep/s3.tif"):
        Path("scans", name).touch()
    Path("scans/s4.tif").mkdir()
    return tmp_path


def paths(*names):
    return [str(Path("scans", name)) for name in names]


def test_a_folder_stands_for_its_images(here):
    assert sources.expand(["scans"], SUFFIXES, nothing) == (paths("s1.tif", "s2.tif", "s10.PNG"), 0)


def test_patterns_stand_for_what_matches(here):
    assert sources.expand(["scans/s?.tif"], SUFFIXES, nothing)[0] == paths("s1.tif", "s2.tif")
    assert sources.expand(["scans/**/*.tif"], SUFFIXES, nothing)[0] == paths("deep/s3.tif", "s1.tif", "s2.tif")
    assert sources.expand(["scans/s[12].tif"], SUFFIXES, nothing)[0] == paths("s1.tif", "s2.tif")


def test_files_stay_in_the_order_given_and_doubles_by_name_are_left_to_others(here):
    given_ = paths("s2.tif", "s1.tif", "s2.tif")
    assert sources.expand(given_, SUFFIXES, nothing)[0] == given_
    assert sources.expand([*paths("s2.tif"), "scans"], SUFFIXES, nothing)[0] == paths("s2.tif", "s1.tif", "s10.PNG")


def test_what_stands_for_nothing_stays(here):
    Path("empty").mkdir()
    names = ["empty", "gone.tif", "gone*.tif"]
    assert sources.expand(names, SUFFIXES, nothing)[0] == names


def test_results_are_left_out_unless_alone(here):
    def is_result(name):
        return name.endswith("s1.tif")

    assert sources.expand(["scans"], SUFFIXES, is_result) == (paths("s2.tif", "s10.PNG"), 1)
    assert sources.expand(paths("s1.tif", "s2.tif"), SUFFIXES, is_result) == (paths("s2.tif"), 1)
    assert sources.expand(paths("s1.tif"), SUFFIXES, is_result) == (paths("s1.tif"), 0)


ENTRY = {
    "input": 'a, "b".tif', "output": "a_color.tif", "success": True, "status": "converged", "message": "fine",
    "reference": "green", "crop": [1, 2, 3, 4], "closure": [3.0, -4.0], "seconds": 1.25, "done_before": False,
    "registrations": {
        "red": {"dx": 1.5, "dy": -2.5, "stderr": [0.1, 0.2]},
        "blue": {"dx": -1.0, "dy": 7.0, "stderr": [None, float("nan")]},
    },
}  # fmt: skip
FAILED = {
    "input": "c.tif", "output": None, "success": False, "status": "failed", "message": "is text", "reference": "green",
    "crop": None, "registrations": {}, "seconds": 0.1, "done_before": False,
}  # fmt: skip


def test_a_row_for_each_plate_in_csv():
    rows = list(csv.DictReader(io.StringIO(summary._as_csv([ENTRY, FAILED]))))
    assert rows[0]["input"] == 'a, "b".tif'
    assert (rows[0]["red_dx"], rows[0]["red_stderr_dy"], rows[0]["blue_stderr_dy"]) == ("1.5", "0.2", "")
    assert (rows[0]["closure"], rows[0]["crop_left"], rows[0]["green_dx"]) == ("5.0", "3", "")
    assert (rows[1]["status"], rows[1]["output"], rows[1]["crop_top"]) == ("failed", "", "")


def test_a_line_for_each_plate_for_people():
    header, first, second = summary.table([ENTRY, FAILED]).splitlines()
    assert header.split("  ")[0] == "plate"
    assert "+1.50, -2.50" in first
    assert "5.00" in first
    assert second.split() == ["c.tif", "failed", "0.1"]


def test_totals():
    doubtful = {**ENTRY, "success": False, "status": "not converged", "done_before": True}
    entries = [ENTRY, FAILED, doubtful]
    assert summary.count(entries) == (1, 1)
    assert summary.totals(entries) == "3 plates: 1 done, 1 not converged, 1 failed; 1 of them had been done before"


@pytest.mark.parametrize("closure", [None, 3, [1], [1, None], "x"])
def test_a_closure_that_is_not_known(closure):
    assert summary.closure_of({"closure": closure}) is None
