"""A folder with what a sweep has found, chunk by chunk.

Each file is whole or not there, and several processes may fill one store.

`manifest.json` says what the sweep is; `chunks/000000.npz` and so on hold the results of some lanes
each; `locks/` says who works on what, and forgets it when a process dies. No file is believed by
its name: a chunk says of which sweep, version and lanes it is, and is refused where that is not
what the manifest plans for it, or where a bit of it has changed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ufm._system.files import checked_json, read_sealed, sealed_json, write_sealed, write_whole
from ufm._validate import require
from ufm.solution import Result

FORMAT = 3
# What two manifests must agree on, with the words for it.
_SAME = {
    "format": "format of the store",
    "ufm": "version of ufm",
    "dtype": "dtype",
    "definition": "definition of the sweep (problems, seeds, key, solver, tolerances or what is "
    "reported)",
}
# What no lane of a chunk that is done can be.
_UNFINISHED = (Result.RUNNING, Result.INTERRUPTED)


def plan_of(lanes: np.ndarray) -> dict[str, Any]:
    """What a manifest says of a chunk: how many lanes, and which, as a hash."""
    lanes = np.ascontiguousarray(lanes, np.int64)
    return {"lanes": len(lanes), "which": hashlib.sha256(lanes.tobytes()).hexdigest()}


def _other_values(kept: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Which swept names have other values, and how points are added, in words."""
    there, here = (manifest.get("coordinates", {}) for manifest in (kept, wanted))
    names = [name for name in here if name in there and there[name] != here[name]]
    if not names or there.keys() != here.keys():
        return ""
    return (
        f": other values of {', '.join(names)} (sweep over new values alone, in a store of their "
        "own, and join both by xarray.concat)"
    )


class Store:
    """A store that exists. `manifest` is what its file says."""

    def __init__(self, path, manifest: Mapping[str, Any]):
        self.path, self.manifest = Path(path), dict(manifest)

    @classmethod
    def enter(cls, path, manifest: Mapping[str, Any]) -> Store:
        """Begin a store with this manifest, or join the one that is there.

        Parameters
        ----------
        path
            A folder, or where one can be made.
        manifest
            What describes the sweep.

        Returns
        -------
        Store
            With the manifest of its first call.

        Raises
        ------
        ValueError
            Where the store belongs to another sweep, or is none.
        """
        path = Path(path)
        require(not path.exists() or path.is_dir(), "`store` must be a folder, or not exist", path)
        with contextlib.ExitStack() as held:
            (path / "locks").mkdir(parents=True, exist_ok=True)
            (path / "chunks").mkdir(exist_ok=True)
            held.enter_context(_lock(path / "locks" / "manifest.lock", timeout=-1))
            if not (path / "manifest.json").exists():
                write_whole(path / "manifest.json", json.dumps(sealed_json(manifest), indent=1))
            store = cls.open(path)
        for name, words in _SAME.items():
            require(
                store.manifest.get(name) == manifest[name],
                f"`store` must belong to this sweep or not exist, but {path} has another "
                f"{words}{_other_values(store.manifest, manifest)}, and this sweep's is "
                f"{manifest[name]!r}",
                repr(store.manifest.get(name)),
            )
        return store

    @classmethod
    def open(cls, path, *, name: str = "store") -> Store:
        """A store that is there.

        Parameters
        ----------
        path
            Its folder.
        name
            Of the argument, for messages.

        Returns
        -------
        Store
            Read only by what one does with it.

        Raises
        ------
        ValueError
            Where there is none, or one of another format.
        """
        file = Path(path) / "manifest.json"
        require(file.is_file(), f"`{name}` must be the folder of a sweep", path)
        text = file.read_text(encoding="utf-8", errors="replace")
        try:
            read = json.loads(text)
            number = read.get("format") if isinstance(read, dict) else None
            manifest = checked_json(text) if number == FORMAT else {}
        except ValueError as error:
            raise ValueError(
                f"`store` must have a readable manifest; got {file}: {error}"
            ) from error
        require(manifest, f"`store` must have format {FORMAT}", number)
        return cls(path, manifest)

    def file(self, chunk: int) -> Path:
        """Where the results of a chunk are, or will be."""
        return self.path / "chunks" / f"{chunk:06d}.npz"

    def read(self, chunk: int) -> dict[str, np.ndarray] | None:
        """The results of a chunk, None where it has none.

        `ValueError` for a file that holds anything else.
        """
        try:
            about, arrays = read_sealed(self.file(chunk))
            fault = self._fault(chunk, about, arrays)
        except FileNotFoundError:
            return None
        except (ValueError, OSError) as error:
            fault, arrays = str(error), {}
        require(
            fault is None,
            f"`store` must hold its own chunks, whole; delete {self.file(chunk)} to have it "
            f"computed again",
            fault,
        )
        return arrays

    def write(self, chunk: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Keep the results of a chunk, whole or not at all.

        Parameters
        ----------
        chunk
            Its number.
        arrays
            Name → results of its lanes.
        """
        about = self._about(chunk)
        fault = self._fault(chunk, about, arrays)
        assert fault is None, fault
        write_whole(self.file(chunk), lambda file: write_sealed(file, about, arrays))

    def _about(self, chunk: int) -> dict[str, Any]:
        return {"chunk": chunk} | {name: self.manifest[name] for name in _SAME}

    def _fault(self, chunk: int, about: Any, arrays: Mapping[str, np.ndarray]) -> str | None:
        """Why these are not the results of a chunk, None where they are."""
        wanted = self._about(chunk)
        if not isinstance(about, dict) or about.keys() != wanted.keys():
            return "a file that is no chunk of a sweep"
        for name, words in _SAME.items():
            if about[name] != wanted[name]:
                return f"a chunk of another {words}: {about[name]!r}"
        if about["chunk"] != chunk:
            return f"chunk {about['chunk']} under the name of chunk {chunk}"
        plan = self.manifest["plan"][chunk]
        if not arrays.keys() >= {"lane", "code", "value"} or plan_of(arrays["lane"]) != plan:
            return "results of other lanes"
        short = [
            name
            for name, array in arrays.items()
            if name != "seconds" and array.shape[:1] != (plan["lanes"],)
        ]
        if short:
            return f"no result of each of its {plan['lanes']} lanes in {', '.join(short)}"
        if not np.isin(arrays["code"], [code for code in Result if code not in _UNFINISHED]).all():
            return "lanes that were not solved to an end"
        return None

    @contextlib.contextmanager
    def claim(self, chunk: int) -> Iterator[bool]:
        """Whether this process may work on a chunk that is not done yet.

        Nobody else does, for as long as the context lasts.
        """
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


def _lock(path: Path, *, timeout: float):
    import filelock

    return filelock.FileLock(path, timeout=timeout, thread_local=False)
