"""Points of ReLU models made of points of fewer classes."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

import ufm
from tests.solvers.test_continuation import rectified
from ufm.analysis.kinked_blocks import (
    class_groups,
    composable,
    composed,
    group_of,
    ranks_of_layers,
    smaller,
)
from ufm.analysis.kinked_search import Descents
from ufm.model import objective
from ufm.solvers.coordinates import to_flat


def triple_of(part):
    """The triple on a problem of three classes, with its value and in flat coordinates."""
    structure = next(
        s for s in ufm.laws.rectified_structures(3, part.depth) if s.blocks == (("triple", 3),)
    )
    weights, H = ufm.laws.rectified_point(
        structure,
        lambda_W=np.asarray(part.lambda_W),
        lambda_H=float(part.lambda_H),
        width=part.feature_dim,
    )
    point = ufm.Params(tuple(map(jnp.asarray, weights)), jnp.asarray(H))
    return float(objective(part, point)), np.asarray(to_flat(part, point))


def wide(K, *, n=1):
    """K classes behind four matrices of different decays."""
    problem, *_ = rectified(K, 4, K + 2)
    decays = problem.lambda_W * jnp.array([2.0, 0.5, 1.0, 1.0])
    return problem.replace(
        labels=ufm.one_hot((n,) * K), lambda_W=decays, lambda_H=problem.lambda_H / n
    )


@pytest.mark.parametrize(("K", "n"), [(4, 1), (4, 3), (7, 1)])
def test_values_of_groups_add(K, n):
    problem = wide(K, n=n)
    part = next(smaller(problem))
    value, flat = triple_of(part)
    group = group_of(part, value, flat)
    # two directions inside, three behind the last ReLU
    assert group.units.tolist() == [2, 2, 2, 3]
    found = composed(problem, [group])
    alone = ufm.laws.rectified_scale(
        1.0, strength=float(jnp.exp(jnp.mean(jnp.log(part.decays)))) * 3, depth=4
    ).value
    for name, point in found:
        sizes = [int(size) for size in name.split(" + ")]
        expected = sum(3 * value if size == 3 else alone for size in sizes) / K
        assert float(objective(problem, point)) == pytest.approx(expected, rel=1e-12)
    names = [name for name, _ in found]
    most = " + ".join(["3"] * (K // 3) + ["1"] * (K % 3))
    assert names[0] == most
    assert " + ".join("1" * K) in names
    groups = class_groups(problem, found[0][1])
    assert [len(columns) for columns in groups] == [int(size) * n for size in most.split(" + ")]
    ranks = ranks_of_layers(problem, found[0][1])
    triples, rest = K // 3, K % 3
    assert ranks == (*(2 * triples + rest,) * 3, K)


def test_groups_that_do_not_fit_are_left_out():
    # of two triples' four directions inside there is room, not of one triple's and three classes'
    problem, *_ = rectified(6, 4, 8)
    part = next(smaller(problem))
    group = group_of(part, *triple_of(part))
    assert "3 + 1 + 1 + 1" in [name for name, _ in composed(problem, [group])]
    narrow = problem.replace(widths=(6, 4, 6, 6))
    assert not composable(narrow)
    ((name, point),) = composed(narrow, [group])
    assert name == "3 + 3"
    assert [len(columns) for columns in class_groups(narrow, point)] == [3, 3]


def test_where_classes_are_better_off_at_zero():
    problem, *_ = rectified(4, 4, 6)
    strong = problem.replace(lambda_W=1.0, lambda_H=1.0)
    ((_, point),) = composed(strong, [])
    assert not any(np.any(factor) for factor in (*point.weights, point.features))


def test_a_search_keeps_the_sums(key):
    problem, _, collapsed = rectified(4, 4, 6)
    part = next(smaller(problem))
    value, flat = triple_of(part)
    descents = Descents(problem, key, 1, [group_of(part, value, flat)])
    assert "sum" in list(descents.plan())
    assert descents.sums[0][0] == "3 + 1 classes side by side"
    assert descents.found[0][0] == pytest.approx(
        (3 * value + ufm.laws.rectified_scale(4, strength=float(problem.lambda_H), depth=4).value)
        / 4,
        rel=1e-12,
    )
    assert descents.found[0][0] < collapsed


def test_what_is_not_composable():
    problem, *_ = rectified(4, 4, 6)
    assert composable(problem)
    for change in (
        {"loss": ufm.CrossEntropy()},
        {"bias": "free"},
        {"widths": (6, 6, 6, 3)},
        {"labels": ufm.one_hot((2, 1, 1, 1))},
    ):
        assert not composable(problem.replace(**change))
    assert not composable(rectified(3, 4, 5)[0])
    assert not composable(rectified(4, 3, 6)[0])
