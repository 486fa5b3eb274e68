"""Theorems A and B of ours.

The intervals on which they speak, against plain floats and random points.
"""

from __future__ import annotations

import json
import math
import sys

import numpy as np
import pytest
from numpy.polynomial import Polynomial
from scipy.special import roots_jacobi

import ufm
from tests.benchmarks import codes as codes_command
from ufm import frames
from ufm._exact.fractions import flint
from ufm.certificates import (
    boxes,
    code_bound,
    levenshtein,
    linear_programming_bound,
    proved_intervals,
)
from ufm.certificates import codes as codes_module
from ufm.certificates import self_dual as theorem_A
from ufm.certificates.interpolant import Interpolant, doubled, gegenbauer_coefficients
from ufm.frames.code import gegenbauer

CODES = {code.name: code for code in frames.sharp_codes()}
ICOSAHEDRON, E8, CELL = frames.icosahedron(), frames.root_system_e8(), frames.cell_24()
# where theorem A holds: up to the first number and from the second on (roots of
# `condition_in_floats`)
INTERVALS_A = {
    "4-gon": None,
    "5-gon": (1.1302, 3.1017),
    "6-gon": (0.9153, 5.7015),
    "orthoplex in R^3": (1.1541, 1.8104),
    "orthoplex in R^5": (0.6542, 3.049),
    "icosahedron": (0.5632, 7.6188),
    "16 in R^5": (0.4787, 5.7722),
    "27 in R^6": (0.3871, 7.1602),
    "56 in R^7": (0.3038, 10.106),
    "E8 roots": (0.2109, 18.3779),
    "552 in R^23": (0.1778, 12.7616),
}
# theory/spheres.md: theorem B at the orthoplex of each dimension
INTERVALS_B = {
    5: (0.0595, 5.74),
    6: (0.048, 2.39),
    8: (0.0346, 2.71),
    10: (None, 2.95),
    16: (None, 3.44),
    30: (None, 4.08),
}


def unit_rows(array):
    return array / np.linalg.norm(array, axis=-1, keepdims=True)


def cross_entropy(W, H, beta):
    """Of rows w and columns h of length one: the mean of log Σ_j exp β (w_j − w_k)·h_k."""
    logits = beta * W @ H.T
    gaps = logits - np.diag(logits)
    np.fill_diagonal(gaps, -np.inf)
    return float(np.mean(np.log1p(np.exp(gaps).sum(axis=0))))


def condition_in_floats(code, beta) -> float:
    """κ K (h(1) − h_0) / (2 (1 + E)) with h by solving for its coefficients, h_0 by quadrature, E
    from the code."""
    t, K, d = code.inner_products, code.num_vectors, code.dim
    double = t[t > -1 + 1e-9]
    degree = len(t) + len(double)
    f = np.exp(beta * (t - 1))
    rows = [*np.vander(t, degree, increasing=True)]
    rows += [np.array([n * s ** max(n - 1, 0) for n in range(degree)]) for s in double]
    h = Polynomial(np.linalg.solve(rows, [*f, *(beta * np.exp(beta * (double - 1)))]))
    x, w = roots_jacobi(degree, (d - 3) / 2, (d - 3) / 2)
    E = code.multiplicities @ f
    y = E / (1 + E)
    kappa = 2 * (-y - np.log1p(-y)) / y**2
    return kappa * K * (h(1.0) - w @ h(x) / w.sum()) / (2 * (1 + E))


@pytest.mark.lean("4-gon", "orthoplex in R^3", "icosahedron", "27 in R^6")
@pytest.mark.parametrize("name", INTERVALS_A)
def test_theorem_A_holds_where_floats_say_so(name):
    code, ends = CODES[name], INTERVALS_A[name]
    found = proved_intervals(code, upto=64.0, width=1e-3)
    if ends is None:
        assert [interval.low for interval in found] == [0.0]
        assert all(condition_in_floats(code, beta) < 1 for beta in np.geomspace(0.01, 15, 60))
    else:
        assert (found[0].low, len(found)) == (0.0, 2)
        for end, outwards, known in ((found[0].high, 1, ends[0]), (found[1].low, -1, ends[1])):
            assert end == pytest.approx(known, abs=1.1e-3)
            assert (
                condition_in_floats(code, end)
                <= 1
                < condition_in_floats(code, end + outwards * 2e-3)
            )
    # exact inner products, exact multiplicities: the proof goes on to infinity
    rational = name not in ("5-gon", "icosahedron")
    assert math.isinf(found[-1].high) if rational else found[-1].high > 1e12


