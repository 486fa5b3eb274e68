"""Features from a file: their shape, their order, and what is refused."""

from __future__ import annotations

import warnings
import zipfile

import jax
import numpy as np
import pytest

import ufm
from ufm.analysis.loading import load_features
from ufm.flows import flow, start_from_features

N, D = 10, 4
CLASSES = np.array([2, 0, 1, 1, 0, 2, 2, 1, 1, 2])
ROWS = np.random.default_rng(0).standard_normal((N, D))


def write(path, **arrays):
    np.savez(path / "features.npz", **arrays)
    return path / "features.npz"


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.int32])
@pytest.mark.parametrize("labels_dtype", [np.int64, np.uint8])
def test_columns_are_grouped_by_class(dtype, labels_dtype, tmp_path):
    rows = (10 * ROWS).astype(dtype)
    loaded = load_features(write(tmp_path, features=rows, labels=CLASSES.astype(labels_dtype)))
    assert loaded.features.dtype == loaded.labels.targets.dtype == np.float64
    np.testing.assert_array_equal(loaded.labels.class_index, np.sort(CLASSES))
    np.testing.assert_array_equal(loaded.labels.class_counts, [2, 4, 4])
    np.testing.assert_array_equal(loaded.order, [1, 4, 2, 3, 7, 8, 0, 5, 6, 9])
    np.testing.assert_array_equal(loaded.features.T, rows[loaded.order].astype(float))
    np.testing.assert_allclose(
        ufm.labels.collapse(loaded.labels, loaded.features)[:, 1],
        rows[CLASSES == 1].astype(float).mean(0),
        rtol=1e-14,
    )


def test_other_keys_and_dtype(tmp_path):
    path = write(tmp_path, h=ROWS, y=CLASSES, more=np.array([object()], dtype=object))
    loaded = load_features(str(path), features="h", labels="y", num_classes=3, dtype=np.float32)
    assert loaded.features.dtype == loaded.labels.targets.dtype == np.float32


def test_it_is_printed_in_a_line(tmp_path):
    loaded = load_features(write(tmp_path, features=ROWS, labels=CLASSES))
    assert str(loaded) == "LoadedFeatures: 10 samples of 3 classes (2, 4, 4), d = 4, float64"


def test_an_anchor_and_a_start_for_flow_and_minimise(tmp_path):
    features, labels, _ = load_features(write(tmp_path, features=ROWS, labels=CLASSES))
    problem = ufm.Problem(
        labels,
        loss=ufm.MeanSquaredError(),
        widths=(D,),
        lambda_W=1e-2,
        lambda_H=1e-3,
        anchor=features,
        beta=0.1,
        bias="free",
    )
    start = start_from_features(problem, features)
    solution = ufm.minimise(problem, start=start)
    assert solution.result is ufm.Result.CONVERGED
    trajectory = flow(problem, ts=[0.0, 1e5], start=start)
    assert trajectory.result is ufm.Result.STEADY_STATE
    np.testing.assert_array_equal(trajectory.params.features[0], features)
    np.testing.assert_allclose(trajectory.value[-1], solution.value, rtol=1e-11)
    random = start_from_features(problem, features, key=jax.random.key(0))
    np.testing.assert_allclose(
        ufm.minimise(problem, start=random).value, solution.value, rtol=1e-11
    )


