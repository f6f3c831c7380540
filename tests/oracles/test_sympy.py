"""SymPy: the losses as expressions in (a, b), differentiated by a machine, against the double sums in exact rationals.

The formulas are run here *as they are written*: their source is compiled once more with every float replaced by an
exact rational, `fsum` by `sum` and `sqrt` by SymPy's. What then comes out has no rounding, equality means equality.
"""

from __future__ import annotations

import ast
import inspect
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest

from alignment import formulas

sympy = pytest.importorskip("sympy", reason="SymPy is the oracle here; install sympy to run it")

R = sympy.Rational
a, b = sympy.symbols("a b", real=True)

# rational grey levels without any pattern
A = [[R(1, 3), R(2, 7), R(9, 5)], [R(4, 11), R(7, 2), R(1, 6)], [R(5, 13), R(8, 3), R(3, 4)]]
B = [[R(2, 5), R(1, 8), R(4, 3)], [R(6, 7), R(5, 2), R(1, 9)], [R(7, 10), R(9, 4), R(2, 3)]]
POINTS = [(R(1, 3), R(2, 5)), (R(1, 2), R(1, 7)), (R(5, 6), R(8, 9))]
CELLS = [(0, 0), (-1, 0), (1, -2), (-3, 1)]
WINDOWS = [None, (0, 2, 1, 3)]


class _Exact(ast.NodeTransformer):
    def visit_Constant(self, node):
        if isinstance(node.value, float):
            ratio = Fraction(node.value)
            return ast.parse(f"Rational({ratio.numerator}, {ratio.denominator})", mode="eval").body
        return node


@pytest.fixture(scope="module")
def exact():
    """Return the functions of formulas.py in exact arithmetic."""
    tree = ast.fix_missing_locations(_Exact().visit(ast.parse(inspect.getsource(formulas))))
    names = {"__name__": "exact_formulas"}
    exec(compile(tree, "formulas.py in rationals", "exec"), names)
    names.update(Rational=R, fsum=lambda terms: sum(terms, R(0)), sqrt=sympy.sqrt)
    return SimpleNamespace(**names)


def star(x, y, kx, ky):
    """Return the interpolated grey level of a target pixel as a polynomial in the fractions."""

    def level(n, m):
        return A[n][m] if 0 <= n < 3 and 0 <= m < 3 else R(0)

    n, m = y + ky, x + kx
    upper = (1 - a) * level(n, m) + a * level(n, m + 1)
    lower = (1 - a) * level(n + 1, m) + a * level(n + 1, m + 1)
    return sympy.expand((1 - b) * upper + b * lower)


def pixels(window):
    top, bottom, left, right = window or (0, 3, 0, 3)
    return [(x, y) for y in range(top, bottom) for x in range(left, right)]


def mse(kx, ky, window=None):
    terms = [(star(x, y, kx, ky) - B[y][x]) ** 2 for x, y in pixels(window)]
    return sympy.expand(sum(terms) / len(terms))


def ncc(kx, ky, window=None):
    stars = [star(x, y, kx, ky) for x, y in pixels(window)]
    targets = [B[y][x] for x, y in pixels(window)]
    N = len(stars)
    mean_a, mean_b = sum(stars) / N, sum(targets) / N
    At, Bt = [s - mean_a for s in stars], [t - mean_b for t in targets]
    product = sympy.expand(sum(s * t for s, t in zip(At, Bt, strict=True)))
    squares = [sympy.expand(sum(v**2 for v in values)) for values in (At, Bt)]
    return product / sympy.sqrt(squares[0] * squares[1])


def equal(one, other):
    """Return whether two expressions of rationals and square roots are the same number."""
    return sympy.radsimp(sympy.simplify(one - other)) == 0


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("cell", CELLS)
def test_the_mse_on_a_cell_is_a_polynomial_of_second_degree_in_each_fraction(cell, window):
    polynomial = sympy.Poly(mse(*cell, window), a, b)
    assert max(i for i, _ in polynomial.monoms()) <= 2
    assert max(j for _, j in polynomial.monoms()) <= 2
    if cell == (0, 0):
        assert polynomial.degree(a) == polynomial.degree(b) == 2


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("cell", CELLS)
def test_the_mse_and_its_gradient_are_exact(exact, cell, window):
    value = mse(*cell, window)
    slopes = [sympy.diff(value, variable) for variable in (a, b)]
    for at in POINTS:
        point = dict(zip((a, b), at, strict=True))
        dx, dy = cell[0] + at[0], cell[1] + at[1]
        assert exact.mse(A, B, dx, dy, window) == value.subs(point)
        for reading in formulas.READINGS:
            gradient = exact.mse_gradient(A, B, dx, dy, window, reading)
            assert gradient == tuple(slope.subs(point) for slope in slopes)
            assert all(part.is_Rational for part in gradient)