@pytest.mark.parametrize("d", INTERVALS_B)
def test_theorem_B_at_the_orthoplex(d):
    """Each end of the theory's table is proved or, where it was rounded inwards, not by much."""
    first, last = INTERVALS_B[d]
    small, large = proved_intervals(frames.orthoplex(d), theorem="B", width=1e-5)
    assert (small.low, large.high) == (0.0, math.inf)
    assert last - 0.01 < large.low < last + 5e-3
    if first:
        assert 0 < small.high - first < 1e-4
    if d >= 6:
        # there own share is what ends it
        assert 2 * d * np.exp(-large.low) * (1 - np.exp(-large.low)) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("d", [3, 4])
def test_theorem_B_fails_at_small_orthoplexes_and_large_beta(d):
    (small,) = proved_intervals(frames.orthoplex(d), theorem="B", width=1e-3)
    assert small.high < 0.2
    for beta in (6.0, 40.0):
        found = code_bound(frames.orthoplex(d), beta, theorem="B")
        assert not found.proved
        assert "sum eta_l^2" in found.failing


@pytest.mark.parametrize("beta", [0.0, 1e-300, 1e-12, 5e-3])
@pytest.mark.parametrize(
    "code", [E8, frames.polygon(5), frames.simplex(3)], ids=lambda code: code.name
)
def test_no_beta_is_too_small(code, beta):
    found = code_bound(code, min(beta, 1e-3), theorem="B")
    assert found.proved or code is E8
    assert code_bound(code, beta).proved


@pytest.mark.parametrize(
    "name", ["4-gon", "5-gon", "6-gon", "icosahedron", "16 in R^5", "27 in R^6"]
)
def test_theorem_B_holds_at_small_beta(name):
    assert code_bound(CODES[name], (0.0, 0.015), theorem="B").proved
    # one form of the theorem may fail where another is not decided yet
    found = proved_intervals(CODES[name], theorem="B", width=1e-3, upto=2.0)
    assert found[0].low == 0.0
    assert found[0].high > 0.016
    assert "fails" in code_bound(CODES[name], 1.0, theorem="B").failing


@pytest.mark.parametrize("name", CODES)
def test_random_points_are_never_below(name):
    code = CODES[name]
    if code.num_vectors > 100:
        pytest.skip("matrices of a few hundred rows: in the benchmark")
    rng = np.random.default_rng(0)
    for beta in (0.02, 0.3, 2.0, 6.0, 12.0):
        bounds = {theorem: code_bound(code, beta, theorem=theorem).lower() for theorem in "AB"}
        linear = linear_programming_bound(code.num_vectors, code.dim, beta)
        for trial in range(60):
            noise = rng.normal(size=(2, *code.vectors.shape))
            # far from the code, and close to it
            W, H = unit_rows(
                noise if trial % 2 else code.vectors + 0.1 ** rng.integers(1, 5) * noise
            )
            assert cross_entropy(W, W, beta) >= max(bounds["A"], linear) * (1 - 1e-13)
            assert cross_entropy(W, H, beta) >= bounds["B"] * (1 - 1e-13)


@pytest.mark.parametrize(("beta", "theorem"), [(0.05, "A"), (9.0, "A"), (0.01, "B")])
def test_a_proved_code_attains_its_bound(beta, theorem):
    found = code_bound(ICOSAHEDRON, beta, theorem=theorem)
    assert found.proved
    loss = float(ICOSAHEDRON.cross_entropy(beta))
    assert found.lower() <= loss * (1 + 1e-15)
    assert found.lower() == pytest.approx(loss, rel=1e-13)


def test_an_interval_is_decided_as_a_whole():
    """Between two numbers where the condition holds lie some where it does not.

    A coarse grid would miss them.
    """
    assert code_bound(ICOSAHEDRON, 0.5).proved
    assert code_bound(ICOSAHEDRON, 8.0).proved
    found = code_bound(ICOSAHEDRON, (0.5, 8.0))
    assert not found.proved
    assert "kappa K (h(1) - h_0) <= 2 (1 + E) ends at beta = 0.563" in str(found)
    assert "best known at every beta in [0.5, 8], not proved among W = H" in str(found)
    with pytest.raises(ValueError, match="`beta` must be given for an interval"):
        found.lower()


def test_what_is_proved_is_said_with_its_scope():
    assert (
        str(code_bound(E8, (19.0, 50.0)))
        == "E8 roots: optimal among W = H at every beta in [19, 50], proved by theorem A (ours)"
    )
    words = str(code_bound(frames.orthoplex(6), 3.0, theorem="B"))
    assert (
        words
        == "orthoplex in R^6: optimal over all W and H at beta = 3, proved by theorem B (ours)"
    )


