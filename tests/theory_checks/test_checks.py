"""Every check of the registry holds, and every one of them can fail."""

import dataclasses
import functools

import numpy as np
import pytest

from theory_checks.engine import catalogue, command, runner, summary, terminal
from theory_checks.engine.claims import SHIFT
from theory_checks.engine.registry import Setting, Verdict
from theory_checks.formulas.squared_error import threshold

# the tests of a theorem share its solves
pytestmark = pytest.mark.whole

REGISTRY = catalogue.load()

QUICK = [key for key, check in REGISTRY.checks.items() if check.selected(full=False)]
FULL = [key for key, check in REGISTRY.checks.items() if any(case.full for case in check.cases)]
KEYS = [pytest.param(key, False, id=key) for key in QUICK] + [
    pytest.param(key, True, id=f"{key}-full", marks=pytest.mark.slow) for key in FULL
]


@functools.cache
def rows_of(key: str, full: bool) -> tuple[runner.Row, ...]:
    """The rows of a check, solved once for all tests.

    With proofs, unless they have a thousand classes.
    """
    # as the command itself runs it; conftest.py takes the settings back after the test
    command.configure_jax(cache=False, quick=not full)
    check = REGISTRY.checks[key]
    settings = runner.measured_with()
    return tuple(
        runner.run_case(check, case, settings, prove=not full)
        for case in check.cases
        if case.full is full
    )


@pytest.mark.parametrize(
    ("key", "changed"),
    [
        # two layers at their threshold, where two optima tie
        (
            "andriopoulos2024/optimum",
            {"eigenvalues": (1.0,), "widths": (3, 3), "c": threshold(2) / 2},
        ),
        ("andriopoulos2024/collapse", {"widths": (5, 5)}),
        ("behnia2023/svm-limit", {"delta": (-1.0, 1.0, 1.0, 1.0)}),
        ("behnia2023/svm-limit", {"dim": 2}),
        ("behnia2023/temperatures-for-an-etf", {"dim": 2}),
        ("behnia2023/margins-for-an-etf", {"dim": 2}),
        ("behnia2023/label-temperature", {"dim": 2}),
        ("behnia2023/label-temperature", {"class_counts": (7, 5, 3, 2)}),
        ("ji2021/max-margin-trend", {"decay": 0.1}),
        ("kini2024/lengths-under-decay", {"decay": 12.0}),
        ("kini2024/lengths-under-decay", {"class_counts": (4, 3, 1)}),
        ("landscape/one-layer-strict-saddles", {"widths": (4,)}),
        ("li2023/averaging", {"lam": 0.6}),
        ("li2023/client-gradients", {"d": 1}),
        ("li2024/balanced-singles", {"lambda_W": 0.03, "lambda_H": 0.03}),
        ("li2024/zero", {"bias": "free"}),
        ("liu2024/minority-collapse", {"class_counts": (20, 10, 5, 5)}),
        ("lu2022/tight-frame", {"beta": 5.0}),
        ("mixon2020/logistic-law", {"lambda_H": 0.1}),
        ("mixon2020/small-start", {"lambda_W": 0.1}),
        ("ufm/certificate-along-the-way", {"class_counts": (7, 5, 3, 2)}),
        ("ufm/collapsed-equals-full", {"widths": (3,)}),
        (
            "ufm/imbalanced-free-bias",
            {"class_counts": (4,) * 4, "lambda_W": (1 / 8,), "lambda_H": 1 / 8},
        ),
        ("ufm/schatten-reduction", {"widths": (3,)}),
        ("zhou2022b/label-smoothing", {"widths": (6, 6)}),
    ],
)
def test_what_is_printed_as_a_hypothesis_is_coded(key, changed):
    """The first case with other numbers, that what is printed leaves out."""
    check = REGISTRY.checks[key]
    first = check.cases[0]
    assert check.regime(first) is Setting.INSIDE
    changed = dataclasses.replace(first, parameters={**first.parameters, **changed})
    assert check.regime(changed) is Setting.OUTSIDE


def test_every_check_is_tried():
    assert set(QUICK) | set(FULL) == set(REGISTRY.checks)


