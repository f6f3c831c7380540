"""``alignment study``: the published experiments, on any plate, and what became of their claims."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .arguments import command, count, overwrite_option
from .console import FAILED, OK, STARTING, UNCONVERGED, Session, UsageError
from .targets import check_target, make_folder

if TYPE_CHECKING:
    from ..study import Case, Study

DEMO = "demo"
FILES = ("study.md", "study.csv", "study.json", "study.png", "causes.png")


def add(commands: Any) -> None:
    """Add the command that runs the published experiments again."""
    parser = command(
        commands,
        "study",
        run,
        "run the published experiments again, judge their claims by the numbers, and set our engine beside them",
        "alignment study                                   on the plate of the demonstration\n"
        "alignment study plates/*.jpg -o study --overwrite",
        overwrite_option(),
    )
    parser.add_argument(
        "plates", nargs="*", metavar="PLATE", help="scans of plates; without any, the plate of the demonstration"
    )
    parser.add_argument(
        "-o", "--output", metavar="FOLDER", default="alignment-study",
        help=f"where to write {', '.join(FILES)} (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--repeats", type=count, default=3, metavar="N", help="runs that each median time is of (default: %(default)s)"
    )
    parser.add_argument("--dry-run", action="store_true", help="write nothing, only say what would be written")


def run(args: argparse.Namespace, session: Session) -> int:
    """Run the experiments on all plates, write the tables and the figures, and say what became of the claims."""
    folder = Path(args.output)
    targets = [str(folder / name) for name in FILES]
    if len({Path(plate).stem for plate in args.plates}) < len(args.plates):
        raise UsageError("two plates have the same name, which their rows could not be told apart by; rename one")
    if args.dry_run:
        session.say("\n".join(f"would be written: {target}" for target in targets))
        session.json({"files": targets})
        return OK
    with session.bar(2, "stage") as bar:
        bar.stage(STARTING)
        with session.clock.stage(STARTING):
            from .. import claims, plots, study
        bar.advance()
        for target in targets:
            check_target(target, overwrite=args.overwrite, missing_folder=True)
        bar.stage("reading")
        with session.clock.stage("reading"):
            cases, failed = _cases(args.plates, session)
    if not cases:
        return FAILED
    make_folder(folder)
    with session.clock.stage("experiments"):
        made = study.run_study(cases, repeats=args.repeats, progress=lambda jobs: session.progress(jobs, "piece"))
    verdicts, explained = claims.judge(made), claims.explain(made)
    with session.bar(3, "file") as bar, session.clock.stage("writing"):
        bar.stage("writing tables")
        _write(made, verdicts, explained, targets[:3], overwrite=args.overwrite)
        for draw, target in zip((_draw_settings, _draw_causes), targets[3:], strict=True):
            bar.advance()
            bar.stage(f"drawing {Path(target).name}")
            plots.save(draw(made, cases), target, overwrite=args.overwrite)
        bar.advance()
    from . import report

    session.json({**report.as_json(made, verdicts, explained), "files": targets})
    session.say(report.lines(made, verdicts, explained))
    session.say("\n" + "\n".join(targets))
    doubtful = any(answer.source not in ("truth", "converged") for answer in made.answers)
    return FAILED if failed else UNCONVERGED if doubtful else OK


def _cases(plates: list[str], session: Session) -> tuple[list[Case], bool]:
    """Read and cut the plates; a plate that fails does not keep the others from being studied."""
    from .. import datasets, imagefiles, study

    if not plates:
        demo = datasets.demo_plate()
        return study.cases_of(demo.plate, DEMO, truth=demo.truth, exposures=demo.exposures), False
    cases: list[Case] = []
    failed = False
    for plate in plates:
        try:
            image = imagefiles.read_image(plate)
            grey = image if image.ndim == 2 else imagefiles.as_float(image).mean(axis=2)
            cases += study.cases_of(grey, Path(plate).stem)
        except Exception as error:
            session.complain(error, plate)
            failed = True
    return cases, failed


def _write(made: Study, verdicts: Any, explained: list[str], targets: list[str], *, overwrite: bool) -> None:
    """Write the tables."""
    import json

    from ..imagefiles import replace_file
    from . import report
    from .console import plain

    texts = (
        report.markdown(made, verdicts, explained),
        report.as_csv(made),
        json.dumps(plain(report.as_json(made, verdicts, explained)), indent=2, allow_nan=False) + "\n",
    )
    for target, text in zip(targets, texts, strict=True):
        with replace_file(target, overwrite=overwrite) as file:
            file.write(text.encode())


def _draw_settings(made: Study, cases: list[Case]) -> Any:
    """Draw what came of all settings, and of each channel."""
    from .. import experiment, plots

    return plots.study_figure(made, rates=experiment.RATES, steps=experiment.STEPS)


def _draw_causes(made: Study, cases: list[Case]) -> Any:
    """Draw the landscapes of the channel that a false minimum holds furthest away, or that ends furthest away."""
    from .. import experiment, plots, study

    place = max(range(len(cases)), key=lambda i: (made.endings[i].reason == "false minimum", made.endings[i].distance))
    case, answer = cases[place], made.answers[place]
    objective = experiment.AsProgrammed(case.reference, case.moving, loss=study.LOSS)
    path = experiment.run(
        objective, method=study.METHOD, loss=study.LOSS, learning_rate=study.RATE, steps=study.COUNT
    ).descent.trace
    return plots.causes_figure(
        study.landscapes(case),
        region=study.region_of(answer),
        trace=path,
        answer=(answer.dx, answer.dy),
        subject=f"{case.plate}, {case.channel}",
    )
