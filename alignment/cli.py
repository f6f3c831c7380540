"""The command line: ``alignment COMMAND ...``.

Each command is a file of `alignment.commands`: ``add`` gives it a parser, ``run`` does it. `main` finds the command,
hands it the arguments and a `Session`, and turns whatever happens into an exit code:

0 all well, 1 an input failed, 2 wrong usage, 3 finished but something did not converge, 130 interrupted.

Results go to stdout, messages to stderr. The modules of the commands import nothing but the standard library at their
top: what a command needs is imported inside it, so that help and version come at once.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import gc
import logging
import os
import sys
from collections.abc import Iterator, Sequence

from ._version import __version__
from .commands import apply, colorize, demo, gradcheck, info, register, stack, study
from .commands.console import FAILED, INTERRUPTED, USAGE, Session, Stopwatch, UsageError, process_age


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments; by default those of the process, which is then taken to have been started for this command.

    Returns
    -------
    int
        0 all well, 1 an input failed, 2 wrong usage, 3 finished but something did not converge, 130 interrupted.
    """
    clock = Stopwatch(process_age() if argv is None else 0.0)
    if argv is None:
        _print_any_name()
        atexit.register(_leave_garbage)
    try:
        args = build_parser().parse_args(argv)
    except SystemExit as end:  # argparse has spoken already
        return end.code if isinstance(end.code, int) else USAGE
    session = Session(args, clock)
    try:
        with _log_to_stderr(args.verbose):
            _limit_threads(getattr(args, "threads", None))
            code: int = args.run(args, session)
        if args.verbose:
            session.note(clock.table())
        sys.stdout.flush()
    except KeyboardInterrupt:
        session.note("alignment: interrupted")
        return INTERRUPTED
    except BrokenPipeError:  # whoever read our output has stopped; nothing is left to say to them
        _close_stdout()
        return FAILED
    except UsageError as error:
        session.note(f"alignment {args.command}: error: {error}; see alignment {args.command} --help")
        return USAGE
    except Exception as error:
        session.complain(error)
        return FAILED
    return code


def _leave_garbage() -> None:
    """Let the process end without a last search for cycles, which through all of a compiler takes 0.3 s."""
    gc.disable()
    gc.freeze()


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="alignment",
        description="Find the displacement that lays one image on another, by descending a hand-derived gradient.",
        epilog="exit codes: 0 all well, 1 an input failed, 2 wrong usage, 3 not converged, 130 interrupted\n\n"
        "examples:\n"
        "  alignment demo\n"
        "  alignment colorize plate.jpg\n"
        "  alignment register reference.tif moving.tif --json\n"
        "  alignment stack movie.tif -o still.tif --table drift.csv\n\n"
        "to learn the mathematics: the notebooks of the project, from one pixel to a glass plate of your own;\n"
        "the published experiments: alignment study",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"alignment {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in (demo, colorize, register, apply, stack, gradcheck, study, info):
        command.add(commands)
    return parser


@contextlib.contextmanager
def _log_to_stderr(verbose: int) -> Iterator[None]:
    """Show the log of the package while a command runs, if asked to."""
    logger = logging.getLogger("alignment")
    if not verbose:
        yield
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO if verbose == 1 else logging.DEBUG)
    try:
        yield
    finally:
        logger.setLevel(before)
        logger.removeHandler(handler)


def _limit_threads(count: int | None) -> None:
    """Tell the numerical libraries how many threads they may use."""
    if count is None:
        return
    if "numpy" not in sys.modules:
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            os.environ[name] = str(count)
    numba = sys.modules.get("numba")
    if numba is None:
        os.environ["NUMBA_NUM_THREADS"] = str(count)
    else:
        numba.set_num_threads(min(count, numba.config.NUMBA_NUM_THREADS))


def _print_any_name() -> None:
    """Let stdout print file names and signs that its encoding lacks, instead of failing on them."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def _close_stdout() -> None:
    """Send what is left in stdout's buffer nowhere, so that the interpreter's own flush at exit stays silent."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
