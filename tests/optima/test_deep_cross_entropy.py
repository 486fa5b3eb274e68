"""Scales, values and thresholds of the structures of deep cross-entropy, against brute force and
the objective itself."""

import itertools

import jax
import numpy as np
import pytest

import ufm
from ufm.optima.deep_blocks import BalancedSetting, template
from ufm.optima.scale import ScaleProblem


def balanced(K, M, lam, n=1, widths=None, bias=None):
    labels = ufm.one_hot((n,) * K, collapsed=True)
    widths = (K,) * M if widths is None else widths
    return ufm.Problem(
        labels, loss=ufm.CrossEntropy(), widths=widths, lambda_W=lam, lambda_H=lam, bias=bias
    )


def objective_at(problem, logits):
    """The objective at balanced factors, through the library's own objective."""
    point = ufm.analysis.start_from_logits(problem, logits, key=jax.random.key(0), noise=0.0)
    return float(ufm.model.objective(problem, point)), ufm.analysis.hessian_spectrum(
        problem, point
    ).grad_norm


GRID = [
    pytest.param(K, M, lam, n, id=f"K{K}-M{M}-{lam}-n{n}")
    for (K, M) in ((2, 1), (4, 2), (5, 3), (8, 5))
    for lam, n in ((0.02, 1), (1e-3, 7))
]


@pytest.mark.parametrize(("K", "M", "lam", "n"), GRID)
def test_candidates_are_points_of_the_problem(K, M, lam, n):
    problem = balanced(K, M, lam, n)
    candidates = ufm.laws.deep_candidates(problem)
    assert [c.value for c in candidates] == sorted(c.value for c in candidates)
    assert {"simplex ETF", "zero"} <= {c.name for c in candidates}
    for candidate in candidates:
        value, grad_norm = objective_at(problem, candidate.logits)
        assert value == pytest.approx(candidate.value, rel=1e-12), candidate.name
        assert (grad_norm < 1e-9) == candidate.stationary, (candidate.name, grad_norm)
        assert np.linalg.matrix_rank(candidate.logits, tol=1e-9) == candidate.rank
        assert sum(block.value for block in candidate.blocks) == pytest.approx(
            candidate.value, rel=1e-14
        )


@pytest.mark.parametrize(("K", "M", "lam", "n"), GRID)
def test_etf_branch(K, M, lam, n):
    branch, Lam = ufm.laws.etf_branch(balanced(K, M, lam, n)), lam * n ** (1 / (M + 1))
    assert branch.strength == pytest.approx(Lam, rel=1e-14)

    def value(a):
        return np.log1p((K - 1) * np.exp(-a)) + (M + 1) / 2 * Lam * (K - 1) * a ** (2 / (M + 1))

    for a, at in ((branch.large, branch.large_value), (branch.small, branch.small_value)):
        if np.isnan(a):
            assert M == 1
            continue
        assert 1 / (np.exp(a) + K - 1) == pytest.approx(Lam * a ** ((1 - M) / (1 + M)), rel=1e-12)
        assert at == pytest.approx(value(a), rel=1e-14)
    # the slow twin: every scale on a fine grid
    grid = np.geomspace(1e-3, 100, 200_001)
    assert branch.large_value <= value(grid).min() + 1e-15
    assert branch.small_value >= branch.trivial_value or M == 1


def test_one_layer_is_the_known_optimum(key):
    # the equation is explicit: e^a = 1/(λ sqrt n) − K + 1
    problem = balanced(4, 1, 0.02, n=4)
    branch = ufm.laws.etf_branch(problem)
    assert branch.large == pytest.approx(np.log(1 / 0.04 - 3), rel=1e-13)
    assert branch.threshold == branch.existence == pytest.approx(1 / 4, rel=1e-14)
    solution = ufm.minimise(problem, key=key)
    assert ufm.certify(problem, solution.params).gap < 1e-10
    assert float(solution.value) == pytest.approx(branch.large_value, rel=1e-12)
    assert ufm.laws.deep_candidates(problem)[0].name == "simplex ETF"


@pytest.mark.parametrize("M", [1, 2, 3, 6])
@pytest.mark.parametrize("K", [2, 5])
def test_thresholds_are_where_the_branch_changes(K, M):
    threshold, existence = (
        ufm.laws.etf_branch(balanced(K, M, 0.01)).threshold,
        ufm.laws.etf_branch(balanced(K, M, 0.01)).existence,
    )
    assert (threshold < existence) == (M > 1)
    # one layer: the gain over zero is quadratic in the distance and must be above rounding; deeper,
    # it is linear
    distance = 1e-6 if M == 1 else 1e-9
    below, above = (
        ufm.laws.etf_branch(balanced(K, M, threshold * (1 + sign * distance))) for sign in (-1, 1)
    )
    assert below.large_value < np.log(K)
    assert not above.large_value < np.log(K)
    inside, outside = (
        ufm.laws.etf_branch(balanced(K, M, existence * (1 - 1e-6))),
        ufm.laws.etf_branch(balanced(K, M, existence * (1 + 1e-12))),
    )
    assert inside.large > 0
    assert np.isnan(outside.large)
    assert np.isnan(outside.large_value)
    names = [c.name for c in ufm.laws.deep_candidates(balanced(K, M, 10 * existence))]
    assert names == ["zero"]


