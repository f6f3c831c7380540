"""The record beside a picture: what was done to which file, with what result, in numbers that others can use.

``plate_shifts.json`` lies beside ``plate_color.tif``. It holds the displacements with their error bars, the rectangles,
the options and the version, and a fingerprint of the file read and of each file written. So a later run can tell
what is done and unchanged, and `alignment apply` can make the picture again without estimating anything.

The record is written *before* the picture takes its name: a picture that the record does not know was made by somebody
else, and a record whose picture is missing or different says that the work was cut short.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Final

from ._checks import InputError
from ._version import __version__
from .imagefiles import replace_file

SCHEMA: Final = "alignment-shifts-1"
CHANNELS: Final = ("red", "green", "blue")
CONVENTION: Final = "aligned(x, y) = moving(x + dx, y + dy), in pixels"

_ENDINGS: Final = ("_color", "_figure", "_shifts")
_LARGEST: Final = 4_000_000  # bytes of a record; a full one has some ten thousand
_FARTHEST: Final = 1e6  # pixels
_BLOCK: Final = 1 << 20

Pathlike = str | os.PathLike[str]
Rectangle = tuple[int, int, int, int]


@dataclass(frozen=True)
class Fingerprint:
    """What tells a file from every other.

    Attributes
    ----------
    name : str
        Without its folder, so that folders may move.
    size, mtime_ns : int
        Bytes, and the time of the last change in nanoseconds.
    sha256 : str
        The hash of the content, in hexadecimal.
    """

    name: str
    size: int
    mtime_ns: int
    sha256: str

    @classmethod
    def of(cls, path: Pathlike) -> Fingerprint:
        """Read a file from beginning to end.

        Raises
        ------
        InputError
            If it cannot be read.
        """
        try:
            with open(path, "rb") as file:
                return cls.of_open(file, os.path.basename(os.fspath(path)))
        except OSError as error:
            raise InputError(_unreadable(path, error)) from error

    @classmethod
    def of_open(cls, file: BinaryIO, name: str) -> Fingerprint:
        """Read an open file; what is still in its buffer is written out first."""
        if file.writable():
            file.flush()
        file.seek(0)
        total = hashlib.sha256()
        while block := file.read(_BLOCK):
            total.update(block)
        status = os.fstat(file.fileno())
        return cls(name, status.st_size, status.st_mtime_ns, total.hexdigest())

    def matches(self, path: Pathlike) -> bool:
        """Return whether a file is still the same: by size and time, and where only the time differs by its content.

        A file that is not there, or cannot be read, does not match.
        """
        try:
            status = os.stat(path)
            if not stat.S_ISREG(status.st_mode) or status.st_size != self.size:
                return False
            return status.st_mtime_ns == self.mtime_ns or Fingerprint.of(path).sha256 == self.sha256
        except (OSError, ValueError, InputError):
            return False

    def to_dict(self) -> dict[str, Any]:
        """Return the four values."""
        return {"name": self.name, "size": self.size, "mtime_ns": self.mtime_ns, "sha256": self.sha256}


@dataclass(frozen=True)
class Record:
    """What `alignment colorize` did to one plate.

    Attributes
    ----------
    input : Fingerprint
        The plate.
    shape : (int, int)
        Its height and width.
    options : dict
        Everything that was asked for and has a say in the result.
    result : dict
        What ``Colorization.to_dict()`` returned: reference, exposures, crop, registrations, status and so on.
    output : Fingerprint or None
        The picture; None for a record that describes no file.
    figure : Fingerprint or None
        The picture of what happened, where one was asked for.
    version : str
        Of this package.
    replaces : tuple of Fingerprint
        The files of an earlier run that these take the place of: until they have, the earlier ones stand there.
    """

    input: Fingerprint
    shape: tuple[int, int]
    options: Mapping[str, Any]
    result: Mapping[str, Any] = field(repr=False)
    output: Fingerprint | None = None
    figure: Fingerprint | None = None
    version: str = __version__
    replaces: tuple[Fingerprint, ...] = ()

    @property
    def reference(self) -> str:
        """The channel that stayed where it was."""
        return str(self.result["reference"])

    @property
    def exposures(self) -> dict[str, Rectangle]:
        """The rectangle of each channel on the plate."""
        return {name: _four(self.result["exposures"][name]) for name in CHANNELS}

    @property
    def crop(self) -> Rectangle:
        """The part of the plate that the picture shows."""
        return _four(self.result["crop"])

    @property
    def displacements(self) -> dict[str, tuple[float, float]]:
        """The (dx, dy) of each channel but the reference, in pixels."""
        found = self.result["registrations"]
        return {name: (float(found[name]["dx"]), float(found[name]["dy"])) for name in found}

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain numbers, strings and lists."""
        return {
            "schema": SCHEMA,
            "made_by": f"alignment {self.version}",
            "convention": CONVENTION,
            "input": self.input.to_dict() | {"shape": list(self.shape)},
            "options": dict(self.options),
            "output": None if self.output is None else self.output.to_dict(),
            "figure": None if self.figure is None else self.figure.to_dict(),
            **({"replaces": [file.to_dict() for file in self.replaces]} if self.replaces else {}),
            **self.result,
        }

    def to_json(self) -> str:
        """Return `to_dict` as JSON; a number that is not finite becomes null."""
        return json.dumps(_finite(self.to_dict()), indent=2, allow_nan=False, ensure_ascii=False) + "\n"

    def write(self, path: Pathlike, *, overwrite: bool = False) -> None:
        """Write the record so that either all of it appears or nothing.

        Raises
        ------
        InputError
            If the file exists and `overwrite` is false, or cannot be written.
        """
        text = self.to_json().encode("utf-8", errors="backslashreplace")
        with replace_file(path, overwrite=overwrite) as file:
            file.write(text)


