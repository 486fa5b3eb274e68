"""The results of all lanes as one `xarray.Dataset`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ufm.solution import Result
from ufm.sweeping.looks import Arrays

# Names of the dimensions that one lane's variables have.
_INNER = {
    "trajectory": ("t",),
    "logits": ("class", "column"),
    "logits_bias": ("class",),
    "params_features": ("feature", "column"),
    "params_bias": ("class",),
}

# What a chunk says of itself and not of its lanes.
_ABOUT = ("lane", "seconds")


def dataset_of(manifest: Mapping[str, Any], chunks: Mapping[int, Arrays], missing: Result):
    """The results of a sweep with its dimensions.

    Parameters
    ----------
    manifest
        What describes the sweep.
    chunks
        Number → results and their lanes.
    missing
        The code of lanes of chunks that are not there; else they are NaN (0 for counts).

    Returns
    -------
    xarray.Dataset
        With the swept names as coordinates.
    """
    import xarray

    shape, dims = tuple(manifest["shape"]), tuple(manifest["dims"])
    names = dict.fromkeys(("value", "code")) | dict.fromkeys(
        name for arrays in chunks.values() for name in arrays
    )
    for name in _ABOUT:
        names.pop(name, None)
    variables = {}
    for name in names:
        parts = [(arrays["lane"], arrays[name]) for arrays in chunks.values() if name in arrays]
        flat = _scattered(
            int(np.prod(shape, dtype=int)),
            parts,
            missing=missing if name == "code" else None,
            dtype=manifest["dtype"],
        )
        inner = flat.shape[1:]
        variables[name] = (
            (*dims, *_inner(name, len(inner), manifest)),
            flat.reshape(*shape, *inner),
        )
    data = xarray.Dataset(variables, attrs={name: manifest[name] for name in manifest["attrs"]})
    coordinates: dict[str, Any] = {}
    for name, described in manifest["coordinates"].items():
        values, dim = np.asarray(described["values"]), described["dim"]
        if described["text"] and dim == name:
            # a dimension is labelled by numbers or words; what cannot be either is numbered, and
            # told beside
            coordinates[name] = np.arange(len(values))
            coordinates[f"{name}_values"] = (dim, values)
        else:
            coordinates[name] = (dim, values)
    if manifest["ts"] is not None:
        coordinates["t"] = np.asarray(manifest["ts"], float)
    data = data.assign_coords(coordinates)
    # (stores of before have none)
    for name, words in manifest.get("long_names", {}).items():
        data[name].attrs["long_name"] = words
    return data


def _inner(name: str, rank: int, manifest) -> tuple[str, ...]:
    if rank == 1 and manifest["ts"] is not None and name not in _INNER:
        return ("t",)
    if name in _INNER:
        return _INNER[name]
    return tuple(f"{name}_{axis}" for axis in ("row", "column", *range(2, rank))[:rank])


def _scattered(
    number: int, parts: list[tuple[np.ndarray, np.ndarray]], *, missing: Result | None, dtype: str
) -> np.ndarray:
    """One array over all lanes; lanes of smaller shapes are filled up with NaN."""
    inner = (
        tuple(max(sizes) for sizes in zip(*(array.shape[1:] for _, array in parts), strict=True))
        if parts
        else ()
    )
    kind = (
        np.result_type(*(array.dtype for _, array in parts))
        if parts
        else np.dtype(np.int8 if missing is not None else dtype)
    )
    fill = int(missing) if missing is not None else np.nan if kind.kind == "f" else 0
    out = np.full((number, *inner), fill, kind)
    for lanes, array in parts:
        out[(lanes, *(slice(size) for size in array.shape[1:]))] = array
    return out


def counted(data, *, seconds: float):
    """The dataset with the attributes that are counted at the end.

    `complete` is 1 where every lane was solved and its result is here.
    """
    codes = np.ravel(data["code"].values)
    unfinished = np.isin(codes, (int(Result.RUNNING), int(Result.INTERRUPTED)))
    ok = np.isin(codes, [int(result) for result in Result if result.ok])
    done = int(codes.size - unfinished.sum())
    data.attrs |= {
        "complete": int(done == codes.size),
        "lanes": int(codes.size),
        "done": done,
        "failed": int((~ok & ~unfinished).sum()),
        "seconds": seconds,
        "lanes_per_second": done / seconds if seconds > 0 else float("nan"),
    }
    return data
