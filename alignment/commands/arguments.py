"""Arguments of the command line: how each kind is read, and the options that several commands share."""

from __future__ import annotations

import argparse
import contextlib
import math
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