@pytest.mark.parametrize("cell", CELLS[:3])
def test_the_one_sided_readings_are_the_slopes_of_the_cells_that_meet(exact, cell):
    """At a corner of four cells: the polynomials of two that lie across from one another, at their common point."""
    here = mse(*cell)
    right = tuple(sympy.diff(here, variable).subs({a: 0, b: 0}) for variable in (a, b))
    before = mse(cell[0] - 1, cell[1] - 1)
    left = tuple(sympy.diff(before, variable).subs({a: 1, b: 1}) for variable in (a, b))
    corner = R(cell[0]), R(cell[1])
    assert exact.mse_gradient(A, B, *corner, None, "right") == right
    assert exact.mse_gradient(A, B, *corner, None, "left") == left
    central = tuple((r + m) / 2 for r, m in zip(right, left, strict=True))
    assert exact.mse_gradient(A, B, *corner, None, "central") == central
    assert exact.mse_gradient(A, B, *corner, None, "literal") not in (right, left, central)
    assert right != left


@pytest.mark.parametrize(
    ("cell", "window"),
    [(CELLS[0], None), (CELLS[1], None), (CELLS[2], None), (CELLS[0], WINDOWS[1]), (CELLS[1], WINDOWS[1])],
)
def test_the_ncc_and_its_gradient_are_exact(exact, cell, window):
    value = ncc(*cell, window)
    slopes = [sympy.diff(value, variable) for variable in (a, b)]
    point = dict(zip((a, b), POINTS[0], strict=True))
    dx, dy = cell[0] + POINTS[0][0], cell[1] + POINTS[0][1]
    assert equal(exact.ncc(A, B, dx, dy, window), value.subs(point))
    gradient = exact.ncc_gradient(A, B, dx, dy, window)
    assert equal(gradient[0], slopes[0].subs(point))
    assert equal(gradient[1], slopes[1].subs(point))


@pytest.mark.parametrize("loss", ["mse", "ncc"])
def test_the_objectives_agree_with_the_derived_expressions(objective, naive, agree, loss):
    """In float64, at every third of a cell; and the Hessian, which nothing else knows in closed form."""
    floats = [np.array(image, dtype=object).astype(np.float64) for image in (B, A)]
    made = objective(loss, *floats)
    for cell in CELLS[:2]:
        value = mse(*cell) if loss == "mse" else -ncc(*cell)
        gradient = [sympy.diff(value, variable) for variable in (a, b)]
        hessian = [[sympy.diff(slope, variable) for variable in (a, b)] for slope in gradient]
        functions = [sympy.lambdify((a, b), expression, "mpmath") for expression in (value, gradient, hessian)]
        for at in [(R(1, 3), R(2, 3)), (R(2, 3), R(1, 3)), (R(1, 3), R(1, 3))]:
            dx, dy = float(cell[0] + at[0]), float(cell[1] + at[1])
            # the fractions that float64 really stands for
            fractions = R(Fraction(dx)) - cell[0], R(Fraction(dy)) - cell[1]
            want = [np.array(f(*fractions), dtype=object).astype(np.float64) for f in functions]
            value_scale, gradient_scale = naive.loss(loss, *floats, dx, dy).scales(made)
            got = made.value_and_gradient(dx, dy)
            agree(got[0], want[0], scale=value_scale, within=1e-14, name=f"sympy, {loss}, value")
            agree(got[1], want[1], scale=gradient_scale, within=1e-14, name=f"sympy, {loss}, gradient")
            agree(
                made.hessian(dx, dy), want[2], scale=np.abs(want[2]).max(), within=1e-13, name=f"sympy, {loss}, Hessian"
            )


def test_floats_whose_arithmetic_is_exact_give_the_exact_numbers():
    """With dyadic grey levels and fractions nothing rounds but the last division: the shipped formulas, bit for bit."""
    random = np.random.default_rng(12)
    dyadic = (random.integers(0, 64, (2, 3, 3)) / 8).tolist()
    A8, B8 = ([[R(Fraction(level)) for level in row] for row in image] for image in dyadic)

    def level(n, m):
        return A8[n][m] if 0 <= n < 3 and 0 <= m < 3 else R(0)

    for kx, ky, fx, fy in [(0, 0, R(1, 4), R(5, 8)), (-1, 1, R(3, 16), R(1, 2)), (1, -1, R(7, 8), R(1, 16))]:
        stars = [
            sum(w * level(y + ky + j, x + kx + i) for w, i, j in (((1 - a) * (1 - b), 0, 0), (a * (1 - b), 1, 0),
                                                                  ((1 - a) * b, 0, 1), (a * b, 1, 1)))
            for y in range(3) for x in range(3)
        ]  # fmt: skip
        loss = sum((s - B8[i // 3][i % 3]) ** 2 for i, s in enumerate(stars))
        dx, dy = float(kx + fx), float(ky + fy)
        total, *sums = (e.subs({a: fx, b: fy}) for e in (loss, sympy.diff(loss, a), sympy.diff(loss, b)))
        assert formulas.mse(*dyadic, dx, dy) == float(total) / 9
        assert formulas.mse_gradient(*dyadic, dx, dy) == (float(sums[0]) / 9, float(sums[1]) / 9)
