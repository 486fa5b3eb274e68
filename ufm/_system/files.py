"""Files that are believed for what they hold, not for their name: whole or not there, and checked.

A sealed file is an `.npz` file with two more arrays: "about", JSON that says what the others are,
and "seal", a hash of all of them. So no bit changes unnoticed, and arrays of two files cannot be
mixed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

_ABOUT, _SEAL, _NPY = "about", "seal", ".npy"


def write_whole(path: str | os.PathLike, content: bytes | str | Callable[[IO[bytes]], Any]) -> None:
    """A file that appears whole or not at all, on disk when this returns.

    Readers find the old or the new one.

    `content`: what is in it, or what writes that to a file.
    """
    target = Path(os.path.abspath(path))
    scratch = target.with_name(f"{target.name}.{secrets.token_hex(8)}.tmp")
    try:
        # unlike tempfile's, a file that others may read if the mask of the user says so
        with open(scratch, "xb") as file:
            if callable(content):
                content(file)
            else:
                file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(scratch)
        raise
    if hasattr(os, "O_DIRECTORY"):
        folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def unwritable(path: str | os.PathLike) -> str | None:
    """Why no file can be written under this name, None where one can; to be asked before work."""
    target = Path(os.path.abspath(path))
    if target.is_dir():
        return "it is a folder"
    scratch = target.with_name(f"{target.name}.{secrets.token_hex(8)}.tmp")
    try:
        with open(scratch, "xb"):
            pass
        os.unlink(scratch)
    except OSError as error:
        return f"no file can be written there ({error.strerror})"
    return None


def require_place(name: str, path: str | os.PathLike) -> None:
    """`ValueError` where no file can be written under this name."""
    fault = unwritable(path)
    if fault is not None:
        raise ValueError(
            f"`{name}` must be the name of a file that can be written; got {os.fspath(path)!r}: "
            f"{fault}"
        )


class NotAnArchive(ValueError):
    """The file is no `.npz` file, or half of one."""


class Archive:
    """An `.npz` file that is open: `names` of its arrays, read one by one, never unpickled."""

    def __init__(self, archive: zipfile.ZipFile):
        self._archive = archive
        self.names = tuple(name.removesuffix(_NPY) for name in archive.namelist())

    def read(self, name: str) -> np.ndarray:
        """An array; `ValueError` where it is damaged, or of objects.

        NumPy's own reader believes a header that promises fewer rows. What it leaves is asked for
        here, and at the end of an entry `zipfile` holds all of it against its checksum.
        """
        try:
            with self._archive.open(name + _NPY) as entry:
                array = np.lib.format.read_array(entry, allow_pickle=False)
                left = entry.read(1)
        # a damaged entry can fail in the reader of any part of it
        except Exception as error:
            raise ValueError(f"array {name!r}: {error}") from error
        if left:
            raise ValueError(f"array {name!r}: there is more than its header says")
        return array


@contextlib.contextmanager
def opened(path: str | os.PathLike) -> Iterator[Archive]:
    """The arrays of an `.npz` file.

    `NotAnArchive` where it is none, `OSError` where it cannot be opened.
    """
    with open(path, "rb") as file:
        try:
            archive = Archive(zipfile.ZipFile(file))
        except Exception as error:
            raise NotAnArchive(f"not an .npz file, as np.savez writes it: {error}") from error
        if len(set(archive.names)) < len(archive.names):
            raise NotAnArchive(f"several arrays of one name among {', '.join(archive.names)}")
        yield archive


def write_sealed(file: IO, about, arrays: Mapping[str, np.ndarray], *, compress=False) -> None:
    """A sealed file of these arrays. `about`: what JSON can hold."""
    everything = {_ABOUT: np.array(json.dumps(about)), **arrays}
    save: Any = np.savez_compressed if compress else np.savez
    save(file, **everything, **{_SEAL: np.array(seal_of(everything))})


def read_sealed(path: str | os.PathLike) -> tuple[Any, dict[str, np.ndarray]]:
    """What a sealed file says of its arrays, and the arrays.

    Raises `ValueError` for a file that is no sealed one or has been changed, `OSError` for one that
    cannot be opened.
    """
    with opened(path) as archive:
        if not {_ABOUT, _SEAL} <= set(archive.names):
            raise ValueError("it does not say what it holds")
        arrays = {name: archive.read(name) for name in archive.names}
    seal = str(arrays.pop(_SEAL))
    if seal != seal_of(arrays):
        raise ValueError("it has been changed since it was written")
    return json.loads(str(arrays.pop(_ABOUT))), arrays


def seal_of(arrays: Mapping[str, np.ndarray]) -> str:
    """A hash of names, dtypes, shapes and contents."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.asarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape} ".encode() + array.tobytes())
    return digest.hexdigest()


def sealed_json(document: Mapping[str, Any]) -> dict[str, Any]:
    """A document for a JSON file, with a hash of what it says."""
    plain = json.loads(json.dumps(document))
    return plain | {_SEAL: _seal_of_json(plain)}


def checked_json(text: str) -> dict[str, Any]:
    """A document from the text of `sealed_json`, without the hash.

    `ValueError` for any other text.
    """
    document = json.loads(text)
    if not isinstance(document, dict) or _SEAL not in document:
        raise ValueError("it does not say what it holds")
    seal = document.pop(_SEAL)
    if seal != _seal_of_json(document):
        raise ValueError("it has been changed since it was written")
    return document


def _seal_of_json(document: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
