"""Files that are written whole or not at all, and believed for what they hold."""

from __future__ import annotations

import json
import os
import stat
import threading

import numpy as np
import pytest

from ufm._system import files

ARRAYS = {"a": np.arange(6.0).reshape(2, 3), "b": np.array("word"), "c": np.zeros((0, 2), np.int8)}


def sealed(path, about, arrays, **options):
    with open(path, "wb") as file:
        files.write_sealed(file, about, arrays, **options)
    return path


def test_a_file_is_replaced_whole_or_stays(tmp_path):
    path = tmp_path / "file"
    for content in ("words of λ", b"bytes", lambda file: file.write(b"written")):
        files.write_whole(path, content)
    assert path.read_bytes() == b"written"

    def broken(file):
        file.write(b"half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        files.write_whole(path, broken)
    assert path.read_bytes() == b"written"
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_is_asked_for_before_work(tmp_path):
    path = tmp_path / "file"
    assert files.unwritable(path) is None
    path.write_text("old")
    assert files.unwritable(path) is None
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    assert files.unwritable(tmp_path) == "it is a folder"
    missing = tmp_path / "missing" / "file"
    said = "no file can be written there (No such file or directory)"
    assert files.unwritable(missing) == said
    with pytest.raises(ValueError, match="`there` must be the name of a file that can be written"):
        files.require_place("there", missing)


def test_a_file_may_be_read_by_those_whom_the_mask_allows(tmp_path):
    mask = os.umask(0o027)
    try:
        files.write_whole(tmp_path / "file", "x")
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_two_writers_of_one_file_leave_the_file_of_one(tmp_path):
    path, contents = tmp_path / "file", [bytes([i]) * 10_000 for i in range(4)]
    writers = [threading.Thread(target=files.write_whole, args=(path, c)) for c in contents]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert path.read_bytes() in contents
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("compress", [False, True])
def test_a_sealed_file_comes_back_to_the_last_bit(tmp_path, compress):
    about = {"figure": "x", "numbers": [0.1, None, float("nan")]}
    said, arrays = files.read_sealed(sealed(tmp_path / "x.npz", about, ARRAYS, compress=compress))
    assert said["numbers"][:2] == [0.1, None]
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array)


def test_a_sealed_file_is_the_same_bytes_at_any_time(tmp_path):
    paths = [sealed(tmp_path / name, {"figure": "x"}, ARRAYS) for name in ("x.npz", "y.npz")]
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda held: held.update(a=held["a"] + 0.0 * 1j), id="dtype"),
        pytest.param(lambda held: held.update(a=held["a"].reshape(3, 2)), id="shape"),
        pytest.param(lambda held: held.update(a=np.nextafter(held["a"], 9.0)), id="last-bit"),
        pytest.param(lambda held: held.update(d=held.pop("a")), id="name"),
        pytest.param(lambda held: held.pop("a"), id="dropped"),
        pytest.param(lambda held: held.update(d=np.zeros(1)), id="added"),
        pytest.param(lambda held: held.update(about=np.array("{}")), id="about"),
    ],
)
def test_a_sealed_file_that_was_changed_is_refused(tmp_path, change):
    path = sealed(tmp_path / "x.npz", {"figure": "x"}, ARRAYS)
    with np.load(path) as file:
        held = dict(file)
    change(held)
    np.savez(path, **held)
    with pytest.raises(ValueError, match="it has been changed since it was written"):
        files.read_sealed(path)


def test_a_document_is_sealed_as_json_reads_it():
    document = {"tuple": (1, 2), "number": 0.1, "nan": float("nan"), "word": "λ"}
    text = json.dumps(files.sealed_json(document), indent=1)
    assert files.checked_json(text)["tuple"] == [1, 2]
    for changed in (text.replace("0.1", "0.2"), text.replace("word", "Word")):
        with pytest.raises(ValueError, match="it has been changed since it was written"):
            files.checked_json(changed)
    for other in ("[]", '"x"', "{}"):
        with pytest.raises(ValueError, match="it does not say what it holds"):
            files.checked_json(other)