def moved(code):
    vectors = code.vectors.copy()
    vectors[0] = unit_rows(vectors[0] + 1e-3 * vectors[1])
    return frames.Code("moved", vectors)


@pytest.mark.parametrize(
    "code", [CELL, moved(frames.orthoplex(3)), moved(frames.polygon(5))], ids=lambda code: code.name
)
@pytest.mark.parametrize("theorem", "AB")
def test_a_code_that_is_not_sharp_is_not_proved(code, theorem):
    assert proved_intervals(code, theorem=theorem) == ()
    for beta in (0.01, 0.05, 8.0):
        found = code_bound(code, beta, theorem=theorem)
        assert not found.proved
        assert not found.attained
        assert found.lower() < float(code.cross_entropy(beta))


# the slips that the proof of theorem A could have -------------------------------------------------


def curvature(E):
    with flint().ctx.workprec(boxes.BITS):
        formula = theorem_A.curvature if E > 1e-9 else theorem_A.curvature_bound
        return float(formula(flint().arb(E)))


def test_the_curvature_is_the_least_that_makes_a_parabola_a_bound():
    for E in (1e-3, 0.5, 5.0, 200.0):
        y = E / (1 + E)
        kappa = curvature(E)
        x = np.concatenate([-y * np.linspace(0, 1, 1001), np.geomspace(1e-6, 1e3, 1001)])
        assert np.all(np.log1p(x) >= x - kappa * x**2 / 2 - 1e-12)
        # (a smaller one, such as 1 or what −y makes of it, cuts the logarithm at −y)
        assert np.log1p(-y) < -y - 0.99 * kappa * y**2 / 2
        assert kappa > 1


@pytest.mark.parametrize("energy", [1e-12, 1e-20, 1e-30])
def test_the_curvature_of_a_small_energy(energy):
    with flint().ctx.workprec(600):
        exact = theorem_A.curvature(flint().arb(energy))
        bound = theorem_A.curvature_bound(flint().arb(energy))
        assert exact < bound
        assert float(bound - exact) < energy**2


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(lambda E: 1 + 0 * E, id="curvature-one"),
        pytest.param(lambda E: E / (1 + E), id="curvature-y"),
        pytest.param(lambda E: 0 * E, id="energy-bound-alone"),
    ],
)
def test_a_wrong_curvature_claims_too_much(wrong, monkeypatch):
    """What the tests above compare with floats is not the same without κ.

    Claims appear that the theorem does not make.
    """
    code = frames.orthoplex(5)
    beta = 0.66
    assert condition_in_floats(code, beta) > 1
    assert not code_bound(code, beta).proved
    monkeypatch.setattr(theorem_A, "curvature", wrong)
    assert code_bound(code, beta).proved


def test_the_energy_bound_alone_is_no_argument():
    """Numbers r with Σr >= 0 and Σr² <= λΣr, which is all that is known.

    Beyond the condition the mean of the logarithm falls.
    """
    E, K = 5.0, 200
    kappa = curvature(E)
    for factor, falls in ((0.99, False), (40.0, True)):
        spread = factor * 2 * (1 + E) / kappa
        worst = math.inf
        for many in range(1, K):
            # `many` classes that gain all of E, and the others whose sum makes up for it
            loses = many * E / (K - many) * np.linspace(1.0001, 3, 400)
            total = (K - many) * loses - many * E
            squares = (K - many) * loses**2 + many * E**2
            allowed = squares <= spread * total
            means = ((K - many) * np.log1p(E + loses)) / K
            worst = min([worst, *means[allowed]])
        assert (worst < math.log1p(E)) == falls


# the parts --------------------------------------------------------------------------------------


@pytest.mark.parametrize("d", [2, 3, 6])
def test_gegenbauer_coefficients_are_exact(d):
    polynomial = flint().fmpq_poly([1, -2, 0, 3, 5])
    found = gegenbauer_coefficients(polynomial, d)
    t = np.linspace(-1, 1, 7)
    values = np.array([float(each) for each in found]) @ gegenbauer(4, d, t)
    np.testing.assert_allclose(values, Polynomial([1, -2, 0, 3, 5])(t), rtol=0, atol=1e-13)


