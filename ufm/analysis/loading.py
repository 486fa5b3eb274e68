"""Features of a real network, from a NumPy file, in the shape that the rest of the library
wants."""

from __future__ import annotations

import os
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ufm._system.files import Archive, NotAnArchive, opened
from ufm._validate import float_dtype, require, require_instance, require_path, require_whole
from ufm.labels import AbstractLabels, one_hot


class LoadedFeatures(NamedTuple):
    """Features (d, N) with columns grouped by class, their labels (full, one column a sample), and
    for each column its row in the file."""

    features: Float[Array, "d N"]
    labels: AbstractLabels
    order: Int[np.ndarray, " N"]

    def __repr__(self) -> str:
        d, N = self.features.shape
        counts = np.bincount(np.asarray(self.labels.class_index), minlength=self.labels.num_classes)
        shown = ", ".join(map(str, counts[:8])) + (", …" if len(counts) > 8 else "")
        classes = f"{len(counts)} classes ({shown})"
        return f"LoadedFeatures: {N} samples of {classes}, d = {d}, {self.features.dtype}"


def load_features(
    path: str | os.PathLike,
    *,
    features: str = "features",
    labels: str = "labels",
    num_classes: int | None = None,
    dtype=None,
) -> LoadedFeatures:
    """Penultimate-layer features and their classes from an .npz file, as an anchor or a start.

        loaded = ufm.load_features("features.npz")
        width, anchor = len(loaded.features), loaded.features
        problem = ufm.Problem(loaded.labels, anchor=anchor, beta=1.0, widths=(width,), ...)
        start = ufm.flows.start_from_features(problem, loaded.features)
        trajectory = ufm.flow(problem, ts=ts, start=start)

    Parameters
    ----------
    path
        Of the file.
    features, labels
        Keys of the arrays in the file, as `np.savez(path, features=F, labels=y)` writes them: F of
        shape (N, d), one sample a row, real numbers; y of shape (N,), whole numbers 0, …, K − 1.
    num_classes
        K, if the file must have just that many.
    dtype
        The default float unless given; half-precision features are widened.

    Returns
    -------
    LoadedFeatures
        (features, labels, order): the library's columns, (d, N), grouped by class as `one_hot`
        groups them and otherwise in the order of the file; column c is row `order[c]`.

    Raises
    ------
    ValueError
        For a file that is not .npz, missing keys, other shapes, numbers that are not finite, labels
        that are not whole, fewer than two classes, and a class without a sample.
    FileNotFoundError
        Where there is no file.

    Notes
    -----
    Objects are never unpickled. For class means see `ufm.labels.collapse`.
    """
    dtype = float_dtype(dtype)
    path = require_path("path", path)
    for name, key in (("features", features), ("labels", labels)):
        require_instance(name, key, str, "the name of an array in the file")
    if num_classes is not None:
        num_classes = require_whole("num_classes", num_classes, least=2)
    F, y = _read(path, {"features": features, "labels": labels})
    _require_features(F, features)
    require(
        y.shape == F.shape[:1],
        f"`{labels}` must have shape ({F.shape[0]},), one class for each row of `{features}`",
        y.shape,
    )
    counts = _counts(y, labels, num_classes)
    order = np.argsort(y, kind="stable")
    with np.errstate(over="ignore"):
        columns = np.ascontiguousarray(F[order].T, dtype=dtype)
    require(np.isfinite(columns).all(), f"`{features}` must be finite as {dtype}", "an overflow")
    return LoadedFeatures(jnp.asarray(columns), one_hot(counts.tolist(), dtype=dtype), order)


def _require_features(F: np.ndarray, name: str) -> None:
    """`ValueError` unless the array of that name is a table of finite numbers."""
    require(
        F.ndim == 2 and min(F.shape) >= 1,
        f"`{name}` must have shape (N, d), one sample a row",
        F.shape,
    )
    # NumPy forgets what bfloat16 is when it writes it
    nameless = F.dtype.kind == "V" and F.dtype.itemsize == 2
    hint = " (bfloat16, which NumPy does not save: widen it to float32 before)" if nameless else ""
    real = np.issubdtype(F.dtype, np.floating) or np.issubdtype(F.dtype, np.integer)
    require(real, f"`{name}` must hold real numbers{hint}", F.dtype)
    finite = np.isfinite(F).all(axis=1)
    words = f"`{name}` must be finite; rows that are not"
    require(finite.all(), words, np.flatnonzero(~finite)[:10])


def _counts(y: np.ndarray, name: str, num_classes: int | None) -> np.ndarray:
    """Samples of each class (K,); `ValueError` unless the array of that name holds every one."""
    whole = np.issubdtype(y.dtype, np.integer)
    require(whole, f"`{name}` must be whole numbers (an integer dtype)", y.dtype)
    require(y.min() >= 0, f"`{name}` must be >= 0", y.min())
    K = int(y.max()) + 1 if num_classes is None else num_classes
    require(K >= 2, f"`{name}` must hold at least two classes", K)
    require(int(y.max()) < K, f"`{name}` must be below `num_classes` = {K}", y.max())
    words = f"`{name}` must be 0, …, K - 1 with a sample of each; "
    # a label of 10^12 must not become an array of that length
    require(len(y) >= K, f"{words}{len(y)} samples cannot fill this many classes", K)
    counts = np.bincount(y.astype(np.int64), minlength=K)
    missing = np.flatnonzero(counts == 0)[:10]
    require(counts.min() > 0, f"{words}classes without one", missing)
    return counts


def _read(name: str, keys: dict[str, str]) -> list[np.ndarray]:
    """The arrays of the file under the keys that each argument gives."""
    try:
        with opened(name) as file:
            there = file.names
            for argument, key in keys.items():
                wanted = (
                    f"`{argument}` must name an array of the file, which has "
                    f"{', '.join(there) or 'none'}"
                )
                require(key in there, wanted, repr(key))
            arrays = [_array(file, key) for key in keys.values()]
    except (NotAnArchive, IsADirectoryError) as error:
        raise ValueError(
            f"`path` must be an .npz file, as np.savez writes it; got {name} ({error})"
        ) from error
    return arrays


def _array(file: Archive, key: str) -> np.ndarray:
    try:
        return file.read(key)
    except ValueError as error:
        raise ValueError(
            f"`{key}` must be a whole array of numbers that loads without pickle; got {error}"
        ) from error