def record_path(picture: Pathlike) -> str:
    """Return where the record of a picture lies: beside it, under its name.

    Examples
    --------
    >>> record_path("scans/plate_color.tif"), record_path("best.png")
    ('scans/plate_shifts.json', 'best_shifts.json')
    """
    folder, name = os.path.split(os.fspath(picture))
    stem = os.path.splitext(name)[0]
    for ending in _ENDINGS:
        if stem.endswith(ending) and len(stem) > len(ending):
            stem = stem[: -len(ending)]
            break
    return os.path.join(folder, f"{stem}_shifts.json")


def made_by_us(path: Pathlike) -> bool:
    """Return whether a record beside a file names it as a picture or a figure that this package has written."""
    try:
        record = read_record(record_path(path))
    except InputError:
        return False
    name = os.path.basename(os.fspath(path))
    return any(made is not None and made.name == name for made in (record.output, record.figure))


def read_json(path: Pathlike) -> Any:
    """Read a JSON file of a reasonable size.

    Raises
    ------
    InputError
        If it is missing, no ordinary file, larger than 4 MB, or no JSON.
    """
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{os.fspath(path)} is no ordinary file; give a JSON file of displacements")
        if status.st_size > _LARGEST:
            raise InputError(
                f"{os.fspath(path)} has {status.st_size} bytes, more than the {_LARGEST} that a file of displacements "
                "may have; give the JSON that alignment has written"
            )
        with open(path, "rb") as file:
            text = file.read(_LARGEST + 1)
    except OSError as error:
        raise InputError(_unreadable(path, error)) from error
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{os.fspath(path)} is not JSON ({' '.join(str(error).split())}); give the JSON that alignment has written"
        ) from error


def read_record(path: Pathlike) -> Record:
    """Read the record of a plate.

    Parameters
    ----------
    path : str or path
        A file that `Record.write` made.

    Returns
    -------
    Record

    Raises
    ------
    InputError
        If it is not such a file, or something in it cannot be.
    """
    return parse_record(read_json(path), os.fspath(path))


def parse_record(data: Any, name: str) -> Record:
    """Check what a JSON file held, and return it as a record.

    Parameters
    ----------
    data : object
        What `read_json` returned.
    name : str
        What errors call it.

    Raises
    ------
    InputError
        If it is no record of a plate, or something in it cannot be.
    """
    try:
        top = _mapping(data, "it")
        schema = top.get("schema")
        if schema != SCHEMA:
            raise _WrongError(f"its schema is {_shown(schema)} and not {SCHEMA!r}")
        shape = [_whole(value, "the plate's shape", 1, 10**7) for value in _sequence(top, "input", "shape", 2)]
        own = ("schema", "made_by", "convention", "input", "options", "output", "figure", "replaces")
        return Record(
            input=_fingerprint(top.get("input"), "input"),
            shape=(shape[0], shape[1]),
            options=dict(_mapping(top.get("options"), "options")),
            result=_result({key: value for key, value in top.items() if key not in own}, shape),
            output=None if top.get("output") is None else _fingerprint(top["output"], "output"),
            figure=None if top.get("figure") is None else _fingerprint(top["figure"], "figure"),
            version=_text(top.get("made_by"), "made_by").removeprefix("alignment "),
            replaces=tuple(_fingerprint(file, "replaces") for file in _list(top.get("replaces", []), "replaces")),
        )
    except _WrongError as error:
        raise InputError(
            f"{name} is no record of a plate: {error}; give the _shifts.json that alignment colorize has written"
        ) from error


