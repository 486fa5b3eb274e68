"""`thresholds`: formulas where there are, certified bisection where there are none, each against
the other and against solved problems."""

from __future__ import annotations

import re

import numpy as np
import pytest
from numpy.testing import assert_allclose

import ufm
from ufm.analysis.certified_ranks import Line
from ufm.analysis.critical_decay import _probed
from ufm.optima.facts import Facts
from ufm.solvers.pieces import launch


def make(counts=(6, 4, 2), *, loss=None, d=6, lam=0.05, labels=None, **options):
    labels = ufm.one_hot(counts, collapsed=True) if labels is None else labels
    given = {
        "loss": ufm.CrossEntropy() if loss is None else loss,
        "widths": (d,),
        "lambda_W": lam,
        "lambda_H": 2 * lam,
    }
    return ufm.Problem(labels, **(given | options))


def scaled(problem, factor):
    bias = problem.lambda_b if problem.bias == "penalised" else problem.bias
    return ufm.Problem(
        problem.labels,
        loss=problem.loss,
        widths=problem.widths,
        lambda_W=factor * problem.lambda_W,
        lambda_H=factor * problem.lambda_H,
        bias=bias,
    )


def certified_rank(problem, key):
    solution = ufm.minimise(problem, key=key, progress=False)
    assert solution.result is ufm.Result.CONVERGED
    assert ufm.certify(problem, solution.params).closes()
    return product_rank(solution)


def product_rank(solution):
    product = np.asarray(solution.params.classifier @ solution.params.features) * np.sqrt(
        solution.problem.labels.masses
    )
    return int(np.sum(np.linalg.svd(product, compute_uv=False) > 1e-6))


SOLVED = (
    ("two-clusters", make((6, 6, 2, 2))),
    (
        "balanced-smoothed",
        make(labels=ufm.labels.smoothed((4, 4, 4), smoothing=0.2, collapsed=True), bias="free"),
    ),
    ("squared", make(loss=ufm.MeanSquaredError())),
    ("squared-free-bias", make(loss=ufm.MeanSquaredError(), bias="free")),
    ("squared-penalised-bias", make((4, 4, 4), loss=ufm.MeanSquaredError(), bias=0.5)),
    ("mixup", make(labels=ufm.mixup(3, 1.0, nodes=4))),
)


@pytest.mark.lean("two-clusters", "squared-penalised-bias", "mixup")
@pytest.mark.parametrize("problem", [pytest.param(case[1], id=case[0]) for case in SOLVED])
def test_bisection_brackets_what_formulas_say(problem):
    expected = ufm.thresholds(problem, progress=False)
    assert expected.complete
    assert "every threshold by formula" in expected.note
    found, note = _probed(Line(problem, Facts.of(problem)), (), 1e-6, False)
    assert "bisection" in note
    assert [(t.drop, t.rank) for t in found] == [(t.drop, t.rank) for t in expected.of_optimum]
    for bracketed, formula in zip(found, expected.of_optimum, strict=True):
        low, high = bracketed.bracket
        # what is decided on either side is so to the distance at which ranks can be told
        assert low * (1 - 1e-7) <= formula.strength <= high * (1 + 1e-7)
        assert low < high <= low * (1 + 1e-6)


UNSOLVED = (
    ("three-counts", make(), (1, 1)),
    ("three-counts-free-bias", make(bias="free"), (1, 1)),
    ("three-counts-penalised-bias", make(bias=0.1), (1, 1)),
    ("two-clusters-free-bias", make((6, 6, 2, 2), bias="free"), (1, 1, 1)),
    ("squared-penalised-bias", make(loss=ufm.MeanSquaredError(), bias=0.3), (1, 1, 1)),
    (
        "adjusted",
        make(loss=ufm.losses.AdjustedCrossEntropy(multiplicative=[1.0, 0.8, 0.5]), bias="free"),
        (1, 1),
    ),
    ("imbalanced-mixup", make(labels=ufm.mixup(3, 1.0, nodes=4, class_counts=(3, 2, 1))), (1, 1)),
    (
        "weighted",
        make(labels=ufm.one_hot((4, 4, 4), class_weights=(4.0, 2.0, 1.0), collapsed=True)),
        (1, 1),
    ),
)


