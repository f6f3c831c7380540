"""Coverage-guided fuzzing of the two doors: files, and arrays handed to `register`.

Run one of the targets for some seconds, with a folder that keeps what was found interesting::

    python tests/fuzz/harness.py files corpus -max_total_time=60
    python tests/fuzz/harness.py register corpus -max_total_time=60

It needs atheris (``pip install atheris``). Whatever is not an answer or an `InputError` of one line is a crash: the
fuzzer stops, and leaves the input in a file that `python tests/fuzz/harness.py files crash-...` repeats.
"""

from __future__ import annotations

import json
import math
import os
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))


def _load() -> None:
    """Import what is to be fuzzed, instrumented where the fuzzer can see it."""
    import atheris

    # Numba cannot compile what the fuzzer has instrumented
    import alignment._kernels

    with atheris.instrument_imports(include=["alignment", "PIL", "tifffile"], enable_loader_override=False):
        import PIL.JpegImagePlugin
        import PIL.PngImagePlugin
        import PIL.TiffImagePlugin  # noqa: F401
        import tifffile  # noqa: F401

        import alignment.imagefiles
        import alignment.registration
        import alignment.sidecar  # noqa: F401


def check_sentence(text: str) -> None:
    """Assert that a message is one line and gives advice."""
    assert text, "an empty message"
    assert "\n" not in text, text
    assert ";" in text, text


def files(data: bytes) -> None:
    """Read bytes as an image, as its resolution, and as JSON."""
    from alignment._checks import InputError
    from alignment.imagefiles import read_image, read_resolution
    from alignment.sidecar import parse_record, read_json

    path = os.path.join(_folder(), "input")
    with open(path, "wb") as file:
        file.write(data)
    try:
        image = read_image(path)
        assert image.ndim in (2, 3)
        assert image.size > 0
        assert image.dtype.kind in "uf"
    except InputError as error:
        check_sentence(str(error))
    try:
        read_resolution(path)
    except InputError as error:
        check_sentence(str(error))
    try:
        parse_record(read_json(path), "input")
    except InputError as error:
        check_sentence(str(error))


def register(data: bytes) -> None:
    """Register two arrays whose shape, type, content, masks and options are drawn from bytes."""
    import atheris

    import alignment as al

    draw = atheris.FuzzedDataProvider(data)
    height, width = draw.ConsumeIntInRange(1, 40), draw.ConsumeIntInRange(1, 40)
    dtype = np.dtype(draw.PickValueInList(["u1", "i1", "u2", ">u2", "i4", "u8", "f2", "f4", "f8", ">f8", "?"]))
    options = {
        "loss": draw.PickValueInList(["ncc", "mse"]),
        "method": draw.PickValueInList(["auto", "newton", "adam", "gradient-descent", "exhaustive"]),
        "features": draw.PickValueInList(["auto", "intensity", "fine", "edges"]),
        "smooth": draw.PickValueInList([0, 0.5, 1.0, 3.0]),
        "max_shift": draw.PickValueInList([None, 0.5, 1, 3, 1000, draw.ConsumeRegularFloat()]),
        "init": (draw.ConsumeRegularFloat(), 0.0) if draw.ConsumeBool() else (0.0, 0.0),
    }
    masked = draw.ConsumeBool()
    images = [_array(draw, (height, width), dtype) for _ in range(2)]
    if masked:
        options["reference_mask"] = _array(draw, (height, width), np.dtype("?"))
    before = [image.tobytes() for image in images]
    try:
        found = al.register(*images, **options)
    except al.InputError as error:
        check_sentence(str(error))
        return
    assert math.isfinite(found.dx)
    assert math.isfinite(found.dy)
    assert found.success == (found.status == "converged")
    assert [image.tobytes() for image in images] == before
    json.loads(found.to_json())


def _array(draw, shape: tuple[int, int], dtype: np.dtype) -> np.ndarray:
    """Return an array whose bytes are the fuzzer's, repeated or drawn at random where they do not suffice."""
    size = shape[0] * shape[1] * dtype.itemsize
    if draw.ConsumeBool():
        content = np.random.default_rng(draw.ConsumeIntInRange(0, 255)).bytes(size)
    else:
        content = draw.ConsumeBytes(size) or b"\0"
        content = (content * (size // len(content) + 1))[:size]
    if dtype.kind == "b":
        return (np.frombuffer(content, np.uint8) & 1).astype(bool).reshape(shape)
    return np.frombuffer(content, dtype).reshape(shape)


_FOLDER: list[tempfile.TemporaryDirectory] = []


def _folder() -> str:
    if not _FOLDER:
        _FOLDER.append(tempfile.TemporaryDirectory())
    return _FOLDER[0].name


def seeds(folder: Path) -> None:
    """Give the fuzzer sound files to begin with, where it has none."""
    sys.path.insert(0, str(ROOT))
    from tests.hard.strange_files import READ, REFUSED, sound

    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        return
    contents = [content for _, content in sound().values()]
    contents += [make() for _, make, *_ in (*READ.values(), *REFUSED.values())]
    for number, content in enumerate(contents):
        (folder / f"seed-{number}").write_bytes(content[:20_000])


def main() -> None:
    """Fuzz what the first argument names; the others are the fuzzer's."""
    import atheris

    warnings.simplefilter("error")
    name, *rest = sys.argv[1:]
    _load()
    if name == "files" and rest and not rest[0].startswith("-") and not Path(rest[0]).is_file():
        seeds(Path(rest[0]))
    atheris.Setup([sys.argv[0], *rest], {"files": files, "register": register}[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