def _result(data: Mapping[str, Any], shape: Any = None) -> dict[str, Any]:
    """Check the displacements and rectangles of a plate, and return them with everything that came along."""
    reference = data.get("reference")
    if reference not in CHANNELS:
        raise _WrongError(f"its reference is {_shown(reference)}")
    exposures = _mapping(data.get("exposures"), "exposures")
    rectangles = [(f"the {name} exposure", exposures.get(name)) for name in CHANNELS] + [("crop", data.get("crop"))]
    for what, value in rectangles:
        _rectangle(value, what, shape)
    found = _mapping(data.get("registrations"), "registrations")
    if set(found) != set(CHANNELS) - {reference}:
        raise _WrongError(f"it has displacements for {_shown(sorted(map(str, found)))}, its reference is {reference}")
    for name, one in found.items():
        for key in ("dx", "dy"):
            value = _mapping(one, f"the registration of {name}").get(key)
            if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _FARTHEST:
                raise _WrongError(f"{key} of {name} is {_shown(value)}")
    return dict(data)


class _WrongError(Exception):
    """What is wrong with a record."""


def _refuse_constant(text: str) -> float:
    """Refuse NaN and Infinity, which are no JSON."""
    raise ValueError(f"{text} is no number")


def _unreadable(path: Pathlike, error: OSError) -> str:
    """Say that a file cannot be read."""
    reason = (error.strerror or type(error).__name__).lower()
    return f"{os.fspath(path)} cannot be read ({reason}); check the path"


def _four(value: Any) -> Rectangle:
    """Return four numbers as a tuple."""
    top, bottom, left, right = value
    return top, bottom, left, right


def _finite(value: Any) -> Any:
    """Turn a value into what JSON knows."""
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def _shown(value: Any) -> str:
    """Show a value inside a sentence, cut short where it is long."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _mapping(value: Any, what: str) -> Mapping[str, Any]:
    """Return a JSON object."""
    if not isinstance(value, Mapping):
        raise _WrongError(f"{what} is {_shown(value)} and no JSON object")
    return value


def _sequence(top: Mapping[str, Any], outer: str, inner: str, length: int) -> list[Any]:
    """Return a list of this length that lies inside an object."""
    value = _mapping(top.get(outer), outer).get(inner)
    if not isinstance(value, list) or len(value) != length:
        raise _WrongError(f"{inner} of {outer} is {_shown(value)}")
    return value


def _list(value: Any, what: str) -> list[Any]:
    """Return a list."""
    if not isinstance(value, list):
        raise _WrongError(f"{what} is {_shown(value)} and no list")
    return value


def _text(value: Any, what: str) -> str:
    """Return a text."""
    if not isinstance(value, str) or len(value) > 4096:
        raise _WrongError(f"{what} is {_shown(value)}")
    return value


def _whole(value: Any, what: str, low: int, high: int) -> int:
    """Return a whole number in [low, high]."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise _WrongError(f"{what} is {_shown(value)}")
    return value


def _fingerprint(value: Any, what: str) -> Fingerprint:
    """Return the fingerprint of a file."""
    data = _mapping(value, what)
    name = _text(data.get("name"), f"the name of the {what}")
    if os.path.basename(name) != name or not name:
        raise _WrongError(f"the name of the {what} is {_shown(name)}, with a folder")
    return Fingerprint(
        name,
        _whole(data.get("size"), f"the size of the {what}", 0, 2**63),
        _whole(data.get("mtime_ns"), f"the time of the {what}", -(2**63), 2**63),
        _text(data.get("sha256"), f"the hash of the {what}"),
    )


def _rectangle(value: Any, what: str, shape: Any) -> None:
    """Refuse what is no rectangle inside the plate."""
    height, width = shape or (10**7, 10**7)
    if isinstance(value, list | tuple) and len(value) == 4:
        top, bottom, left, right = (_whole(number, what, 0, 10**7) for number in value)
        if top < bottom <= height and left < right <= width:
            return
    raise _WrongError(f"{what} is {_shown(value)} and no rectangle (top, bottom, left, right) inside the plate")