@pytest.mark.parametrize(
    ("K", "M", "lam", "name", "value", "rank"),
    [
        # numbers of an independent random search
        pytest.param(4, 2, 0.005, "simplex ETF", 0.081649, 3, id="K4-etf"),
        pytest.param(4, 2, 0.005, "pairs", 0.082302, 2, id="K4-pairs"),
        pytest.param(4, 2, 0.03, "simplex ETF", 0.393438, 3, id="K4-etf-beaten"),
        pytest.param(4, 2, 0.03, "pairs", 0.388677, 2, id="K4-pairs-win"),
        pytest.param(8, 3, 0.03, "simplex ETF", 0.960194, 7, id="K8"),
        pytest.param(8, 3, 0.03, "pairs", 0.781946, 4, id="K8-pairs"),
    ],
)
def test_values_by_number(K, M, lam, name, value, rank):
    (candidate,) = (c for c in ufm.laws.deep_candidates(balanced(K, M, lam)) if c.name == name)
    assert candidate.value == pytest.approx(value, abs=5e-7)
    assert candidate.rank == rank


def partitions(total, largest):
    if total == 0:
        yield ()
    for part in range(min(total, largest), 0, -1):
        yield from ((part, *rest) for rest in partitions(total - part, part))


@pytest.mark.parametrize("limit", [7, 4, 2, 1])
@pytest.mark.parametrize(("M", "lam"), [(2, 0.005), (3, 0.03), (6, 0.05)])
def test_best_direct_sum_is_the_best_partition(M, lam, limit):
    """Dynamic programming against all partitions with all choices of blocks."""
    K = 7
    problem = balanced(K, M, lam, widths=(limit,) * M)
    best = np.inf
    for parts in partitions(K, K):
        options = []
        for p in parts:
            blocks = [("zero", np.ones(K - 1), [], 0)] if p == 1 else []
            if p >= 2:
                row = template("simplex", p)[0]
                blocks.append(
                    (
                        "simplex",
                        np.append(row[0] - row[1:], np.ones(K - p)),
                        [p / (p - 1)] * (p - 1),
                        p - 1,
                    )
                )
            else:
                blocks.append(("single", np.ones(K - 1), [1.0], 1))
            if p >= 5:
                row = template("circle", p)[0]
                blocks.append(
                    ("circle", np.append(row[0] - row[1:], np.ones(K - p)), [p / 2] * 2, 2)
                )
            shares = []
            for kind, gaps, singular, rank in blocks:
                if kind == "zero":
                    shares.append((np.log(K) / K, 0))
                    continue
                scale = ScaleProblem(
                    gaps, share=p / K, singular_values=singular, depth=M, strength=lam
                )
                grid = np.geomspace(1e-2, 100, 4001)
                values = p / K * scale.loss(grid) + lam * (M + 1) / 2 * len(singular) * (
                    np.array(singular[0]) * grid
                ) ** (2 / (M + 1))
                shares.append((values.min(), rank))
            options.append(shares)
        for choice in itertools.product(*options):
            if sum(rank for _, rank in choice) <= limit:
                best = min(best, sum(value for value, _ in choice))
    found = ufm.laws.deep_candidates(problem)[0]
    # the grid of scales is 0.25 % apart, so its values are at most about 1e-6 above
    assert found.value <= best + 1e-12
    assert found.value == pytest.approx(best, rel=3e-6)
    assert found.rank <= limit


def test_roots_are_all_the_sign_changes():
    for K, M, lam in itertools.product((3, 6, 11), (1, 2, 4), (1e-4, 0.02)):
        for candidate in ufm.laws.deep_candidates(balanced(K, M, lam)):
            for block in candidate.blocks[:1]:
                if block.kind == "zero":
                    continue
                row = template(block.kind, block.size)[0]
                gaps = np.append(row[0] - row[1:], np.ones(K - block.size))
                singular = np.linalg.svd(template(block.kind, block.size))[1]
                power, share = 2 / (M + 1), block.size / K
                unit = (M + 1) / 2 * np.sum(singular[singular > 1e-9] ** power)
                beta = np.geomspace(min(block.roots) / 10, max(block.roots) * 10, 100_001)
                weights = np.exp(-beta[:, None] * gaps[None, :])
                slope = -share * (weights @ gaps) / (
                    1 + weights.sum(axis=1)
                ) + lam * unit * power * beta ** (power - 1)
                # (the middle of the grid may be the root itself)
                signs = np.sign(slope[slope != 0])
                assert np.sum(np.diff(signs) != 0) == len(block.roots) == (1 if M == 1 else 2)


