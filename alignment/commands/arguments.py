"""Arguments of the command line: how each kind is read, and the options that several commands share."""

from __future__ import annotations

import argparse
import contextlib
import math
import os
from collections.abc import Callable
from typing import Any


def command(
    commands: Any, name: str, run: Callable[..., int], summary: str, examples: str, *parents: argparse.ArgumentParser
) -> argparse.ArgumentParser:
    """Add the parser of one command, with the options that all share."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog="examples:\n" + "\n".join(f"  {line}" for line in examples.splitlines()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[*parents, message_options()],
    )
    parser.set_defaults(run=run)
    return parser


def message_options() -> argparse.ArgumentParser:
    """Return the options on what is said, for every command."""
    parent = argparse.ArgumentParser(add_help=False)
    parent.add_argument("--json", action="store_true", help="print the result as JSON, and nothing else, on stdout")
    volume = parent.add_mutually_exclusive_group()
    volume.add_argument("-q", "--quiet", action="store_true", help="print errors only")
    volume.add_argument(
        "-v", "--verbose", action="count", default=0, help="say what took how long; -vv: tracebacks of errors as well"
    )
    return parent


def overwrite_option() -> argparse.ArgumentParser:
    """Return the option of every command that writes."""
    parent = argparse.ArgumentParser(add_help=False)
    parent.add_argument("--overwrite", action="store_true", help="replace files that are there already")
    return parent


def computing_options() -> argparse.ArgumentParser:
    """Return the options of every command that aligns images given to it."""
    parent = argparse.ArgumentParser(add_help=False)
    parent.add_argument("--loss", choices=("ncc", "mse"), default="ncc", help="what to minimise (default: ncc)")
    parent.add_argument("--dry-run", action="store_true", help="write nothing, only say what would be written")
    parent.add_argument("--threads", type=count, metavar="N", help="threads that the numerical libraries may use")
    return parent


def many_options() -> argparse.ArgumentParser:
    """Return the options of every command that has many inputs to share out."""
    parent = argparse.ArgumentParser(add_help=False)
    share = parent.add_mutually_exclusive_group()
    share.add_argument(
        "--jobs", type=count, default=1, metavar="N", help="processes that share the inputs (default: 1)"
    )
    share.add_argument(
        "--scheduler", metavar="ADDRESS", help="a dask scheduler whose workers do all, such as tcp://10.0.0.1:8786"
    )
    return parent


def colour_options() -> argparse.ArgumentParser:
    """Return the options of every command that makes colour photographs."""
    parent = argparse.ArgumentParser(add_help=False)
    group = parent.add_argument_group("colours, left as they were scanned unless asked for")
    group.add_argument(
        "--balance",
        choices=("none", "gray-world", "white-patch"),
        help="make the means, or the whites, of the three channels equal; clips nothing",
    )
    group.add_argument(
        "--contrast", action="store_true", default=None, help="stretch all channels together to the full range"
    )
    group.add_argument(
        "--percentiles",
        type=percentiles,
        metavar="LOW,HIGH",
        help="what --contrast makes black and white (default: 0.5,99.5)",
    )
    group.add_argument(
        "--gamma", type=exponent, metavar="G", help="above 1 brightens the middle tones (1.4 suits most plates)"
    )
    return parent


def contrast_of(args: argparse.Namespace) -> tuple[float, float] | bool:
    """Return what was said about the contrast, for `alignment.colour.measure`."""
    if args.percentiles is not None:
        low, high = args.percentiles
        return low, high
    return bool(args.contrast)


def percentiles(text: str) -> tuple[float, float]:
    """Read two percentiles."""
    with contextlib.suppress(ValueError):
        low, high = (float(part) for part in text.split(","))
        if 0 <= low < high <= 100:
            return low, high
    raise argparse.ArgumentTypeError(f"{text!r} is not two percentiles from 0 to 100, such as 0.5,99.5")


def exponent(text: str) -> float:
    """Read the denominator of an exponent."""
    with contextlib.suppress(ValueError):
        if 0.05 <= float(text) <= 20:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a gamma from 0.05 to 20")


def rectangle(text: str) -> tuple[int, int, int, int]:
    """Read a rectangle of pixels, bottom and right exclusive."""
    with contextlib.suppress(ValueError):
        top, bottom, left, right = (int(part) for part in text.split(","))
        if 0 <= top < bottom and 0 <= left < right:
            return top, bottom, left, right
    raise argparse.ArgumentTypeError(
        f"{text!r} is no rectangle TOP,BOTTOM,LEFT,RIGHT in pixels, such as 380,700,20,370"
    )


def crop(text: str) -> str | tuple[int, int, int, int]:
    """Read what to cut off: a name, or the rectangle to keep."""
    if text in ("auto", "overlap", "none"):
        return text
    if "," in text:
        return rectangle(text)
    raise argparse.ArgumentTypeError(
        f"invalid choice: {text!r} (choose from 'auto', 'overlap', 'none', or give a rectangle TOP,BOTTOM,LEFT,RIGHT)"
    )


def exposures(text: str) -> dict[str, tuple[int, int, int, int]]:
    """Read three rectangles: blue=TOP,BOTTOM,LEFT,RIGHT;green=...;red=..., or a JSON file that holds them."""
    if "=" in text and not os.path.lexists(text):
        pairs = [part.partition("=")[::2] for part in text.split(";") if part.strip()]
        found = {name.strip(): rectangle(numbers) for name, numbers in pairs}
    else:
        found = _exposures_of_file(text)
    if set(found) != {"red", "green", "blue"}:
        raise argparse.ArgumentTypeError(
            f"{text!r} names {', '.join(sorted(found)) or 'nothing'}; give one rectangle each for red, green and blue"
        )
    return found


def _exposures_of_file(text: str) -> dict[str, tuple[int, int, int, int]]:
    """Read three rectangles from a JSON file: alone, or under the key "exposures" as in a record of displacements."""
    from .._checks import InputError
    from ..sidecar import read_json

    try:
        data = read_json(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(
            f"{error}; or give the text blue=TOP,BOTTOM,LEFT,RIGHT;green=...;red=..."
        ) from error
    held = data.get("exposures", data) if isinstance(data, dict) else None
    if not isinstance(held, dict) or not all(isinstance(value, list) for value in held.values()):
        raise argparse.ArgumentTypeError(f'{text} holds no {{"red": [top, bottom, left, right], ...}}')
    return {str(name): rectangle(",".join(map(str, value))) for name, value in held.items()}


def count(text: str) -> int:
    """Read a whole number above zero."""
    if text.isascii() and text.isdigit() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")


def pixels(text: str) -> float:
    """Read a number of pixels above zero."""
    with contextlib.suppress(ValueError):
        if math.isfinite(float(text)) and float(text) > 0:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a number of pixels above 0")


def finite(text: str) -> float:
    """Read a finite number."""
    with contextlib.suppress(ValueError):
        if math.isfinite(float(text)):
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a finite number")


def seed(text: str) -> int:
    """Read a whole number that is not negative."""
    if text.isascii() and text.isdigit():
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 0 or more")