@pytest.mark.parametrize(("key", "full"), KEYS)
def test_check_holds(key, full):
    rows = rows_of(key, full)
    (theorem,) = summary.by_theorem(rows)
    table = terminal.tables(rows, REGISTRY.papers)
    assert theorem.verdict is REGISTRY.checks[key].expected, table
    assert all(row.verdict.ok for row in rows), table


@pytest.mark.parametrize(("key", "full"), KEYS)
@pytest.mark.parametrize("sign", [1, -1], ids=["up", "down"])
def test_teeth_shifted_predictions_fail(key, full, sign):
    rows = rows_of(key, full)
    assert any(row.binding for row in rows)
    for row in rows:
        for claim in row.binding:
            assert not claim.shifted(sign * SHIFT).holds, (
                f"{row.case.id}: {claim.name} does not notice a shift"
            )
        if row.binding:
            shifted = row.rejudged(claim.shifted(sign * SHIFT) for claim in row.claims)
            assert shifted.verdict is Verdict.FAILS, row.case.id


@pytest.mark.parametrize(("key", "full"), KEYS)
def test_teeth_outside_cases_must_be_violated(key, full):
    outside = [row for row in rows_of(key, full) if row.case.setting is Setting.OUTSIDE]
    for row in outside:
        as_if_true = row.rejudged(
            dataclasses.replace(claim, predicted=claim.measured) for claim in row.claims
        )
        assert as_if_true.verdict is Verdict.FAILS, row.case.id


@pytest.mark.parametrize(("key", "full"), KEYS)
def test_one_layer_is_certified(key, full):
    """Value claims on one linear layer come with the duality gap, wherever a certificate exists.

    Free features, wide enough.
    """
    for row in rows_of(key, full):
        if not any(claim.name == "value" for claim in row.claims):
            continue
        problem = row.case.problem
        wide = problem.feature_dim >= problem.labels.num_classes - (problem.bias == "free")
        if problem.depth == 1 and problem.plain and wide:
            assert row.certificate_gap is not None, row.case.id
            assert row.certificate_gap <= 1e-10, row.case.id


@pytest.mark.parametrize("key", QUICK)
def test_what_is_certified_or_refuted_is_proved(key):
    for row in rows_of(key, False):
        assert bool(row.proofs) >= (row.certificate_gap is not None)
        assert row.proved == bool(row.proofs or row.refutations), (
            row.case.id,
            summary.unproved(row),
        )


def test_tolerances_are_those_of_the_library():
    from theory_checks.engine import measure
    from ufm.tolerances import for_dtype

    table = for_dtype(np.float64)
    assert (table.value, table.array) == (measure.VALUE, measure.GEOMETRY)


@pytest.mark.parametrize("M", [1, 2, 3, 6])
@pytest.mark.parametrize("t", [1e-12, 1e-3, 0.4])
def test_root_of_the_papers_equation(M, t):
    """The bisection in 1 − f solves b/n = M x^{M−1} / (1 + x^M)², on the branch of the largest
    root."""
    from theory_checks.formulas import squared_error as formulas

    u = formulas.missing(t, M)
    # x^M = (1 − u)/u; written in logarithms, x is 1e12 for one layer at the smallest t
    log_x = (np.log1p(-u) - np.log(u)) / M
    assert np.log(M) + (M - 1) * log_x + 2 * np.log(u) == pytest.approx(np.log(t), rel=1e-13)
    assert u <= (M + 1) / (2 * M)


@pytest.mark.parametrize(
    ("M", "t_c", "t_e"),
    [
        pytest.param(1, 1.0, 1.0, id="one-layer-continuous"),
        pytest.param(2, 0.5, 0.649519, id="two-layers"),
        pytest.param(3, 0.529134, 0.839947, id="three-layers"),
        pytest.param(6, 0.637270, 1.542451, id="six-layers"),
        pytest.param(9, 0.705512, 2.278008, id="nine-layers"),
    ],
)
def test_thresholds_by_number(M, t_c, t_e):
    from theory_checks.formulas import squared_error as formulas

    assert formulas.threshold(M) == pytest.approx(t_c, abs=5e-7)
    assert formulas.metastable_end(M) == pytest.approx(t_e, abs=5e-7)
    assert np.isnan(formulas.missing(1.001 * t_e, M)) == (M > 1)
