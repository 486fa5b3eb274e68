"""A folder with what a sweep has found, chunk by chunk: each file is whole or not there, and several processes may fill one store.

`manifest.json` says what the sweep is; `chunks/000000.npz` and so on hold the results of some lanes each; `locks/` says who works on what,
and forgets it when a process dies.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ufm._validate import require

FORMAT = 1
# What two manifests must agree on, with the words for it.
_SAME = {
    "format": "format of the store",
    "ufm": "version of ufm",
    "dtype": "dtype",
    "definition": "definition of the sweep (problems, seeds, key, solver, tolerances or what is reported)",
}


class Store:
    """A store that exists. `manifest` is what its file says."""

    def __init__(self, path, manifest: Mapping[str, Any]):
        self.path, self.manifest = Path(path), dict(manifest)

    @classmethod
    def enter(cls, path, manifest: Mapping[str, Any]) -> Store:
        """Begin a store with this manifest, or join the one that is there; `ValueError` where that belongs to another sweep."""
        path = Path(path)
        require(not path.exists() or path.is_dir(), "`store` must be a folder, or not exist", path)
        with contextlib.ExitStack() as held:
            (path / "locks").mkdir(parents=True, exist_ok=True)
            (path / "chunks").mkdir(exist_ok=True)
            held.enter_context(_lock(path / "locks" / "manifest.lock", timeout=-1))
            if not (path / "manifest.json").exists():
                write(path / "manifest.json", json.dumps(manifest, indent=1, allow_nan=True).encode())
            store = cls.open(path)
        for name, words in _SAME.items():
            require(
                store.manifest.get(name) == manifest[name],
                f"`store` must belong to this sweep or not exist, but {path} has another {words}, and this sweep's is {manifest[name]!r}",
                repr(store.manifest.get(name)),
            )
        return store

    @classmethod
    def open(cls, path) -> Store:
        """A store that is there; `ValueError` where there is none, or one of another format."""
        file = Path(path) / "manifest.json"
        require(file.is_file(), "`store` must be the folder of a sweep", path)
        try:
            manifest = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"`store` must have a readable manifest; got {file}: {error}") from error
        require(manifest.get("format") == FORMAT, f"`store` must have format {FORMAT}", manifest.get("format"))
        return cls(path, manifest)

    def file(self, chunk: int) -> Path:
        """Where the results of a chunk are, or will be."""
        return self.path / "chunks" / f"{chunk:06d}.npz"

    def read(self, chunk: int) -> dict[str, np.ndarray] | None:
        """The results of a chunk, None where it has none."""
        try:
            with np.load(self.file(chunk), allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files}
        except FileNotFoundError:
            return None
        except (ValueError, zipfile.BadZipFile, EOFError, OSError) as error:
            raise ValueError(
                f"`store` must have readable chunks; delete {self.file(chunk)} to have it computed again; got {error}"
            ) from error

    def write(self, chunk: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Keep the results of a chunk."""
        # the names are those of variables, none of which is `allow_pickle`
        write(self.file(chunk), lambda file: np.savez(file, **arrays))  # pyright: ignore[reportArgumentType]

    @contextlib.contextmanager
    def claim(self, chunk: int) -> Iterator[bool]:
        """Whether this process may work on a chunk that is not done yet. Nobody else does, for as long as the context lasts."""
        import filelock

        lock = _lock(self.path / "locks" / f"{chunk:06d}.lock", timeout=0)
        try:
            lock.acquire()
        except filelock.Timeout:
            yield False
            return
        try:
            # somebody may have finished it between the look at the folder and the lock
            free = not self.file(chunk).exists()
            if free:
                # what a killed process left half-written; nobody else writes this chunk now
                for remnant in self.path.glob(f"chunks/{self.file(chunk).name}*.tmp"):
                    remnant.unlink()
            yield free
        finally:
            lock.release()


def write(path: Path, content) -> None:
    """A file that appears whole or not at all, on disk when this returns. `content`: bytes, or what writes them to a file."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            content(file) if callable(content) else file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp lets nobody else read
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    if hasattr(os, "O_DIRECTORY"):
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _lock(path: Path, *, timeout: float):
    import filelock

    return filelock.FileLock(path, timeout=timeout, thread_local=False)