@pytest.mark.parametrize(("K", "lam"), [(100, 1e-4), (300, 1e-6)])
def test_a_long_circle_keeps_the_digits_of_its_small_gaps(K, lam):
    circle = BalancedSetting(K, 1.0, 2, lam, K, False).scale_problem("circle", K)
    # 1 − cos without cancellation; each gap is there on both sides, but for the opposite one's
    gaps = 2 * np.sin(np.pi * np.arange(1, K // 2 + 1) / K) ** 2
    # (1 − cos loses about as many digits as its smallest is below 1)
    np.testing.assert_allclose(circle.gaps, gaps, rtol=1e-12)
    np.testing.assert_array_equal(circle.multiplicities, [2] * (K // 2 - 1) + [1])
    exact = ScaleProblem(
        np.append(gaps, gaps[:-1]), share=1.0, singular_values=(K / 2,) * 2, depth=2, strength=lam
    )
    np.testing.assert_allclose(circle.roots, exact.roots, rtol=3e-13)


def test_an_orthoplex_is_a_sum_of_pairs():
    vectors = np.kron(np.eye(3), [[1, -1]])
    (pairs,) = (c for c in ufm.laws.deep_candidates(balanced(6, 2, 0.01)) if c.name == "pairs")
    np.testing.assert_allclose(
        pairs.logits, pairs.blocks[0].scale * vectors.T @ vectors, rtol=0, atol=1e-15
    )


def test_classes_without_logits_are_a_block_of_zeros():
    """Its share of log K, no scale, and no strength below which it would have one."""
    zero = next(c for c in ufm.laws.deep_candidates(balanced(5, 2, 0.005)) if c.name == "zero")
    (block,) = zero.blocks
    assert (block.scale, block.roots, block.threshold, block.existence) == (0.0, (), 0.0, 0.0)
    assert block.value == zero.value == zero.trivial_value == np.log(5)


def test_full_columns_are_the_same_problem():
    labels = ufm.one_hot((3, 3, 3, 3))
    full = ufm.Problem(labels, loss=ufm.CrossEntropy(), widths=(4, 4), lambda_W=0.01, lambda_H=0.01)
    for one, other in zip(
        ufm.laws.deep_candidates(full),
        ufm.laws.deep_candidates(balanced(4, 2, 0.01, n=3)),
        strict=True,
    ):
        assert (one.name, one.value) == (other.name, pytest.approx(other.value, rel=1e-14))
    assert "stationary" in str(ufm.laws.deep_candidates(full)[0])


def test_a_bias_makes_unequal_blocks_feasible_only():
    for candidate in ufm.laws.deep_candidates(balanced(5, 2, 0.005, bias="free")):
        assert candidate.stationary == (len({b.size for b in candidate.blocks}) == 1), (
            candidate.name
        )


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        pytest.param(
            ufm.Problem(
                ufm.one_hot((2, 2)),
                loss=ufm.MeanSquaredError(),
                widths=(2,),
                lambda_W=0.1,
                lambda_H=0.1,
            ),
            "needs cross entropy; got MeanSquaredError",
            id="loss",
        ),
        pytest.param(
            ufm.Problem(
                ufm.one_hot((3, 2)),
                loss=ufm.CrossEntropy(),
                widths=(2,),
                lambda_W=0.1,
                lambda_H=0.1,
            ),
            r"needs balanced classes; got class counts \[3, 2\]",
            id="unequal-counts",
        ),
        pytest.param(
            ufm.Problem(
                ufm.soft(np.full((2, 2), 0.5)),
                loss=ufm.CrossEntropy(),
                widths=(2,),
                lambda_W=0.1,
                lambda_H=0.1,
            ),
            "needs a target for each of the 2 classes; got none for class 1",
            id="soft-labels",
        ),
        pytest.param(
            ufm.Problem(
                ufm.one_hot((1, 1)),
                loss=ufm.CrossEntropy(),
                widths=(2,),
                lambda_W=0.1,
                lambda_H=0.1,
                fixed_weights=(np.eye(2),),
            ),
            "needs free weights",
            id="frozen",
        ),
    ],
)
@pytest.mark.parametrize("function", [ufm.laws.etf_branch, ufm.laws.deep_candidates])
def test_what_has_no_structures(function, problem, message):
    with pytest.raises(ufm.NoClosedForm, match=message):
        function(problem)


def test_bad_input():
    with pytest.raises(
        ufm.NoClosedForm, match=r"needs every width >= K - 1; got widths=\(4, 2\), K=4"
    ):
        ufm.laws.etf_branch(balanced(4, 2, 0.01, widths=(4, 2)))
    with pytest.raises(ValueError, match="`lambda_W` must be finite and > 0 for a closed form"):
        ufm.laws.deep_candidates(balanced(4, 2, 0.0))
    with pytest.raises(ValueError, match='`kind` must be "simplex"'):
        template("cube", 8)
