"""NC4 of features that come in batches: the second pass, once the class means are known."""

from __future__ import annotations

import hashlib
import json
import os

import numpy as np

from ufm._system.files import checked_json, require_place, sealed_json, write_whole
from ufm._validate import require, require_instance, require_path
from ufm.metrics.batches import blocks, checked_batch

# Numbers of the scores of all classes that exist at a time (64 MiB), twice.
_AT_ONCE = 2**23


class Agreement:
    r"""Samples for which the classifier and the nearest class mean agree.

    `Stream.agreement` makes it. `hits` of `samples`, and `batches`, how many updates it has seen:
    where to go on after `save` and `resume`.
    """

    def __init__(self, classes, num_classes: int, means, classifier, bias):
        self.hits, self.samples, self.batches = 0, 0, 0
        self._kept = np.zeros(num_classes, bool)
        self._kept[classes] = True
        # distances around the centre of the means, where a common offset does not cancel
        self._centre = means.mean(axis=0)
        self._means, self._classifier, self._bias = means - self._centre, classifier, bias
        self._half = 0.5 * np.einsum("ij,ij->i", self._means, self._means)

    def update(self, features, labels) -> None:
        """Take a batch in.

        Parameters
        ----------
        features, labels
            As for `Stream.update`. Samples of classes that are left out do not count.

        Raises
        ------
        ValueError
            As `Stream.update` does.

        Notes
        -----
        Classes whose scores are equal are all the largest: a sample agrees where any class is the
        largest of both.
        """
        d = self._means.shape[1]
        rows, index = checked_batch(features, labels, len(self._kept), d)
        rows = rows[self._kept[index]]
        hits = 0
        for block in blocks(len(rows), _AT_ONCE // len(self._means)):
            h = rows[block].astype(np.float64)
            logits = h @ self._classifier.T
            if self._bias is not None:
                logits += self._bias
            nearness = (h - self._centre) @ self._means.T
            nearness -= self._half
            largest = logits == logits.max(axis=1, keepdims=True)
            nearest = nearness == nearness.max(axis=1, keepdims=True)
            hits += int(np.count_nonzero(np.any(largest & nearest, axis=1)))
        self.hits += hits
        self.samples += len(rows)
        self.batches += 1

    def merge(self, other: Agreement) -> None:
        """Take in what another pass has seen, over the same means and classifier."""
        require_instance("other", other, Agreement, "an agreement")
        same = other._seal() == self._seal()
        require(same, "`other` must be over the same class means and classifier", "others")
        self._add(other.hits, other.samples, other.batches)

    def finish(self) -> float:
        """The share of samples that agree; NaN where none was seen."""
        return self.hits / self.samples if self.samples else float("nan")

    def save(self, path: str | os.PathLike) -> None:
        """Write the counts to a file, whole or not at all; `resume` reads them back.

        `ValueError` where no file can be written.
        """
        require_place("path", require_path("path", path))
        seen = {"hits": self.hits, "samples": self.samples, "batches": self.batches}
        document = sealed_json({"over": self._seal(), **seen})
        write_whole(path, json.dumps(document))

    def resume(self, path: str | os.PathLike) -> None:
        """Take in the counts of a file that `save` wrote, over the same means and classifier.

        Raises `ValueError` for any other file, `FileNotFoundError` where there is none.
        """
        path = require_path("path", path)
        try:
            with open(path, encoding="utf-8") as file:
                seen = checked_json(file.read())
        except ValueError as error:
            raise ValueError(
                f"`path` must be a file that an agreement has saved; {error}"
            ) from error
        words = "`path` must be of the same class means and classifier"
        require(seen.get("over") == self._seal(), words, "others")
        self._add(seen["hits"], seen["samples"], seen["batches"])

    def _add(self, hits: int, samples: int, batches: int) -> None:
        self.hits, self.samples = self.hits + hits, self.samples + samples
        self.batches += batches

    def _seal(self) -> str:
        """A hash of all that scores depend on."""
        digest = hashlib.sha256()
        for array in (self._kept, self._centre, self._means, self._classifier, self._bias):
            digest.update(b"none" if array is None else np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()