@pytest.mark.parametrize("beta", [0.0, 0.3, 7.0])
def test_the_interpolant_is_positive_definite_and_below(beta):
    for nodes in (doubled(E8.inner_products), doubled([-0.7, 0.1, 0.35]), doubled([-1.0, -0.2])):
        interpolant = Interpolant(nodes, 5)
        assert all(c >= 0 for row in interpolant.coefficients for c in row[1:])
        with flint().ctx.workprec(200):
            differences = theorem_A.divided_differences(nodes, flint().arb(beta))
        weights = np.array([float(each) for each in differences])
        rows = [
            [float(c) for c in row] + [0.0] * (len(nodes) - len(row))
            for row in interpolant.coefficients
        ]
        t = np.linspace(-1, 1, 101)
        h = weights @ np.array(rows) @ gegenbauer(len(nodes) - 1, 5, t)
        assert np.all(h <= np.exp(beta * (t - 1)) + 1e-13)


def test_enclosures_hold_the_function_and_follow_it():
    arb = flint().arb
    with flint().ctx.workprec(boxes.BITS):
        square, _ = boxes.enclosed(
            lambda b: (b * b - 2 * b, (b.exp() - 1).log()), 0.5, 1.5, count=2
        )
        assert all(square.contains(arb(x * x - 2 * x)) for x in (0.5, 0.9, 1.5))
        assert float(square.rad()) < 0.2501
        # of the last power nothing but the remainder is left
        (power,) = boxes.enclosed(lambda b: (b**boxes.ORDER,), -1.0, 1.0, count=1)
        assert float(power.rad()) == pytest.approx(1, rel=1e-6)
        (nothing,) = boxes.enclosed(lambda b: (1 / b,), -1.0, 1.0, count=1)
        assert not nothing.is_finite()


def test_intervals_end_at_the_roots():
    def conditions(low, high):
        yield "cos > 0", boxes.enclosed(lambda b: (b.cos(),), low, high, count=1)[0]

    with flint().ctx.workprec(boxes.BITS):
        first, second = boxes.holding_intervals(conditions, 0.0, 7.0, width=1e-6)
        assert (first.low, second.high) == (0.0, 7.0)
        assert 0 < np.pi / 2 - first.high < 2e-6
        assert 0 < second.low - 3 * np.pi / 2 < 2e-6
        sign, name, place = boxes.first_failure(conditions, 0.0, 7.0, width=1e-6)
    assert (sign, name) == (boxes.Sign.OPEN, "cos > 0")
    assert place.low - 1e-6 <= np.pi / 2 <= place.high + 1e-6


@pytest.mark.parametrize("name", CODES)
def test_levenshtein_nodes_are_the_products_of_a_sharp_code(name):
    code = CODES[name]
    np.testing.assert_allclose(
        levenshtein.nodes(code.num_vectors, code.dim), code.inner_products, rtol=0, atol=1e-9
    )


def test_design_bounds():
    # simplex, orthoplex, 27 in R^6, E8, 4600 in R^23
    cases = ((2, 5, 6), (3, 5, 10), (4, 6, 27), (7, 8, 240), (7, 23, 4600))
    assert [levenshtein.design_bound(t, d) for t, d, _ in cases] == [K for *_, K in cases]


@pytest.mark.parametrize(("K", "d"), [(2, 2), (5, 4), (7, 3), (24, 4), (30, 10), (100, 2)])
def test_the_linear_programming_bound_is_below_good_points(K, d):
    """Where there is no sharp code: beneath what a descent finds, above nothing at all."""
    rng = np.random.default_rng(1)
    for beta in (0.1, 3.0, 10.0):
        W = unit_rows(rng.normal(size=(K, d)))
        step, best = 0.1, cross_entropy(W, W, beta)
        for _ in range(300):
            V = unit_rows(W + step * rng.normal(size=W.shape) / np.sqrt(K * d))
            value = cross_entropy(V, V, beta)
            W, best, step = (V, value, 1.1 * step) if value < best else (W, best, 0.97 * step)
        bound = linear_programming_bound(K, d, beta)
        assert 0 < bound <= best * (1 + 1e-13)
        assert bound >= np.log1p((K - 1) * np.exp(-beta * K / (K - 1))) * (1 - 1e-13)


