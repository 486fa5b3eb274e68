"""Next-token labels against counting by hand, and against the problem that is not merged."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pytest

import ufm
from ufm.labels import next_token, text_contexts

# context → how often each token followed
TABLE = {10: {0: 1, 2: 2}, 11: {0: 2, 2: 4}, 12: {1: 3}, 13: {0: 1, 2: 2}, 14: {0: 3333, 2: 6667}}


def pairs(table=TABLE):
    """Contexts, tokens and counts of a table, from the last to the first."""
    rows = [(c, v, n) for c, after in table.items() for v, n in after.items()]
    return tuple(np.array(column) for column in zip(*reversed(rows), strict=True))


def spelled(contexts, tokens, weights):
    """Each pair as often as it was seen."""
    return np.repeat(contexts, weights, axis=0), np.repeat(tokens, weights)


def test_equal_distributions_share_a_column_by_hand():
    """1 : 2 and 2 : 4 are one distribution; 3333 : 6667, near as it is, is another."""
    found = next_token(*pairs())
    np.testing.assert_array_equal(found.contexts, [10, 11, 12, 13, 14])
    np.testing.assert_array_equal(found.counts, [3, 6, 3, 3, 10_000])
    np.testing.assert_array_equal(found.columns, [0, 0, 1, 0, 2])
    np.testing.assert_array_equal(found.merged, [3, 1, 1])
    np.testing.assert_array_equal(found.labels.masses, [12, 3, 10_000])
    assert found.labels.weights is None
    expected = np.array([[1 / 3, 0, 0.3333], [0, 1, 0], [2 / 3, 0, 0.6667]])
    np.testing.assert_allclose(found.labels.targets, expected, rtol=1e-15)
    words = "10015 occurrences of 5 contexts in 3 columns, 3 tokens; 3 contexts share 1 columns"
    assert str(found) == f"{words}, up to 3"


def test_of_one_feature_a_context_only_equal_counts_merge():
    found = next_token(*pairs(), per="context")
    np.testing.assert_array_equal(found.columns, [0, 1, 2, 0, 3])
    np.testing.assert_array_equal(found.labels.masses, [2, 1, 1, 1])
    np.testing.assert_array_equal(found.labels.weights, [3, 6, 3, 10_000])
    np.testing.assert_allclose(
        found.labels.column_weights, np.array([6, 6, 3, 1e4]) / 10_015, rtol=1e-14
    )
    alone = next_token([1, 2], [0, 1])
    assert str(alone).endswith("2 columns, 2 tokens; nothing merged")


@pytest.mark.parametrize("per", ["occurrence", "context"])
def test_merged_labels_have_the_optimum_of_all_contexts(per, key):
    """Every context a column of its own: the same least value, and the same logits."""
    table = {1: {0: 1, 1: 1}, 2: {0: 2, 1: 2}, 3: {2: 4, 0: 1}, 4: {2: 4, 0: 1}, 5: {1: 3}}
    found = next_token(*pairs(table), per=per)
    counts = np.array([sum(after.values()) for after in table.values()])
    targets = np.zeros((3, len(table)))
    for column, after in enumerate(table.values()):
        targets[list(after), column] = np.array(list(after.values())) / counts[column]
    masses, weights = (counts, None) if per == "occurrence" else (np.ones(len(counts)), counts)
    written = ufm.soft(targets, masses, weights=weights)
    assert found.labels.num_columns < len(table)
    # (per occurrence λ_H multiplies a sum over all of them)
    lambda_H = 1e-2 / masses.sum()
    solved = [
        ufm.minimise(
            ufm.Problem(
                labels, loss=ufm.CrossEntropy(), widths=(3,), lambda_W=1e-2, lambda_H=lambda_H
            ),
            key=key,
            progress=False,
        )
        for labels in (found.labels, written)
    ]
    for solution in solved:
        assert solution.result == ufm.Result.CONVERGED
        assert ufm.certify(solution.problem, solution.params).gap < 1e-10
    np.testing.assert_allclose(solved[0].value, solved[1].value, rtol=1e-11)
    logits = np.asarray(solved[0].logits)[:, found.columns]
    # as near as the gradients of two solves are to 0
    np.testing.assert_allclose(logits, solved[1].logits, rtol=0, atol=1e-9)
    by_hand = -np.sum(
        np.where(targets > 0, targets * np.log(np.where(targets > 0, targets, 1)), 0), axis=0
    )
    np.testing.assert_allclose(found.entropy, counts @ by_hand / counts.sum(), rtol=1e-14)
    assert found.entropy < solved[0].value


def test_counts_shards_and_spelled_out_pairs_are_one():
    rng = np.random.default_rng(0)
    contexts, tokens = rng.integers(0, 9, (400, 2)) // 3, rng.integers(0, 5, 400)
    weights = rng.integers(1, 4, 400)
    cuts = [30, 31, 200]
    shards = zip(*(np.split(array, cuts) for array in (contexts, tokens, weights)), strict=True)
    whole = next_token(contexts, tokens, weights)
    for other in (
        next_token(shards),
        next_token(*spelled(contexts, tokens, weights)),
        next_token(iter([list(spelled(contexts, tokens, weights))])),
    ):
        for name in ("contexts", "counts", "columns"):
            np.testing.assert_array_equal(getattr(other, name), getattr(whole, name))
        for name in ("index", "entries", "masses"):
            np.testing.assert_array_equal(getattr(other.labels, name), getattr(whole.labels, name))


def test_a_text_by_hand():
    contexts, tokens = text_contexts([0, 1, 0, 1, 2], 2)
    np.testing.assert_array_equal(contexts, [[0, 1], [1, 0], [0, 1]])
    np.testing.assert_array_equal(tokens, [0, 1, 2])
    found = next_token(contexts, tokens, num_classes=4)
    np.testing.assert_array_equal(found.contexts, [[0, 1], [1, 0]])
    np.testing.assert_array_equal(found.labels.targets, [[0.5, 0], [0, 1], [0.5, 0], [0, 0]])


def test_a_text_against_a_counter():
    text = np.minimum(np.random.default_rng(1).zipf(1.5, 3000), 50) - 1
    found = next_token(*text_contexts(text, 2))
    counted = defaultdict(Counter)
    for a, b, c in zip(text, text[1:], text[2:], strict=False):
        counted[int(a), int(b)][int(c)] += 1
    assert [tuple(row) for row in found.contexts] == sorted(counted)
    targets = np.asarray(found.labels.targets)
    for context, column, count in zip(found.contexts, found.columns, found.counts, strict=True):
        after = counted[tuple(context)]
        assert count == after.total()
        for token in range(50):
            assert targets[token, column] == after[token] / count
    distributions = {
        frozenset((v, n / after.total()) for v, n in after.items()) for after in counted.values()
    }
    assert found.labels.num_columns == len(distributions) < len(counted)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(([1, 2], [0]), r"`tokens` must have shape \(2,\)", id="lengths"),
        pytest.param(([1, 2], [0, 7]), r"`tokens` must lie in 0 … 2; got \[0 7\]", id="range"),
        pytest.param(([1, 2], [0, -1]), "`tokens` must lie in", id="negative-token"),
        pytest.param(([1.5, 2], [0, 1]), "`contexts` must hold integers", id="fractional-context"),
        pytest.param(([1, 2], [0, 1], [1, -1]), "`weights` must be whole numbers", id="negative"),
        pytest.param(([1, 2], [0, 1], [1, 0.5]), "`weights` must be whole", id="half"),
        pytest.param(
            ([1, 2], [0, 1], [1, 0]), r"`contexts` must each .*; got \[\[2\]\]", id="none"
        ),
        pytest.param(([1, 2], [0, 1], [2**53, 1]), "`weights` must sum to less", id="many"),
        pytest.param((iter([]),), "`contexts` must yield shards", id="no-shard"),
        pytest.param((iter([[1]]),), "`contexts` must yield .*; shard 0; got list", id="no-pair"),
        pytest.param((iter([([1], [0])]), [0]), "`tokens` must be None", id="tokens-twice"),
        pytest.param(
            (iter([([[1, 2]], [0]), ([[1]], [0])]),),
            "`contexts` must be of one width, 2 in shard 0; shard 1; got 1",
            id="widths",
        ),
        pytest.param(
            (np.array([2**63], np.uint64), [0]), "`contexts` .* at most 63 bits", id="hashes"
        ),
    ],
)
def test_bad_input_is_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        next_token(*arguments, num_classes=3)


def test_labels_too_tall_are_refused(monkeypatch):
    monkeypatch.setattr("ufm.labels.next_tokens.MOST_WRITTEN", 3)
    with pytest.raises(ValueError, match=r"`contexts` must .*; got 2 tokens after one context, 2"):
        next_token([1, 1, 2], [0, 1, 0])


def test_a_text_must_be_longer_than_a_context():
    with pytest.raises(ValueError, match="`tokens` must be more than `length`, 3, of them; got 3"):
        text_contexts([0, 1, 2], 3)