@pytest.mark.lean("three-counts", "two-clusters-free-bias", "weighted")
@pytest.mark.parametrize(
    ("problem", "drops"), [pytest.param(*case[1:], id=case[0]) for case in UNSOLVED]
)
def test_certified_optima_change_at_the_thresholds_and_nowhere_else(problem, drops, key):
    found = ufm.thresholds(problem, progress=False)
    assert not found.complete
    assert tuple(t.drop for t in found.of_optimum) == drops
    factors = [found.factor(entry) for entry in found.of_optimum]
    ends = [0.5 * factors[0], *factors, 1.5 * factors[-1]]
    for i, entry in enumerate(found.of_optimum):
        below, above = (
            certified_rank(scaled(problem, factors[i] * (1 + sign * 1e-3)), key) for sign in (-1, 1)
        )
        assert (below - above, above) == (entry.drop, entry.rank), entry
        assert certified_rank(scaled(problem, 0.5 * (ends[i] + ends[i + 1])), key) == below
    assert certified_rank(scaled(problem, ends[-1]), key) == 0


def test_three_distinct_counts_with_a_free_bias_by_hand(key):
    """Everything vanishes at the root of the largest eigenvalue of D − nnᵀ/N, by the formula."""
    found = ufm.thresholds(make((9, 5, 1), bias="free"), progress=False)
    D = np.diag([9.0, 5.0, 1.0])
    n = np.diag(D)
    largest = np.linalg.eigvalsh(D - np.outer(n, n) / 15)[-1]
    assert_allclose(found.entries[-1].strength, np.sqrt(largest), rtol=1e-14)
    assert found.entries[-1].bracket is None
    assert found.entries[0].bracket is not None
    assert "N Λ = 1.06066" in str(found).splitlines()[0]
    assert "bisection" in str(found).splitlines()[1]


def test_a_loss_without_formulas_against_a_derivation():
    # targets twice as long: each direction is given up at 2 √n_k
    found = ufm.thresholds(
        make((9, 4, 1), loss=ufm.losses.RescaledSquaredError(length=2.0)), progress=False
    )
    assert [(t.drop, t.rank) for t in found.entries] == [(1, 2), (1, 1), (1, 0)]
    for entry, expected in zip(found.entries, (2.0, 4.0, 6.0), strict=True):
        low, high = entry.bracket
        assert low * (1 - 1e-7) <= expected <= high * (1 + 1e-7)


@pytest.mark.parametrize(
    ("counts", "rank", "minority"),
    [
        ((6, 6, 2, 2), 2, "2, 3"),
        # where the end of the bracket above has features that are not quite zero yet
        ((30, 30, 30, 3, 3, 3), 3, "3, 4, 5"),
    ],
)
def test_the_features_that_vanish_are_named(counts, rank, minority):
    found = ufm.thresholds(make(counts, bias="free"), progress=False)
    assert [t.change for t in found.entries] == [
        f"classes {minority} merge",
        f"rank {rank} falls to {rank - 1}, features of classes {minority} vanish",
        "zero product",
    ]


def test_columns_of_one_class_are_one(key):
    full, collapsed = (
        ufm.thresholds(make(labels=ufm.one_hot((5, 3, 1), collapsed=c)), progress=False)
        for c in (False, True)
    )
    assert full.of_optimum == collapsed.of_optimum


def test_brackets_are_as_narrow_as_asked_for():
    for rtol in (1e-2, 1e-7):
        (bracket,) = [
            t.bracket
            for t in ufm.thresholds(make(), rtol=rtol, progress=False).entries
            if t.bracket
        ]
        assert bracket[0] < bracket[1] <= bracket[0] * (1 + rtol)


def test_thresholds_below_which_d_is_too_small_are_left_out():
    wide, narrow = (ufm.thresholds(make((6, 4, 2, 1), d=d), progress=False) for d in (6, 1))
    assert [t.rank for t in wide.entries] == [2, 1, 0]
    # at the second the rank falls to d, which it is below too
    assert narrow.entries == wide.entries[2:]
    assert f"below N Λ = {wide.entries[1].strength:.6g} the convex optimum has no" in narrow.note


NONNEGATIVE = ufm.domains.Nonnegative()