@pytest.mark.parametrize(
    ("K", "d", "beta"), [(12, 3, 9.0), (240, 8, 20.0), (5, 4, 2.0), (4, 2, 3.0)]
)
def test_the_linear_programming_bound_is_attained_by_sharp_codes(K, d, beta):
    codes = {
        (12, 3): ICOSAHEDRON,
        (240, 8): E8,
        (5, 4): frames.simplex(4),
        (4, 2): frames.polygon(4),
    }
    assert linear_programming_bound(K, d, beta) == pytest.approx(
        float(codes[K, d].cross_entropy(beta)), rel=1e-11
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: code_bound("E8", 1.0), "`code` must be a Code of ufm.frames; got str"),
        (lambda: code_bound(E8, -1.0), "`beta` must be finite and >= 0"),
        (
            lambda: code_bound(E8, (2.0, 1.0)),
            r"`beta` must be a pair with low <= high; got \(2.0, 1.0\)",
        ),
        (lambda: code_bound(E8, (1.0, 2.0, 3.0)), "`beta` must be one number or a pair"),
        (lambda: code_bound(E8, 1.0, theorem="C"), '`theorem` must be one of "A", "B"'),
        (lambda: linear_programming_bound(1, 3, 1.0), "`num_vectors` must be a whole number >= 2"),
        (lambda: proved_intervals(E8, width=0.0), "`width` must be finite and > 0"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_it_is_public():
    assert ufm.certificates.code_bound is code_bound
    assert ufm.certificates.proved_intervals is proved_intervals


def test_the_command_prints_intervals_and_finds_no_point_below(capsys, monkeypatch, tmp_path):
    few, path = (frames.polygon(4), frames.orthoplex(6), CELL), tmp_path / "codes.json"
    monkeypatch.setattr(frames, "sharp_codes", lambda: few)
    assert codes_command.main(["--tries", "300", "--width", "0.01", "--json", str(path)]) == 0
    printed = capsys.readouterr().out
    kept = json.loads(path.read_text())
    assert kept["intervals"]["rows"][0]["A"] == [[0.0, None]]
    assert kept["tries"]["rows"][0]["least excess"] > 0
    assert "| 4-gon | 4 | 2 | [0, inf) | " in printed
    assert "| 24-cell | 24 | 4 | best known | best known |" in printed
    # … and would say so
    monkeypatch.setattr(ufm.certificates.CodeBound, "lower", lambda self: 10.0)
    assert codes_command.main(["--tries", "300", "--width", "1.0"]) == 1
    assert "24-cell, beta = 0.02: below the bound by" in capsys.readouterr().out


# 1 + b/(2b − 2) < 2 (1 − 1/d) from b = 6 on, and from 4
@pytest.mark.lean("6")
@pytest.mark.parametrize(("dim", "first", "before"), [(5, 6.01, 5.99), (6, 4.01, 3.99)], ids="56")
def test_what_holds_to_infinity_holds_at_every_larger_inverse_temperature(dim, first, before):
    ends = (6.01, 20.0, 100.0, 700.0)
    code = frames.orthoplex(dim)
    (form,) = codes_module._theorems(code, "B")
    with flint().ctx.workprec(boxes.BITS):
        assert form.holds_until(first) == math.inf
        assert form.holds_until(before) == before
    for low, high in zip((first, *ends), ends, strict=False):
        assert code_bound(code, (low, high), theorem="B").proved


def test_what_holds_to_infinity_is_said_of_no_other_code():
    for code in (ICOSAHEDRON, frames.polygon(5)):
        for form in codes_module._theorems(code, "B"):
            assert form.holds_until(100.0) == 100.0


def test_a_search_succeeds_at_the_best_known_loss_in_a_minute_of_two_cores(monkeypatch, tmp_path):
    def answered(excess, seconds):
        def one(number, dim, least, seed):
            late = seed == 9
            return {"excess": excess * late, "seconds": 1.0, "cpu seconds": 1 + seconds * late}

        monkeypatch.setattr(codes_command, "searched", one)
        return codes_command.main(["--searches", "10", "--json", str(path)])

    path = tmp_path / "codes.json"
    assert answered(0.1, 1.0) == 0
    assert len(json.loads(path.read_text())["searches"]["rows"][0]["calls"]) == 10
    monkeypatch.setattr(codes_command, "REQUIRED", 0.95)
    assert answered(0.0, 119.0) == 0
    assert answered(0.1, 1.0) == 1
    assert answered(0.0, 120.0) == 1


def test_without_the_interval_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "flint", None)
    with pytest.raises(ImportError, match=r"a proof needs the interval library .* `ufm\[proofs\]`"):
        code_bound(ICOSAHEDRON, 1.0)


@pytest.mark.parametrize("high", [1e3, 1e6, 1e15])
def test_an_interval_that_goes_far_is_proved_by_the_argument_on_all_larger(high, monkeypatch):
    """Boxes alone take 10 seconds to 1e4, and longer in proportion."""
    asked = []

    def watched(conditions, low, high, *, width):
        asked.append(high)
        return boxes.first_failure(conditions, low, high, width=width)

    monkeypatch.setattr(codes_module, "first_failure", watched)
    assert code_bound(frames.simplex(3), (0, high)).proved
    assert code_bound(frames.orthoplex(5), (8.0, high), theorem="B").proved
    assert set(asked) == {100.0}
