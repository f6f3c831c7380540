"""The record beside a picture: what it holds, what it recognises, and what it refuses."""

from __future__ import annotations

import copy
import json
import math
import os
from dataclasses import replace
from pathlib import Path

import pytest

from alignment import InputError, __version__
from alignment.sidecar import SCHEMA, Fingerprint, Record, made_by_us, read_json, read_record, record_path

RESULT = {
    "success": True,
    "status": "converged",
    "message": "converged",
    "reference": "green",
    "exposures": {"blue": [0, 100, 5, 95], "green": [100, 200, 5, 95], "red": [200, 300, 5, 96]},
    "crop": [103, 195, 8, 90],
    "registrations": {
        "red": {"dx": 1.25, "dy": -2.5, "stderr": [0.1, None]},
        "blue": {"dx": -0.5, "dy": 3, "ncc": 0.9},
    },
    "closure": [0.1, -0.2],
}
OPTIONS = {"crop": "auto", "gamma": 1.0, "exposures": None, "contrast": [0.5, 99.5]}


@pytest.fixture
def plate(tmp_path):
    path = tmp_path / "plate.tif"
    path.write_bytes(b"a plate")
    return path


@pytest.fixture
def record(plate, tmp_path):
    picture = tmp_path / "plate_color.tif"
    picture.write_bytes(b"a picture")
    return Record(Fingerprint.of(plate), (300, 100), OPTIONS, RESULT, output=Fingerprint.of(picture))


@pytest.fixture
def written(record, tmp_path):
    path = tmp_path / "plate_shifts.json"
    record.write(path)
    return path


# fingerprints


def test_a_file_matches_itself_however_often_it_is_touched(plate):
    mark = Fingerprint.of(plate)
    assert (mark.name, mark.size) == ("plate.tif", 7)
    assert mark.matches(plate)
    os.utime(plate, (1, 1))
    assert mark.matches(plate)


def test_a_file_that_has_changed_does_not_match(plate):
    mark = Fingerprint.of(plate)
    plate.write_bytes(b"a plaTe")  # as long as before
    os.utime(plate, (5, 5))
    assert not mark.matches(plate)
    plate.write_bytes(b"longer than before")
    assert not mark.matches(plate)
    plate.unlink()
    assert not mark.matches(plate)
    plate.mkdir()
    assert not mark.matches(plate)


def test_the_hash_is_that_of_the_whole_file(plate):
    import hashlib

    content = os.urandom(3_000_000)
    plate.write_bytes(content)
    assert Fingerprint.of(plate).sha256 == hashlib.sha256(content).hexdigest()
    with open(plate, "r+b") as file:
        file.seek(0, 2)
        file.write(b"!")  # still in the buffer
        assert Fingerprint.of_open(file, "x").sha256 == hashlib.sha256(content + b"!").hexdigest()


