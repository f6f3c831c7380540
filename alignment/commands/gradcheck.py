"""``alignment gradcheck``: a gradient held against finite differences."""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .arguments import command, finite, overwrite_option, seed
from .console import FAILED, OK, STARTING, Session, UsageError, sentence_of
from .targets import check_target
from .wording import luminance

BETWEEN, WHOLE = (2.37, -1.61), (1.0, -2.0)  # px, where gradients are checked unless told: inside a cell, at a corner


@dataclass(frozen=True)
class Question:
    """One gradient to check: the function, its name for the reader, and where."""

    name: str
    function: Callable[..., Any]
    at: tuple[float, ...]
    parameters: tuple[str, ...] | None = None
    scales: Mapping[str, float] = field(default_factory=dict)


def add(commands: Any) -> None:
    """Add the command that checks gradients against finite differences."""
    parser = command(
        commands,
        "gradcheck",
        run,
        "check a hand-derived gradient against finite differences, and say why it fails",
        "alignment gradcheck                                     both losses on the demo pair, beside and at a kink\n"
        "alignment gradcheck reference.tif moving.tif --loss ncc --at 0.5 -1.25\n"
        "alignment gradcheck mymodule:rosenbrock --at 0.3 1.7    your own f(x, y) -> (value, gradient)\n"
        "alignment gradcheck --plot errors.pdf                   error against step, for a slide",
        overwrite_option(),
    )
    # argparse takes -1.5 for a number but, before Python 3.14, -1e-3 for an option
    parser._negative_number_matcher = re.compile(r"-(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$", re.IGNORECASE)
    parser.add_argument(
        "subject",
        nargs="*",
        metavar="REFERENCE MOVING | MODULE:FUNCTION",
        help="two images, or a function of the current folder or an installed module that returns (value, gradient); "
        "by default the demo pair",
    )
    parser.add_argument(
        "--loss", choices=("ncc", "mse"), help="the loss of the two images (default: one after another)"
    )
    parser.add_argument(
        "--at",
        nargs="+",
        type=finite,
        metavar="X",
        help="the displacement DX DY in pixels, or the function's arguments (default for images: one displacement "
        "between pixels, one at whole pixels)",
    )
    parser.add_argument(
        "--side", choices=("right", "left", "central"), help="the slope to take at whole pixels (default: right)"
    )
    parser.add_argument(
        "--domain", choices=("frame", "interior"), help="the pixels of the reference to compare (default: frame)"
    )
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="chooses the random directions (default: 0)")
    parser.add_argument("--plot", metavar="FILE", help="write a figure, error against step: .png, .pdf, .svg, ...")


def run(args: argparse.Namespace, session: Session) -> int:
    """Check gradients; print each table and verdict."""
    _check_subject(args)
    if args.plot is not None:
        _check_figure_name(args.plot)
        check_target(args.plot, overwrite=args.overwrite)
    with session.clock.stage(STARTING):
        import tqdm  # noqa: F401  (here, before the current folder can offer a file of that name)

        from .. import gradcheck, losses  # noqa: F401
    folder = _current_folder_importable() if len(args.subject) == 1 else contextlib.nullcontext()
    # what a function of the user prints is no result of ours
    with folder, contextlib.redirect_stdout(sys.stderr):
        if len(args.subject) == 1:
            questions = [_question_of_function(args.subject[0], args.at)]
        else:
            with session.clock.stage("reading"):
                questions = _questions_of_images(args)
        with session.clock.stage("checking"):
            checks = list(_answers(questions, args.seed, quiet=args.quiet))
    if args.plot is not None:
        with session.clock.stage("drawing and writing the figure"):
            _plot_checks(args.plot, questions, checks, overwrite=args.overwrite)
    session.json([{"function": q.name, **check.to_dict()} for q, check in zip(questions, checks, strict=True)])
    session.say("\n\n".join(f"{q.name}\n{check}" for q, check in zip(questions, checks, strict=True)))
    passed = sum(check.passed for check in checks)
    if len(checks) > 1:
        session.say(f"\n{passed} of {len(checks)} checks passed")
    if args.plot is not None:
        session.say(f"\nerror against step: {args.plot}")
    return OK if passed == len(checks) else FAILED


def _check_subject(args: argparse.Namespace) -> None:
    """Refuse arguments that do not go together, before any work."""
    if len(args.subject) > 2:
        raise UsageError(
            f"there are {len(args.subject)} arguments; give two images, or one MODULE:FUNCTION, or nothing"
        )
    if len(args.subject) != 1:
        if args.at is not None and len(args.at) != 2:
            raise UsageError(f"--at has {len(args.at)} numbers, but a displacement is two of them; give DX DY")
        return
    subject = args.subject[0]
    module, _, function = subject.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), *function.split("."))):
        raise UsageError(f"{subject!r} is neither two images nor MODULE:FUNCTION; give for example mymodule:rosenbrock")
    given = [name for name in ("loss", "side", "domain") if getattr(args, name) is not None]
    if given:
        raise UsageError(f"--{given[0]} is for images, but {subject} is a function; leave it out")


