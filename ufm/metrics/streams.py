"""Moments of features that do not fit into memory, one pass, and metrics at the size of a
vocabulary.

NumPy in float64 on the host: the counts are of 10⁷ tokens and more, and what is held is O(V d).
"""

from __future__ import annotations

import os

import numpy as np

from ufm._system.files import read_sealed, require_place, write_sealed, write_whole
from ufm._validate import (
    require,
    require_choice,
    require_instance,
    require_path,
    require_whole,
)
from ufm.metrics.agreement import Agreement
from ufm.metrics.batches import blocks, checked_batch, checked_bias, checked_classifier
from ufm.metrics.stream_metrics import StreamMetrics, measured

# Numbers of a batch that are widened to float64 at a time: what stays in a cache (1 MiB) takes less
# than half the time of what does not.
_AT_ONCE = 2**17
_KIND = "ufm.metrics.stream"


class Stream:
    r"""Counts $n_k$, means $\mu_k$ and sums of squared deviations $\sum\|h-\mu_k\|^2$ of V classes.

    `ufm.metrics.stream` makes an empty one. `counts` (V,), `means` (V, d), `squares` (V,), and
    `batches`, how many updates it has seen: where to go on after `save` and `load_stream`.
    """

    def __init__(self, counts: np.ndarray, means: np.ndarray, squares: np.ndarray, batches: int):
        self.counts, self.means, self.squares, self.batches = counts, means, squares, batches

    @property
    def num_classes(self) -> int:
        """V."""
        return self.means.shape[0]

    @property
    def dim(self) -> int:
        """d."""
        return self.means.shape[1]

    def update(self, features, labels) -> None:
        """Take a batch in.

        Parameters
        ----------
        features
            (d, C), real numbers.
        labels
            Their classes (C,), whole numbers in [0, V).

        Raises
        ------
        ValueError
            For other shapes, classes out of range, and features that are not finite or beyond
            1e100; then nothing is taken in.
        """
        rows, index = checked_batch(features, labels, self.num_classes, self.dim)
        for block in blocks(len(rows), _AT_ONCE // self.dim):
            self._take(*_moments(rows[block], index[block]))
        self.batches += 1

    def merge(self, other: Stream) -> None:
        """Take in all that another stream of as many classes and features has seen."""
        require_instance("other", other, Stream, "a stream")
        shape = self.means.shape
        words = f"`other` must have V, d = {shape}, as this stream has"
        require(other.means.shape == shape, words, other.means.shape)
        there = np.flatnonzero(other.counts)
        self._take(there, other.counts[there], other.means[there], other.squares[there])
        self.batches += other.batches

    def _take(self, classes, counts, means, squares) -> None:
        # Chan, Golub & LeVeque 1983
        ours = self.counts[classes]
        share = counts / (ours + counts)
        apart = means - self.means[classes]
        self.squares[classes] += squares + ours * share * np.einsum("ij,ij->i", apart, apart)
        self.means[classes] += share[:, None] * apart
        self.counts[classes] = ours + counts

    def kept(self, least: int) -> np.ndarray:
        """The classes with so many samples; `ValueError` unless there are two."""
        classes = np.flatnonzero(self.counts >= require_whole("least", least))
        words = "`least` must leave two classes or more that have so many samples"
        require(len(classes) >= 2, words, f"{least}, which leaves {len(classes)}")
        return classes

    def finish(self, classifier=None, *, least: int = 2, global_mean="classes") -> StreamMetrics:
        """All metrics of what was seen.

        Those of `ufm.metrics` on the samples of the classes that are kept, in O(V d) memory.

        Parameters
        ----------
        classifier
            (V, d), for NC3, else NaN.
        least
            Classes with fewer samples are left out, of the global mean too, and counted; a class
            seen once has variance 0 and says nothing of NC1.
        global_mean
            "classes", the mean of the class means kept (Wu & Papyan 2024), or "samples", weighed by
            counts, as everywhere else in `ufm.metrics`. With Zipf counts they are far apart.

        Returns
        -------
        StreamMetrics
            On the host, in float64.

        Raises
        ------
        ValueError
            Where fewer than two classes are left, and for a classifier that is not (V, d) or not
            finite.
        """
        classes = self.kept(least)
        require_choice("global_mean", global_mean, ("classes", "samples"))
        rows = (
            None
            if classifier is None
            else checked_classifier(classifier, *self.means.shape)[classes]
        )
        rare = int(np.count_nonzero(self.counts)) - len(classes)
        return measured(
            *(array[classes] for array in (self.counts, self.means, self.squares)),
            classifier=rows,
            by_samples=global_mean == "samples",
            left_out=(rare, self.num_classes - rare - len(classes)),
        )

    def agreement(self, classifier, bias=None, *, least: int = 2) -> Agreement:
        r"""A second pass, for NC4: `update` it with the same batches.

        The share of samples for which $\arg\max_v (W h + b)_v = \arg\min_v \|h - \mu_v\|$.

        Parameters
        ----------
        classifier, bias
            (V, d), and (V,) or None.
        least
            Classes with fewer samples are left out, and their samples.

        Returns
        -------
        Agreement
            With nothing counted yet.

        Raises
        ------
        ValueError
            As `finish` does, and for a bias of the wrong shape.
        """
        classes = self.kept(least)
        rows = checked_classifier(classifier, *self.means.shape)[classes]
        if bias is not None:
            bias = checked_bias(bias, self.num_classes)[classes]
        return Agreement(classes, self.num_classes, self.means[classes], rows, bias)

    def save(self, path: str | os.PathLike) -> None:
        """Write what was seen to a file, whole or not at all; `load_stream` reads it back.

        `ValueError` where no file can be written.
        """
        path = require_path("path", path)
        require_place("path", path)
        arrays = {"counts": self.counts, "means": self.means, "squares": self.squares}
        about = {"kind": _KIND, "batches": self.batches}
        write_whole(path, lambda file: write_sealed(file, about, arrays))


def stream(num_classes: int, dim: int) -> Stream:
    """Metrics of features that come in batches: an empty stream of V classes and d features.

        seen = ufm.metrics.stream(50_000, 256)
        for features, labels in batches:        # (256, C) and (C,)
            seen.update(features, labels)
        print(seen.finish(classifier))

    One pass for means and variances in float64, whatever the dtype of the features; parts of the
    data, seen elsewhere, are joined by `merge`.

    Raises `ValueError` for V < 2 and d < 1.
    """
    V = require_whole("num_classes", num_classes, least=2)
    d = require_whole("dim", dim)
    return Stream(np.zeros(V, np.int64), np.zeros((V, d)), np.zeros(V), 0)


def load_stream(path: str | os.PathLike) -> Stream:
    """A stream from the file that its `save` wrote, to go on with after `batches` updates.

    Raises `ValueError` for a file that holds none or has been changed, `FileNotFoundError` where
    there is none.
    """
    path = require_path("path", path)
    try:
        about, arrays = read_sealed(path)
    except ValueError as error:
        raise ValueError(f"`path` must be a file that a stream has saved; {error}") from error
    kind = about.get("kind") if isinstance(about, dict) else None
    require(kind == _KIND, "`path` must be a file that a stream has saved; kind", kind)
    return Stream(arrays["counts"], arrays["means"], arrays["squares"], about["batches"])


def _moments(rows, index) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Classes of a block, their counts, means and sums of squared deviations."""
    order = np.argsort(index, kind="stable")
    rows, index = rows[order].astype(np.float64), index[order]
    starts = np.flatnonzero(np.append(True, index[1:] != index[:-1]))
    counts = np.diff(np.append(starts, len(index)))
    means = np.zeros((len(starts), rows.shape[1]))
    # the mean of what the first mean leaves over makes it right to the last place
    for _ in range(2):
        step = np.add.reduceat(rows, starts, axis=0) / counts[:, None]
        means += step
        rows -= np.repeat(step, counts, axis=0)
    squares = np.add.reduceat(np.einsum("ij,ij->i", rows, rows), starts)
    return index[starts], counts, means, squares