def test_what_cannot_be_read_has_no_fingerprint(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        Fingerprint.of(tmp_path / "missing")


# there and back


def test_a_record_comes_back_as_it_was(record, written):
    assert read_record(written) == record


def test_what_a_record_replaces_comes_back_too(record, plate, tmp_path):
    full = replace(record, replaces=(Fingerprint.of(plate), record.input))
    full.write(tmp_path / "second.json")
    assert read_record(tmp_path / "second.json") == full
    data = full.to_dict() | {"replaces": {"name": "x"}}
    (tmp_path / "wrong.json").write_text(json.dumps(data))
    with pytest.raises(InputError, match=r"replaces is .* and no list"):
        read_record(tmp_path / "wrong.json")


def test_a_record_says_what_others_need(record):
    assert record.reference == "green"
    assert record.exposures["red"] == (200, 300, 5, 96)
    assert record.crop == (103, 195, 8, 90)
    assert record.displacements == {"red": (1.25, -2.5), "blue": (-0.5, 3.0)}
    assert record.version == __version__


def test_the_json_says_the_convention_and_is_json_for_everybody(record, written):
    data = json.loads(written.read_text(encoding="utf-8"))
    assert data["schema"] == SCHEMA
    assert data["convention"] == "aligned(x, y) = moving(x + dx, y + dy), in pixels"
    assert data["made_by"] == f"alignment {__version__}"
    assert data["registrations"]["red"]["dx"] == 1.25
    assert data["input"]["shape"] == [300, 100]
    assert "NaN" not in Record(record.input, (3, 3), {}, {**RESULT, "closure": [math.nan, math.inf]}).to_json()


def test_a_record_is_not_replaced_unless_told(record, written):
    with pytest.raises(InputError, match="exists already"):
        record.write(written)
    record.write(written, overwrite=True)


@pytest.mark.parametrize("name", ["plate_color.tif", "plate_shifts.json", "plate_figure.png", "plate.tif"])
def test_record_and_pictures_lie_beside_one_another(name):
    assert record_path(f"a.b/{name}") == str(Path("a.b/plate_shifts.json"))


@pytest.mark.parametrize("name", ["_color.png", "x.y_color.png", "color.png"])
def test_records_of_odd_names(name):
    assert record_path(name).endswith("_shifts.json")
    assert record_path(name) != "_shifts.json"


def test_pictures_are_known_by_their_record(written, plate, tmp_path):
    assert made_by_us(tmp_path / "plate_color.tif")
    assert not made_by_us(plate)
    assert not made_by_us(tmp_path / "plate_figure.png")
    assert not made_by_us(tmp_path / "other_color.tif")


# what cannot be


def _set(*keys, value):
    def change(data):
        for key in keys[:-1]:
            data = data[key]
        data[keys[-1]] = value

    return change


def _drop(*keys):
    def change(data):
        for key in keys[:-1]:
            data = data[key]
        del data[keys[-1]]

    return change


WRONG = [
    (_drop("schema"), "schema is None"),
    (_set("schema", value="alignment-shifts-99"), "alignment-shifts-99"),
    (_drop("input"), "input is None"),
    (_set("input", "size", value=-1), "size of the input"),
    (_set("input", "size", value=True), "size of the input"),
    (_set("input", "name", value="../plate.tif"), "with a folder"),
    (_set("input", "sha256", value=5), "hash of the input"),
    (_set("input", "shape", value=[300]), "shape"),
    (_set("input", "shape", value=[300, 0]), "shape"),
    (_set("options", value=[1]), "options"),
    (_set("output", value="x"), "output"),
    (_set("made_by", value=None), "made_by"),
    (_set("made_by", value="x" * 5000), "made_by"),
    (_set("reference", value="purple"), "reference is 'purple'"),
    (_drop("exposures", "red"), "red exposure"),
    (_set("exposures", "red", value=[200, 300, 5]), "red exposure"),
    (_set("exposures", "red", value=[200, 301, 5, 90]), "red exposure"),
    (_set("exposures", "red", value=[200, 300.5, 5, 90]), "red exposure"),
    (_set("crop", value=[50, 50, 3, 9]), "crop"),
    (_set("crop", value=None), "crop"),
    (_drop("registrations", "red"), "displacements for"),
    (_set("registrations", "green", value={"dx": 0, "dy": 0}), "displacements for"),
    (_set("registrations", "red", "dx", value="1"), "dx of red"),
    (_set("registrations", "red", "dx", value=None), "dx of red"),
    (_set("registrations", "red", "dy", value=1e9), "dy of red"),
    (_set("registrations", "red", "dy", value=True), "dy of red"),
    (_set("registrations", value=7), "registrations is 7"),
]


@pytest.mark.parametrize(("change", "says"), WRONG, ids=[says for _, says in WRONG])
def test_a_record_that_cannot_be_is_refused_in_a_sentence(written, change, says):
    data = json.loads(written.read_text())
    assert read_record(written)
    change(data)
    written.write_text(json.dumps(data))
    with pytest.raises(InputError, match="is no record of a plate") as caught:
        read_record(written)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b'{"a": NaN}', "NaN is no number"),
        (b"\xff\xfe\x00", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b'{"a": ' + b"9" * 5000 + b"}", "is not JSON"),
        (b"[1, 2]", "no JSON object"),
        (b" " * 4_000_001, "more than the 4000000"),
    ],
    ids=["empty", "half", "NaN", "bytes", "deep", "long number", "a list", "large"],
)
def test_files_that_hold_no_record(tmp_path, text, says):
    path = tmp_path / "x_shifts.json"
    path.write_bytes(text)
    with pytest.raises(InputError) as caught:
        read_record(path)
    assert says in str(caught.value)


def test_what_is_no_file(tmp_path):
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(InputError):
            read_json(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "x_shifts.json")
    with pytest.raises(InputError, match="no ordinary file"):
        read_record(tmp_path / "x_shifts.json")


def test_other_keys_are_kept_for_whoever_knows_them(written):
    data = json.loads(written.read_text())
    data["later"] = {"x": 1}
    written.write_text(json.dumps(data))
    assert read_record(written).result["later"] == {"x": 1}


def test_reading_changes_nothing(record):
    before = copy.deepcopy(RESULT)
    record.to_json()
    assert before == RESULT
