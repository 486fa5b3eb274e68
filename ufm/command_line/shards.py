"""Features in many files: `.npz` or `.safetensors` with both arrays, or `.npy` with labels beside
them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ufm._system.files import opened
from ufm._validate import require

# Numbers of features that are read at a time (64 MiB in float64).
AT_ONCE = 2**23
# Files that hold features and labels by name, and files of one array.
NAMED, SINGLE = (".npz", ".safetensors"), ".npy"


@dataclass(frozen=True)
class Shard:
    """One file. `features`, `labels`: names of arrays in it, where it holds several; else `labels`
    is a `.npy` file, of whose entries those from `first` on are of this one."""

    path: Path
    features: str
    labels: str | Path
    first: int | None = None

    def read_labels(self) -> np.ndarray:
        """Labels (N,), one a row of the features."""
        if not isinstance(self.labels, Path):
            return self._array(self.labels)
        array = _mapped(self.labels)
        if self.first is None:
            return array
        return array[self.first : self.first + len(_mapped(self.path))]

    def read_features(self) -> np.ndarray:
        """Features (N, d), one sample a row; a `.npy` file is read where it is looked at."""
        return _mapped(self.path) if isinstance(self.labels, Path) else self._array(self.features)

    def _array(self, name: str) -> np.ndarray:
        reader = opened if self.path.suffix == ".npz" else _tensors
        with reader(self.path) as archive:
            option = "--features" if name == self.features else "--labels"
            words = f"{self.path} must hold an array {name!r}, or {option} another; it has"
            require(name in archive.names, words, ", ".join(archive.names) or "none")
            return archive.read(name)


class _Tensors:
    """A `.safetensors` file that is open: what `ufm._system.files.Archive` is for `.npz`."""

    def __init__(self, tensors):
        self._tensors = tensors
        self.names = tuple(sorted(tensors.keys()))

    def read(self, name: str) -> np.ndarray:
        """An array; bfloat16, for which NumPy has no word, as float32."""
        array = self._tensors.get_tensor(name)
        return array if array.dtype.kind in "biuf" else array.astype(np.float32)


@contextlib.contextmanager
def _tensors(path: Path) -> Iterator[_Tensors]:
    try:
        import safetensors
    except ImportError as error:
        raise ValueError(f"{path} needs the library safetensors, the extra `ufm[files]`") from error
    try:
        with safetensors.safe_open(path, framework="numpy") as tensors:
            yield _Tensors(tensors)
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path}: not a .safetensors file: {error}") from error


def shards_of(folder: str, features: str, labels: str) -> list[Shard]:
    """The shards of a folder, or one file, in the order of their names.

    Parameters
    ----------
    folder
        Holds `.npz`, `.safetensors` or `.npy` files, or is one.
    features
        The name of the array in `.npz` and `.safetensors` files.
    labels
        The name of theirs; beside `.npy` files a folder with files of the same names, or one file
        for all.

    Returns
    -------
    list[Shard]
        Not read yet.

    Raises
    ------
    ValueError
        Where there are no files, or labels that do not fit them.
    """
    root = Path(folder)
    paths = sorted(root.iterdir()) if root.is_dir() else [root]
    kinds = (*NAMED, SINGLE)
    kind = next((kind for kind in kinds if any(p.suffix == kind for p in paths)), None)
    require(kind, f"FOLDER must hold files of one kind, {', '.join(kinds)}", folder)
    paths = [path for path in paths if path.suffix == kind]
    if kind in NAMED:
        return [Shard(path, features, labels) for path in paths]
    beside = Path(labels)
    words = "--labels must be a folder of .npy files, or one, beside features in .npy files"
    require(beside.exists(), words, labels)
    if beside.is_dir():
        return [Shard(path, features, beside / path.name) for path in paths]
    firsts = np.cumsum([0, *(len(_mapped(path)) for path in paths)])
    has = len(_mapped(beside))
    require(has == firsts[-1], f"--labels must have a label for each of {firsts[-1]} rows", has)
    return [
        Shard(path, features, beside, int(first))
        for path, first in zip(paths, firsts[:-1], strict=True)
    ]


def batches_of(
    shards: list[Shard], dim: int, skip: int
) -> Iterator[tuple[str, float, np.ndarray, np.ndarray]]:
    """Batches of every shard but the first few.

    Their limits depend on sizes alone, so that they are the same in another run.

    Parameters
    ----------
    shards
        In their order.
    dim
        d.
    skip
        Batches to leave out, taken in before.

    Returns
    -------
    Iterator[tuple[str, float, np.ndarray, np.ndarray]]
        Where it is, how many shards are done after it, features (d, B) and labels (B,).

    Raises
    ------
    ValueError
        For features and labels of other shapes.
    """
    size = max(AT_ONCE // dim, 1)
    for number, shard in enumerate(shards):
        labels = shard.read_labels()
        words = f"the labels of {shard.path} must be a sequence, not empty"
        require(labels.ndim == 1 and len(labels), words, f"shape {labels.shape}")
        starts = range(0, len(labels), size)
        skipped, skip = min(skip, len(starts)), max(skip - len(starts), 0)
        if skipped == len(starts):
            continue
        features = shard.read_features()
        words = f"the features of {shard.path} must have shape ({len(labels)}, {dim})"
        require(features.shape == (len(labels), dim), words, features.shape)
        for start in starts[skipped:]:
            stop = min(start + size, len(labels))
            where = f"{shard.path}, rows {start} to {stop}"
            done = number + stop / len(labels)
            yield where, done, features[start:stop].T, labels[start:stop]


def read_array(path: str, option: str) -> np.ndarray:
    """The array of a `.npy` file that an option names."""
    try:
        return _mapped(Path(path))
    except ValueError as error:
        raise ValueError(f"{option} {error}") from error


def fingerprint(shards: list[Shard]) -> list[list]:
    """Names and sizes of the files: what another run must find again."""
    return [[os.fspath(shard.path), shard.path.stat().st_size] for shard in shards]


def _mapped(path: Path) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path}: not a .npy file, as np.save writes it: {error}") from error
    require(isinstance(array, np.ndarray), f"{path} must be a .npy file of one array", "several")
    return array