def _check_figure_name(path: str) -> None:
    """Refuse a figure of unknown format."""
    from .._checks import InputError
    from ..imagefiles import image_format

    if Path(path).suffix.lower() in (".pdf", ".svg"):
        return
    try:
        image_format(path)
    except InputError as error:
        raise UsageError(f"{sentence_of(error)}, or .pdf or .svg for a figure") from error


def _questions_of_images(args: argparse.Namespace) -> list[Question]:
    """Ask for each loss at each displacement, evaluated by the direct pass, which is the definition."""
    import numpy as np

    from .. import datasets, imagefiles, losses

    if args.subject:
        pair = [luminance(imagefiles.read_image(name)).astype(np.float64) for name in args.subject]
    else:
        pair = list(datasets.shifted_pair(dtype="float64"))
    domain, side = args.domain or "frame", args.side or "right"
    questions = []
    for loss in (args.loss,) if args.loss else ("mse", "ncc"):
        made = {"mse": losses.MSE, "ncc": losses.NCC}[loss](*pair, evaluation="direct", domain=domain, side=side)
        (height, width), (top, bottom, left, right) = made.shape, made.domain
        scales = {"N": float((bottom - top) * (right - left)), "W/2": width / 2, "H/2": height / 2}
        for dx, dy in (args.at,) if args.at else (BETWEEN, WHOLE):
            name = f"{loss.upper()} at ({dx:g}, {dy:g}) px"
            questions.append(Question(name, made.value_and_gradient, (dx, dy), ("dx", "dy"), scales))
    return questions


def _question_of_function(subject: str, at: Sequence[float] | None) -> Question:
    """Import a function of the user, and see whether it takes so many arguments."""
    import inspect

    function = _imported(subject)
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some functions written in C do not tell
        signature = None
    if at is None:
        takes = f" of {signature}" if signature is not None else ""
        raise UsageError(f"{subject} needs a point; give --at and a number for each argument{takes}")
    if signature is not None:
        try:
            signature.bind(*at)
        except TypeError:
            raise UsageError(
                f"--at has {len(at)} numbers, but {subject} takes {signature}; give one for each"
            ) from None
    return Question(subject, function, tuple(at))


def _imported(subject: str) -> Callable[..., Any]:
    """Import MODULE:FUNCTION."""
    import importlib

    from .._checks import InputError

    name, _, path = subject.partition(":")
    importlib.invalidate_caches()
    try:
        found: Any = importlib.import_module(name)
    except (Exception, SystemExit) as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing is not None and (name == missing or name.startswith(f"{missing}.")):
            raise UsageError(
                f"there is no module {missing} in the current folder or among those installed; check {subject}"
            ) from error
        raise InputError(f"module {name} cannot be imported: {type(error).__name__}: {error}") from error
    for part in path.split("."):
        if not hasattr(found, part):
            offered = sorted(key for key, value in vars(found).items() if callable(value) and not key.startswith("_"))
            has = f"it has {', '.join(offered)}" if offered else "it has no functions"
            raise UsageError(f"{name} has no {path}; {has}")
        found = getattr(found, part)
    if not callable(found):
        raise UsageError(
            f"{subject} is {type(found).__name__} and not a function; give one that returns (value, gradient)"
        )
    function: Callable[..., Any] = found
    return function


@contextlib.contextmanager
def _current_folder_importable() -> Iterator[None]:
    """Let modules of the current folder be imported, as by ``python -m``."""
    folder = os.getcwd()
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # what was imported may have tidied up
            sys.path.remove(folder)


def _answers(questions: Sequence[Question], seed: int, *, quiet: bool) -> Iterator[Any]:
    """Check one after the other, behind a bar that counts evaluations if it takes long and someone is watching."""
    from tqdm import tqdm

    from .. import gradcheck
    from .._checks import InputError

    with tqdm(unit=" evaluations", leave=False, file=sys.stderr, delay=1, disable=True if quiet else None) as bar:
        for number, question in enumerate(questions, 1):
            bar.set_description(f"{question.name} ({number} of {len(questions)})", refresh=False)

            @functools.wraps(question.function)
            def counted(*point: float, question: Question = question) -> Any:
                bar.update()
                return question.function(*point)

            try:
                yield gradcheck.check_gradient(
                    counted, question.at, seed=seed, names=question.parameters, scales=question.scales
                )
            except InputError:
                raise
            except Exception as error:
                place = "; ".join(getattr(error, "__notes__", ()))
                message = f"{question.name} raised {type(error).__name__}: {error} ({place or 'away from the point'})"
                raise InputError(message) from error


def _plot_checks(target: str, questions: Sequence[Question], checks: Sequence[Any], *, overwrite: bool) -> None:
    """Draw one panel for each check, on common scales."""
    from .. import plots

    columns = min(len(checks), 2)
    rows = -(-len(checks) // columns)
    figure = plots.new_figure(1.2 + 6.0 * columns, 0.6 + 4.4 * rows)
    figure.set_layout_engine("constrained")
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for panel, question, check in zip(panels.flat, questions, checks, strict=True):
        check.plot(panel)
        verdict = f"{check.digits.min():.1f} digits agree" if check.passed else "FAILED"
        panel.set_title(f"{question.name}: {verdict}", fontsize=14.0)
        if question.parameters:
            panel.set_xlabel("step (px)", fontsize=12.5)
        panel.label_outer()
    plots.save(figure, target, overwrite=overwrite)