@pytest.mark.parametrize(
    ("problem", "expected"),
    [
        pytest.param(make((9, 9, 1, 1), d=1), [(1, 0)], id="two-clusters-1"),
        pytest.param(make((9, 9, 1, 1), d=2), [(1, 1), (1, 0)], id="two-clusters-2"),
        pytest.param(make((1, 1, 1, 1), d=1), [(1, 0)], id="balanced-1"),
        pytest.param(make((1, 1, 1, 1), d=2), [(2, 0)], id="balanced-2"),
        pytest.param(make((9, 8, 1), features=NONNEGATIVE, d=1), [(1, 0)], id="nonnegative-1"),
        pytest.param(
            make((9, 8, 1), features=NONNEGATIVE, d=2), [(1, 1), (1, 0)], id="nonnegative-2"
        ),
        pytest.param(make((4, 4, 2), bias="free", d=1), [(1, 0)], id="bisected-1"),
    ],
)
def test_a_narrow_problem_has_its_own_thresholds(problem, expected, key):
    found = ufm.thresholds(problem, progress=False)
    assert [(t.drop, t.rank) for t in found.entries] == expected
    assert not found.complete
    assert "the convex optimum has no room in d" in found.note
    assert "every" not in found.note
    # `theory` lists no others
    words = {f"{t.change} from N Λ = {t.strength:.12g} on" for t in found.entries}
    assert all(
        any(e.says.startswith(w) for w in words) for e in ufm.theory(problem).of_kind("threshold")
    )
    # the best of several descents has these ranks beside them
    for threshold in found.entries:
        for side, rank in ((0.99, threshold.rank + threshold.drop), (1.01, threshold.rank)):
            nearby = problem.replace(
                lambda_W=(decay := side * threshold.strength / sum(problem.labels.masses)),
                lambda_H=decay,
            )
            best = ufm.minimise(nearby, key=key, starts=4, progress=False)
            assert product_rank(best) == rank


def test_a_jump_of_focal_loss_is_one_with_room_alone():
    """Where the ETF is no lower than zero, structures of less rank are another matter."""
    wide, narrow = (
        ufm.thresholds(make((4,) * 30, loss=ufm.losses.Focal(2.0), d=d)) for d in (29, 28)
    )
    assert wide.complete
    assert [t.rank for t in wide.of_optimum] == [0]
    assert not narrow.complete
    assert narrow.of_optimum == ()
    assert narrow.entries == tuple(t for t in wide.entries if not t.of_optimum)
    gradual = ufm.thresholds(make((4,) * 4, loss=ufm.losses.Focal(2.0), d=2))
    assert [(t.drop, t.rank) for t in gradual.of_optimum] == [(None, 0)]


def test_the_decay_of_the_problem_only_says_where_it_is():
    weak, none = (ufm.thresholds(make(lam=lam), progress=False) for lam in (1e-3, 0.0))
    assert weak.entries == none.entries
    assert weak.strength == pytest.approx(12 * np.sqrt(2) * 1e-3, rel=1e-14)
    assert none.factor(none.entries[0]) == np.inf


@pytest.mark.parametrize(
    ("problem", "note"),
    [
        pytest.param(
            make((5, 3), loss=ufm.losses.Focal(2.0)),
            "must be convex in the logits",
            id="focal-tail",
        ),
        pytest.param(make(widths=(4, 4)), r"only for one linear layer \(M = 1\)", id="deep-tail"),
        pytest.param(make(anchor=np.zeros((6, 3)), beta=0.1), "no feature anchor", id="anchor"),
        pytest.param(make(fixed_weights=(np.ones((3, 6)),)), "free weights", id="frozen"),
        pytest.param(
            make(features=ufm.domains.Nonnegative(), bias="free"),
            "must be unconstrained",
            id="nonnegative-with-bias",
        ),
    ],
)
def test_without_formula_and_certificate_there_is_a_reason(problem, note):
    found = ufm.thresholds(problem, progress=False)
    assert (found.of_optimum, found.complete) == ((), False)
    assert re.search(note, found.note)


@pytest.mark.parametrize("rtol", [1e-9, 0.5])
def test_bad_width(rtol):
    with pytest.raises(ValueError, match=rf"`rtol` must be in \[1e-7, 0.1\]; got {rtol}"):
        ufm.thresholds(make(), rtol=rtol)


def test_probes_along_the_axis_share_their_compilation():
    line = Line(make((5, 3, 2)), Facts.of(make((5, 3, 2))))
    line.probe(0.5)
    before = launch._cache_size()
    for strength in (0.7, 0.9, 1.1):
        line.probe(strength)
    assert launch._cache_size() == before > 0


def test_single_precision_has_thresholds_by_formula_alone():
    """Its certificates never close, and λ was doubled until it was infinite."""
    problem = make(labels=ufm.one_hot((6, 4, 2), collapsed=True, dtype="float32"))
    found = ufm.thresholds(problem)
    assert not found.complete
    assert found.note.startswith("formulas alone: `problem` must be in float64 for thresholds")


def test_a_loss_whose_bound_never_closes_is_named():
    class Loose(ufm.losses.AbstractLoss):
        """Cross-entropy whose conjugate is too large by a tenth: its bounds are true and lax."""

        def __call__(self, logits, targets):
            return ufm.CrossEntropy()(logits, targets)

        def conjugate(self, dual, targets):
            return ufm.CrossEntropy().conjugate(dual, targets) + 0.1

    with pytest.raises(
        ValueError, match=r"`problem.loss` must have a conjugate whose bound closes"
    ):
        ufm.thresholds(make(loss=Loose()))
