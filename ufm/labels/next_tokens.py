"""Labels of language: how often each token followed each context, counted exactly.

Contexts that the problem cannot tell apart share a column. Whether they can is a question about
whole numbers, and it is answered in whole numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from ufm._classes.module import Displayed
from ufm._validate import (
    float_dtype,
    require,
    require_choice,
    require_each,
    require_real,
    require_whole,
)
from ufm.labels.base import MOST_WRITTEN
from ufm.labels.sparse import SparseLabels

# Counts up to this are floats without rounding.
_MOST_COUNTED = 2**53


@dataclass(frozen=True)
class NextTokens(Displayed):
    r"""Labels of contexts, and which context went to which column of them.

    `labels`: C columns. `contexts` (n,) or (n, L): the distinct contexts, in ascending order.
    `counts` (n,): how often each was seen. `columns` (n,): its column, so that
    `features[:, columns]` are the features of all contexts. `str()` says what was merged.
    """

    labels: SparseLabels
    contexts: np.ndarray
    counts: np.ndarray
    columns: np.ndarray

    @property
    def merged(self) -> np.ndarray:
        """How many distinct contexts share each column (C,)."""
        return np.bincount(self.columns, minlength=self.labels.num_columns)

    @property
    def entropy(self) -> float:
        r"""$\sum_c \omega_c\,\mathrm{H}(q_c)$ in nats, the least cross-entropy that logits of a
        context can have."""
        q = np.asarray(self.labels.entries, np.float64)
        each = -np.sum(np.where(q > 0, q * np.log(np.where(q > 0, q, 1)), 0), axis=0)
        return float(self.counts @ each[self.columns] / self.counts.sum())

    def __str__(self) -> str:
        merged = self.merged
        shared = merged[merged > 1]
        words = f"{self.counts.sum()} occurrences of {len(self.counts)} contexts"
        words += f" in {len(merged)} columns, {self.labels.num_classes} tokens"
        if not len(shared):
            return f"{words}; nothing merged"
        return f"{words}; {shared.sum()} contexts share {len(shared)} columns, up to {shared.max()}"


def next_token(
    contexts, tokens=None, weights=None, *, per="occurrence", num_classes=None, dtype=None
) -> NextTokens:
    r"""The label of each context, the distribution of the tokens that followed it, held sparsely.

    $q_{vc} = n_{vc} / \sum_v n_{vc}$ with $n_{vc}$ the number of times that token v followed
    context c, and $\omega_c \propto \sum_v n_{vc}$ the weight of its column in the loss. Contexts
    share a column where every minimiser gives them one feature: with one feature an occurrence
    where $q_c$ is the same, with one feature a context where $\omega_c$ is the same besides.
    Counts, divided by their greatest common divisor, are compared as whole numbers.

    Parameters
    ----------
    contexts
        (N,) whole numbers, or (N, L) with a window of tokens a row; or an iterator over shards
        `(contexts, tokens)` or `(contexts, tokens, weights)`, which is read once.
    tokens
        (N,) whole numbers in [0, K): the token that followed. None for an iterator.
    weights
        (N,) whole numbers >= 0: how often the pair was seen, once unless given. The sum of all is
        less than 2⁵³, up to where floats count.
    per
        What has a feature of its own. "occurrence": masses $m_c$ are counts. "context": a column
        of one context has mass 1, and its count is its loss weight.
    num_classes
        K; one more than the largest token unless given.
    dtype
        The default float unless given.

    Returns
    -------
    NextTokens
        `labels`, and what was merged.

    Raises
    ------
    ValueError
        For arrays of different lengths, shards of different widths, tokens outside [0, K), weights
        that are no counts, a context without a token (all its weights 0), and where the tokens
        after the context with most of them, times the columns, are more than 2²⁷ numbers.

    Notes
    -----
    The paper's own choice of `per` was not seen. Merging is exact for a minimiser, which is
    strictly convex in each feature; a flow keeps equal features equal only from equal starts.

    References
    ----------
    Zhao, Behnia, Vakilian & Thrampoulidis 2024 (the setting); the merging is derived here.
    """
    require_choice("per", per, ("occurrence", "context"))
    K = None if num_classes is None else require_whole("num_classes", num_classes, least=2)
    dtype = float_dtype(dtype)
    rows, seen, wide = _counted(contexts, tokens, weights, K)
    K = max(int(rows[:, -1].max()) + 1, 2) if K is None else K
    starts = _starts(rows[:, :-1])
    totals = np.add.reduceat(seen, starts)
    silent = rows[starts[totals == 0], :-1]
    words = "`contexts` must each have a token after it, with a weight > 0; without one"
    require(not len(silent), words, silent[:3].tolist())
    distinct = rows[starts, :-1]
    rows, seen = rows[seen > 0], seen[seen > 0]
    starts = _starts(rows[:, :-1])
    columns, first = _merged(rows[:, -1], seen, starts, by_count=per == "context")
    index, entries = _padded(rows[:, -1], seen, starts, first, dtype)
    merged = np.bincount(columns).astype(np.float64)
    masses = merged if per == "context" else np.bincount(columns, totals)
    labels = SparseLabels(
        index=jnp.asarray(index),
        entries=jnp.asarray(entries),
        background=jnp.zeros(len(first), dtype),
        masses=jnp.asarray(masses, dtype),
        num_classes=K,
        weights=jnp.asarray(totals[first], dtype) if per == "context" else None,
    )
    return NextTokens(labels, distinct if wide else distinct[:, 0], totals, columns)


def text_contexts(tokens, length: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """The windows of a text and what follows each: `next_token(*text_contexts(text, 2))`.

    `tokens` (T,): a tokenised text, whole numbers >= 0. `length` L: tokens of a context. Returns
    contexts (T − L, L), which are a view of the text, and the tokens after them (T − L,). A text of
    several documents is one iterator over them.

    Raises `ValueError` for tokens that are no whole numbers, and a text of no more than L tokens.
    """
    length = require_whole("length", length)
    text = np.asarray(_whole_numbers("tokens", tokens, ndim=1))
    require_each("tokens", text, lambda token: token >= 0, "be >= 0")
    words = f"`tokens` must be more than `length`, {length}, of them"
    require(len(text) > length, words, len(text))
    windows = np.lib.stride_tricks.sliding_window_view(text, length)
    return windows[:-1], text[length:]


def _counted(contexts, tokens, weights, K: int | None) -> tuple[np.ndarray, np.ndarray, bool]:
    """Distinct rows (context, token) in ascending order, how often each was seen, and whether
    contexts are windows."""
    if not isinstance(contexts, Iterator):
        rows, seen, wide = _shard((contexts, tokens, weights), K)
        return *_tally(rows, seen), wide
    for name, given in (("tokens", tokens), ("weights", weights)):
        words = f"`{name}` must be None where `contexts` is an iterator, whose shards have them"
        require(given is None, words, type(given).__name__)
    done, waiting, shape = None, [], None
    for number, shard in enumerate(contexts):
        words = "`contexts` must yield (contexts, tokens) or (contexts, tokens, weights)"
        fits = isinstance(shard, tuple | list) and len(shard) in (2, 3)
        require(fits, f"{words}; shard {number}", type(shard).__name__)
        rows, seen, wide = _shard((*shard, None)[:3], K)
        shape = shape or (wide, rows.shape[1])
        words = f"`contexts` must be of one width, {shape[1] - 1} in shard 0; shard {number}"
        require(shape == (wide, rows.shape[1]), words, rows.shape[1] - 1)
        waiting.append(_tally(rows, seen))
        # joined when they are as many as all before them, so that each row is sorted few times
        if done is None or sum(len(seen) for _, seen in waiting) >= len(done[1]):
            done, waiting = _joined([*([] if done is None else [done]), *waiting]), []
    require(done is not None, "`contexts` must yield shards", "an iterator of none")
    assert done is not None
    assert shape is not None
    return *_joined([done, *waiting]), shape[0]


def _joined(parts) -> tuple[np.ndarray, np.ndarray]:
    """Tallies of several shards as one."""
    return _tally(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def _shard(arrays, K: int | None) -> tuple[np.ndarray, np.ndarray, bool]:
    """Checked rows (context, token) of one shard, their weights, whether contexts are windows."""
    contexts, tokens, weights = arrays
    windows = _whole_numbers("contexts", contexts)
    words = "`contexts` must have shape (N,) or (N, L)"
    require(windows.ndim in (1, 2), words, f"shape {windows.shape}")
    N = len(windows)
    after = _whole_numbers("tokens", tokens, ndim=1)
    words = f"`tokens` must have shape ({N},), one for each of `contexts`"
    require(len(after) == N, words, after.shape)
    most = np.iinfo(np.int32).max if K is None else K - 1
    require_each(
        "tokens", after, lambda token: (token >= 0) & (token <= most), f"lie in 0 … {most}"
    )
    seen = np.ones(N, np.int64)
    if weights is not None:
        given = np.asarray(require_real("weights", weights, ndim=1))
        words = f"`weights` must have shape ({N},), one for each of `contexts`"
        require(given.shape == (N,), words, given.shape)
        words = f"be whole numbers from 0 to {_MOST_COUNTED}, as counts are"
        require_each(
            "weights", given, lambda w: (w >= 0) & (w <= _MOST_COUNTED) & (w == np.floor(w)), words
        )
        seen = given.astype(np.int64)
    rows = np.column_stack([windows.reshape(N, -1), after]).astype(np.int64)
    return rows, seen, windows.ndim == 2


def _whole_numbers(name: str, value, ndim: int | None = None) -> np.ndarray:
    array = np.asarray(require_real(name, value, ndim=ndim))
    require(array.dtype.kind in "iu", f"`{name}` must hold integers", array.dtype)
    largest = int(array.max())
    require(largest < 2**63, f"`{name}` must hold integers of at most 63 bits", largest)
    return array


def _tally(rows: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Equal rows once, in ascending order, with the sum of their counts."""
    total = float(np.sum(seen, dtype=np.float64))
    require(total < _MOST_COUNTED, "`weights` must sum to less than 2^53", total)
    order = np.lexsort(rows.T[::-1])
    rows, seen = rows[order], seen[order]
    starts = _starts(rows)
    return rows[starts], np.add.reduceat(seen, starts)


