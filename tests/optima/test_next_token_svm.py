"""The max-margin problem of next tokens: closed forms, its certificate, and its two ingredients."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.optimize

import ufm
from ufm.optima.next_token_svm import _bound, _projected

RNG = np.random.default_rng(0)
PAIRS = np.array([[v in pair for pair in itertools.combinations(range(5), 2)] for v in range(5)])
MASSES = np.arange(1.0, 11.0)


def some_supports(V=8, C=12):
    S = RNG.random((V, C)) < 0.3
    S[RNG.integers(0, V, C), np.arange(C)] = True
    return S


@pytest.mark.parametrize("masses", [None, MASSES], ids=["equal", "unequal"])
@pytest.mark.parametrize(
    "supports",
    [pytest.param(PAIRS, id="pairs"), pytest.param(np.tile(np.eye(5), 2), id="one-word")],
)
def test_a_design_has_the_centred_supports(supports, masses):
    found = ufm.laws.next_token_svm(supports, masses)
    centred = supports - np.mean(supports, axis=0)
    assert found.gap <= 1e-9
    np.testing.assert_allclose(found.logits, centred, rtol=0, atol=1e-7)
    roots = np.sqrt(np.ones(10) if masses is None else masses)
    np.testing.assert_allclose(found.value, np.linalg.norm(centred * roots, "nuc"), rtol=1e-9)


def test_one_word_each_is_seli():
    found = ufm.laws.next_token_svm(np.eye(4), [9, 4, 2, 1])
    seli = ufm.laws.seli([9, 4, 2, 1])
    np.testing.assert_allclose(found.logits, seli.logits, rtol=0, atol=1e-7)
    np.testing.assert_allclose(found.value, seli.singular_values.sum(), rtol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_the_answer_is_inside_and_nothing_is_below(seed):
    """Points inside the constraints, near the answer and far from it."""
    rng = np.random.default_rng(seed)
    S, masses = some_supports(), rng.uniform(0.2, 5, 12)
    found = ufm.laws.next_token_svm(S, masses)
    assert found.gap <= 1e-9
    for logits, support in zip(found.logits.T, S.T, strict=True):
        assert np.ptp(logits[support]) < 1e-12
        assert logits[support].min() - logits[~support].max() >= 1 - 1e-12
    roots = np.sqrt(masses)
    np.testing.assert_allclose(found.value, np.linalg.norm(found.logits * roots, "nuc"), rtol=1e-14)
    for size in (1e-4, 1e-2, 1.0):
        for _ in range(20):
            tried = found.logits * roots + size * rng.normal(size=S.shape)
            value = np.linalg.norm(_projected(tried, S, roots), "nuc")
            assert value >= found.value * (1 - found.gap)


def test_masses_in_other_units_are_other_units_of_the_value():
    S = some_supports()
    masses = RNG.uniform(0.5, 2, 12)
    # (by a power of two, which rounds alike: else two solves may stop at two looks at the bound)
    here, there = (ufm.laws.next_token_svm(S, masses * by) for by in (1.0, 2.0**40))
    np.testing.assert_allclose(there.value, 2.0**20 * here.value, rtol=1e-12)
    np.testing.assert_allclose(there.logits, here.logits, rtol=0, atol=1e-12)


def test_the_projection_is_the_nearest_point():
    for _ in range(20):
        V = int(RNG.integers(2, 7))
        support = RNG.random(V) < 0.5
        support[RNG.integers(V)] = True
        x, root = 3 * RNG.normal(size=V), RNG.uniform(0.1, 2)

        def slope(t, x=x, root=root, support=support):
            """Half of that of the squared distance."""
            return np.sum(t - x[support]) - np.sum(np.maximum(x[~support] - (t - root), 0))

        t = scipy.optimize.brentq(slope, -20, 20, xtol=1e-15)
        # both within a few roundings, of numbers up to 10
        found = _projected(x[:, None], support[:, None], np.array([root]))[:, 0]
        np.testing.assert_allclose(found[support], t, rtol=0, atol=1e-13)
        others = np.minimum(x[~support], t - root)
        np.testing.assert_allclose(found[~support], others, rtol=0, atol=1e-13)


def test_the_bound_is_below_every_point_whatever_the_dual():
    S, roots = some_supports(), RNG.uniform(0.5, 2, 12)
    values = [
        np.linalg.norm(_projected(3 * RNG.normal(size=S.shape), S, roots), "nuc") for _ in range(50)
    ]
    for _ in range(50):
        assert _bound(RNG.normal(size=S.shape) * RNG.uniform(0.01, 3), S, roots) <= min(values)


def test_few_steps_leave_a_gap_and_say_so():
    S = some_supports()
    rough, fine = (ufm.laws.next_token_svm(S, max_steps=steps) for steps in (1, 100_000))
    assert rough.gap > 1e-3
    assert rough.value * (1 - rough.gap) <= fine.value <= rough.value


def test_where_every_word_follows_nothing_diverges():
    found = ufm.laws.next_token_svm(np.ones((3, 4)))
    assert (found.value, found.gap) == (0, 0)
    assert not found.logits.any()


@pytest.mark.parametrize(
    ("supports", "masses", "words"),
    [
        pytest.param([[1, 0], [1, 0]], None, r"`supports` must have .*; got \[1\]", id="empty"),
        pytest.param([[1.0, np.nan]], None, "`supports` must be finite", id="NaN"),
        pytest.param(np.eye(2), [1, 0], "`masses` must be finite and > 0", id="mass"),
        pytest.param(np.eye(2), [1, 1, 1], r"`masses` must have shape \(2,\)", id="masses"),
    ],
)
def test_bad_input_is_named(supports, masses, words):
    with pytest.raises(ValueError, match=words):
        ufm.laws.next_token_svm(supports, masses)