@pytest.mark.parametrize(
    ("changes", "arguments", "message"),
    [
        pytest.param(
            {"labels": None},
            {},
            r"`labels` must name an array of the file, which has features; got 'labels'",
            id="key",
        ),
        pytest.param(
            {},
            {"features": "h"},
            r"`features` must name an array of the file, .*; got 'h'",
            id="other-key",
        ),
        pytest.param(
            {"features": ROWS[0]},
            {},
            r"`features` must have shape \(N, d\), one sample a row; got \(4,\)",
            id="vector",
        ),
        pytest.param(
            {"features": ROWS[:0], "labels": CLASSES[:0]},
            {},
            r"`features` must have shape \(N, d\)",
            id="empty",
        ),
        pytest.param(
            {"features": ROWS.T},
            {},
            r"`labels` must have shape \(4,\), one class for each row",
            id="transposed",
        ),
        pytest.param(
            {"features": ROWS + 1j},
            {},
            "`features` must hold real numbers; got complex128",
            id="complex",
        ),
        pytest.param(
            {"features": ROWS.astype(str)},
            {},
            "`features` must hold real numbers; got <U",
            id="text",
        ),
        pytest.param(
            {"features": np.zeros((N, D), "V2")},
            {},
            r"real numbers \(bfloat16, which .*float32 before\); got \|V2",
            id="bfloat16",
        ),
        pytest.param(
            {"features": np.zeros((N, D), "V4")},
            {},
            r"`features` must hold real numbers; got \|V4",
            id="bytes",
        ),
        pytest.param(
            {"labels": CLASSES.astype(str)},
            {},
            "`labels` must be whole numbers .* got <U",
            id="words",
        ),
        pytest.param(
            {"features": np.where(ROWS > 1.2, np.nan, ROWS)},
            {},
            "`features` must be finite; rows that are not; got",
            id="nan",
        ),
        pytest.param(
            {"features": 1e300 * ROWS},
            {"dtype": np.float32},
            "`features` must be finite as float32",
            id="overflow",
        ),
        pytest.param(
            {"features": ROWS.astype(object)},
            {},
            "`features` must be a whole array of numbers that",
            id="pickle",
        ),
        pytest.param(
            {"labels": CLASSES[:, None]}, {}, r"`labels` must have shape \(10,\)", id="labels-shape"
        ),
        pytest.param(
            {"labels": CLASSES.astype(float)},
            {},
            "`labels` must be whole numbers .* got float64",
            id="float-labels",
        ),
        pytest.param({"labels": CLASSES - 1}, {}, "`labels` must be >= 0; got -1", id="negative"),
        pytest.param(
            {"labels": 0 * CLASSES},
            {},
            "`labels` must hold at least two classes; got 1",
            id="one-class",
        ),
        pytest.param({"labels": CLASSES + 1}, {}, r"classes without one; got \[0\]", id="from-one"),
        pytest.param(
            {"labels": 10**12 * CLASSES},
            {},
            "10 samples cannot fill this many classes",
            id="huge-labels",
        ),
        pytest.param(
            {}, {"num_classes": 2}, "`labels` must be below `num_classes` = 2; got 2", id="too-few"
        ),
        pytest.param({}, {"num_classes": 4}, r"classes without one; got \[3\]", id="too-many"),
    ],
)
def test_bad_files(changes, arguments, message, tmp_path):
    arrays = {
        name: array
        for name, array in ({"features": ROWS, "labels": CLASSES} | changes).items()
        if array is not None
    }
    with pytest.raises(ValueError, match=message):
        load_features(write(tmp_path, **arrays), **arguments)


def test_not_an_npz(tmp_path):
    np.save(tmp_path / "a.npy", ROWS)
    (tmp_path / "b.npz").write_text("no archive", encoding="utf-8")
    whole = write(tmp_path, features=ROWS, labels=CLASSES).read_bytes()
    (tmp_path / "half.npz").write_bytes(whole[: len(whole) // 2])
    with zipfile.ZipFile(tmp_path / "twice.npz", "w") as twice, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(2):
            twice.writestr("features.npy", b"")
    for name in ("a.npy", "b.npz", "half.npz", "twice.npz", "."):
        with pytest.raises(ValueError, match=r"`path` must be an \.npz file"):
            load_features(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        load_features(tmp_path / "none.npz")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_damaged_file_is_never_read_as_another(save, tmp_path):
    path = tmp_path / "features.npz"
    save(path, features=ROWS, labels=CLASSES)
    content, right = path.read_bytes(), load_features(path)
    for place in range(0, len(content), 3):
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        path.write_bytes(changed)
        # a change that says nothing (a date in the archive) may pass, with what was there
        try:
            read = load_features(path)
        except ValueError:
            continue
        np.testing.assert_array_equal(read.features, right.features)
        np.testing.assert_array_equal(read.order, right.order)


def test_a_header_that_promises_fewer_rows_is_refused(tmp_path):
    path = write(tmp_path, features=ROWS, labels=CLASSES)
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    entries["features.npy"] = entries["features.npy"].replace(b"(10, 4)", b"(9, 4) ")
    with zipfile.ZipFile(path, "w") as archive:
        for name, entry in entries.items():
            archive.writestr(name, entry)
    with pytest.raises(
        ValueError, match=r"`features` must be a whole array .* there is more than its header says"
    ):
        load_features(path)