def _starts(rows: np.ndarray) -> np.ndarray:
    """Where a new row begins among sorted ones."""
    return np.flatnonzero(np.append(True, np.any(rows[1:] != rows[:-1], axis=1)))


def _merged(tokens, seen, starts, *, by_count: bool) -> tuple[np.ndarray, np.ndarray]:
    """The column of each context, and the first context of each column."""
    ends = np.append(starts[1:], len(seen))
    if not by_count:
        seen = seen // np.repeat(np.gcd.reduceat(seen, starts), ends - starts)
    known: dict[bytes, int] = {}
    columns = np.empty(len(starts), np.int64)
    pairs = np.ascontiguousarray(np.column_stack([tokens, seen]))
    for context, (start, end) in enumerate(zip(starts, ends, strict=True)):
        columns[context] = known.setdefault(pairs[start:end].tobytes(), len(known))
    return columns, np.unique(columns, return_index=True)[1]


def _padded(tokens, seen, starts, first, dtype) -> tuple[np.ndarray, np.ndarray]:
    """Tokens and probabilities of the contexts `first`, a column each, filled up with zeros."""
    lengths = np.diff(np.append(starts, len(seen)))[first]
    shape = (int(lengths.max()), len(first))
    words = f"`contexts` must have labels of at most {MOST_WRITTEN} numbers"
    tall = f"{shape[0]} tokens after one context, {shape[1]} columns"
    require(shape[0] * shape[1] <= MOST_WRITTEN, words, tall)
    across = np.repeat(np.arange(len(first)), lengths)
    down = np.arange(len(across)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    taken = starts[first][across] + down
    totals = np.add.reduceat(seen, starts)[first]
    index, entries = np.zeros(shape, np.int32), np.zeros(shape, dtype)
    index[down, across] = tokens[taken]
    entries[down, across] = seen[taken] / totals[across]
    return index, entries
