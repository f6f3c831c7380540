"""``alignment gradcheck``: what it checks, what it prints, and how it ends."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from alignment import cli, datasets, write_image

FUNCTIONS = """
import math

NUMBER = 3.0


def bowl(x, y):
    print("a word from the author")
    return x * x * y + math.exp(y), (2 * x * y, x * x + math.exp(y))


def negated(x, y):
    return x * x * y + math.exp(y), (-2 * x * y, -x * x - math.exp(y))


def anyhow(*numbers):
    return sum(n * n for n in numbers), [2 * n for n in numbers]


def breaks(x):
    return {}["nothing"]


def no_pair(x):
    return x * x


class Owner:
    @staticmethod
    def cube(x):
        return x**3, 3 * x * x
"""


@pytest.fixture
def inside(tmp_path, monkeypatch):
    """Work in a folder with a module, whose name no other test has."""
    monkeypatch.chdir(tmp_path)
    Path("my_losses.py").write_text(FUNCTIONS)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith("my_"):
            del sys.modules[name]


@pytest.fixture
def small(monkeypatch):
    """Make the demo pair so small that it is quickly done without compiled kernels, too."""
    pair = datasets.shifted_pair(1.3, -0.6, shape=(24, 20))
    monkeypatch.setattr(datasets, "shifted_pair", lambda **options: pair)


@pytest.fixture
def pair(inside):
    """Return the names of two small images."""
    images = datasets.shifted_pair(1.3, -0.6, shape=(24, 20), dtype="float32")
    for name, image in zip(("reference.tif", "moving.tif"), images, strict=True):
        write_image(name, image)
    return ["reference.tif", "moving.tif"]


def sentence(capsys):
    """Return the last line on stderr, and check that nothing is on stdout."""
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    return err.rstrip("\n").split("\n")[-1]


def checks(capsys):
    """Return what was printed as JSON."""
    return json.loads(capsys.readouterr().out)


# the demo pair


@pytest.mark.slow
def test_the_demo_pair_agrees_to_the_digits_promised(capsys):
    assert cli.main(["gradcheck", "--json"]) == 0
    found = {check["function"]: check for check in checks(capsys)}
    assert list(found) == [
        "MSE at (2.37, -1.61) px",
        "MSE at (1, -2) px",
        "NCC at (2.37, -1.61) px",
        "NCC at (1, -2) px",
    ]
    assert all(check["passed"] for check in found.values())
    assert min(found["MSE at (2.37, -1.61) px"]["digits"]) >= 13
    assert min(found["NCC at (2.37, -1.61) px"]["digits"]) >= 11
    assert found["MSE at (2.37, -1.61) px"]["order"] == ["exact", "exact"]
    for name in ("MSE at (1, -2) px", "NCC at (1, -2) px"):
        assert [(kink["line"], kink["side"]) for kink in found[name]["kinks"]] == [("dx", "right"), ("dy", "right")]


def test_the_tables_are_printed_for_people(small, capsys):
    assert cli.main(["gradcheck", "--loss", "ncc"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    for words in (
        "NCC at (2.37, -1.61) px",
        "verdict",
        "rule: pass if",
        "seed 0",
        "kink at the point",
        "2 of 2 checks",
    ):
        assert words in out
    assert "MSE" not in out


@pytest.mark.parametrize(
    ("arguments", "function", "sides"),
    [
        (["--at", "0.5", "-0.25", "--loss", "mse"], "MSE at (0.5, -0.25) px", set()),
        (["--at", "0", "0", "--loss", "ncc", "--side", "left"], "NCC at (0, 0) px", {"left"}),
        (["--at", "1", "2", "--loss", "mse", "--side", "central"], "MSE at (1, 2) px", {"central"}),
        (["--at", "2", "2.5", "--loss", "mse", "--domain", "interior"], "MSE at (2, 2.5) px", {"right"}),
        (["--at", "-1e-3", "-.5", "--loss", "mse"], "MSE at (-0.001, -0.5) px", set()),
    ],
)
def test_options_for_images(small, capsys, arguments, function, sides):
    assert cli.main(["gradcheck", "--json", "--seed", "5", *arguments]) == 0
    (check,) = checks(capsys)
    assert (check["function"], check["seed"]) == (function, 5)
    assert {kink["side"] for kink in check["kinks"]} - {"away"} == sides


def test_two_images(pair, capsys):
    assert cli.main(["gradcheck", *pair, "--loss", "mse", "--at", "0.25", "0.5", "--json"]) == 0
    (check,) = checks(capsys)
    assert check["at"] == [0.25, 0.5]
    assert min(check["digits"]) > 12


def test_colour_and_integers_are_images_too(inside, capsys):
    colour = np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    write_image("a.png", colour)
    write_image("b.png", colour[::-1])
    assert cli.main(["gradcheck", "a.png", "b.png", "--loss", "mse", "--at", "0.25", "0.5", "--json"]) == 0
    assert min(checks(capsys)[0]["digits"]) > 12


# a function of the user


def test_a_function_of_the_current_folder(inside, capsys):
    assert cli.main(["gradcheck", "my_losses:bowl", "--at", "1.5", "-0.5"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("my_losses:bowl\ngradient check at x = 1.5, y = -0.5")
    assert "a word" not in out
    assert err.startswith("a word from the author")
    assert str(inside) not in sys.path


def test_a_wrong_gradient_ends_with_one_and_its_mistake_is_named(inside, capsys):
    assert cli.main(["gradcheck", "my_losses:negated", "--at", "1.5", "-0.5"]) == 1
    assert "likely mistake: a common factor of -1: the wrong sign" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("subject", "at"),
    [("my_losses:anyhow", ["1", "2", "-3", "4.5"]), ("my_losses:anyhow", ["2"]), ("my_losses:Owner.cube", ["-2e-1"])],
)
def test_any_number_of_arguments(inside, capsys, subject, at):
    assert cli.main(["gradcheck", subject, "--json", "--at", *at]) == 0
    assert checks(capsys)[0]["at"] == [float(x) for x in at]


def test_json_is_all_there_is_on_stdout_whatever_the_function_prints(inside, capsys):
    assert cli.main(["gradcheck", "my_losses:bowl", "--at", "1.5", "-0.5", "--json"]) == 0
    (check,) = checks(capsys)
    assert check["passed"] is True
    assert len(check["coordinates"]) == 2


def test_quiet_leaves_the_exit_code(inside, capsys):
    assert cli.main(["gradcheck", "my_losses:negated", "--at", "1.5", "-0.5", "-q"]) == 1
    assert cli.main(["gradcheck", "my_losses:Owner.cube", "--at", "1", "-q"]) == 0
    assert capsys.readouterr() == ("", "")


def test_verbose_says_what_took_how_long(inside, capsys):
    assert cli.main(["gradcheck", "my_losses:Owner.cube", "--at", "1", "-v"]) == 0
    assert "\nchecking  " in capsys.readouterr().err


def test_somebody_who_watches_sees_a_bar(inside, capsys, monkeypatch):
    import tqdm

    seen = []

    class Bar(tqdm.tqdm):
        def __init__(self, **options):
            seen.append(options)
            super().__init__(**options | {"disable": False, "delay": 0, "mininterval": 0})

    monkeypatch.setattr(tqdm, "tqdm", Bar)
    assert cli.main(["gradcheck", "my_losses:anyhow", "--at", "1", "2"]) == 0
    assert "my_losses:anyhow (1 of 1)" in capsys.readouterr().err
    assert seen[0]["disable"] is None  # a bar only where stderr is a terminal


# errors


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["a.png"], "'a.png' is neither two images nor MODULE:FUNCTION"),
        (["my_losses:"], "is neither two images nor MODULE:FUNCTION"),
        (["a.png", "b.png", "c.png"], "there are 3 arguments"),
        (["a.png", "b.png", "--at", "1"], "--at has 1 numbers, but a displacement is two"),
        (["--at", "1", "2", "3"], "--at has 3 numbers"),
        (["--at", "nan", "0"], "'nan' is not a finite number"),
        (["--seed", "-1"], "'-1' is not a whole number of 0 or more"),
        (["--loss", "ssim"], "invalid choice: 'ssim'"),
        (["--plot", "figure.gif"], "suffix '.gif'"),
        (["my_nothing:f", "--at", "1"], "there is no module my_nothing in the current folder"),
        (["my_losses.deeper:f", "--at", "1"], "there is no module my_losses.deeper in the current folder"),
        (["my_losses:f", "--at", "1"], "my_losses has no f; it has Owner, anyhow, bowl, breaks, negated, no_pair"),
        (["my_losses:NUMBER", "--at", "1"], "my_losses:NUMBER is float and not a function"),
        (["my_losses:bowl"], "my_losses:bowl needs a point; give --at and a number for each argument of (x, y)"),
        (["my_losses:bowl", "--at", "1"], "--at has 1 numbers, but my_losses:bowl takes (x, y)"),
        (["my_losses:bowl", "--at", "1", "2", "--loss", "mse"], "--loss is for images"),
    ],
)
def test_wrong_usage(inside, capsys, arguments, says):
    assert cli.main(["gradcheck", *arguments]) == 2
    assert says in sentence(capsys)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["a.png", "b.png"], "a.png cannot be read, because it does not exist"),
        (
            ["my_losses:breaks", "--at", "1"],
            "my_losses:breaks raised KeyError: 'nothing' (raised by the function under",
        ),
        (["my_losses:no_pair", "--at", "1"], "must return a pair (value, gradient)"),
        (["my_broken:f", "--at", "1"], "module my_broken cannot be imported: ZeroDivisionError: division by zero"),
        (["my_script:f", "--at", "1"], "module my_script cannot be imported: SystemExit: 3"),
        (
            ["my_needy:f", "--at", "1"],
            "module my_needy cannot be imported: ModuleNotFoundError: No module named 'absent'",
        ),
        (["--plot", "absent/figure.png"], "absent/figure.png cannot be written"),
    ],
)
def test_what_fails_is_one_sentence(inside, capsys, arguments, says):
    Path("my_broken.py").write_text("1 / 0\n")
    Path("my_script.py").write_text("import sys\nsys.exit(3)\n")
    Path("my_needy.py").write_text("import absent\n")
    assert cli.main(["gradcheck", *arguments]) == 1
    said = sentence(capsys)
    assert said.startswith("alignment: error: ")
    assert says in said
    assert "internal error" not in said


def test_images_of_different_size(pair, capsys):
    write_image("large.tif", np.zeros((50, 50), np.float32))
    assert cli.main(["gradcheck", pair[0], "large.tif"]) == 1
    assert "50" in sentence(capsys)


# the figure


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_the_figure_is_written(inside, suffix):
    assert cli.main(["gradcheck", "my_losses:Owner.cube", "--at", "1", "--plot", f"figure.{suffix}", "-q"]) == 0
    assert Path(f"figure.{suffix}").stat().st_size > 2000


def test_the_figure_has_one_panel_for_each_check(pair, capsys, monkeypatch):
    from alignment import plots

    figures = []
    monkeypatch.setattr(plots, "save", lambda figure, *_, **__: figures.append(figure))
    assert cli.main(["gradcheck", *pair, "--plot", "figure.png"]) == 0
    titles = [panel.get_title() for panel in figures[0].axes]
    assert len(titles) == 4
    assert titles[0].startswith("MSE at (2.37, -1.61) px: ")
    assert capsys.readouterr().out.endswith("error against step: figure.png\n")


def test_a_figure_is_not_replaced_unless_asked_to(inside, capsys):
    Path("figure.png").write_text("precious")
    arguments = ["gradcheck", "my_losses:Owner.cube", "--at", "1", "--plot", "figure.png"]
    assert cli.main(arguments) == 1
    assert "figure.png exists already; give --overwrite" in sentence(capsys)
    assert Path("figure.png").read_text() == "precious"
    assert cli.main([*arguments, "--overwrite"]) == 0
    assert Path("figure.png").stat().st_size > 2000


def test_help_has_examples(capsys):
    assert cli.main(["gradcheck", "--help"]) == 0
    assert "examples:\n  alignment gradcheck " in capsys.readouterr().out
