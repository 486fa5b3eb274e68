"""What the primitives of JAX are in NumPy: name → function of arrays and of the primitive's
parameters.

Only what the library meets; `program` lets JAX do all others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

Operation = Callable[..., Any]


class NotOnHost(Exception):
    """This case of a primitive is left to JAX."""


def _integer_pow(x, *, y):
    if y == 2:
        return x * x
    return np.power(x, y) if y > 0 else 1 / np.power(x, -y)


def _broadcast(x, *, shape, broadcast_dimensions, **_):
    ones = [1] * len(shape)
    for axis, size in zip(broadcast_dimensions, np.shape(x), strict=True):
        ones[axis] = size
    return np.broadcast_to(np.reshape(x, ones), shape)


def _dot_general(x, y, *, dimension_numbers, preferred_element_type, **_):
    (left, right), (left_batch, right_batch) = dimension_numbers
    if left_batch or right_batch:
        raise NotOnHost
    if x.ndim <= 2 and y.ndim <= 2 and len(left) == len(right) == 1:
        product = (x.T if left[0] == 0 else x) @ (y if right[0] == 0 else y.T)
    else:
        product = np.tensordot(x, y, (left, right))
    return product.astype(preferred_element_type or x.dtype, copy=False)


def _select(which, *cases):
    if len(cases) != 2 or which.dtype != bool:
        raise NotOnHost
    return np.where(which, cases[1], cases[0])


def _slice(x, *, start_indices, limit_indices, strides):
    steps = strides or (1,) * len(start_indices)
    return x[tuple(map(slice, start_indices, limit_indices, steps))]


def _corner(starts, sizes, shape):
    corner = [
        min(max(int(start), 0), whole - size)
        for start, size, whole in zip(starts, sizes, shape, strict=True)
    ]
    return tuple(slice(at, at + size) for at, size in zip(corner, sizes, strict=True))


def _dynamic_slice(x, *starts, slice_sizes):
    return x[_corner(starts, slice_sizes, x.shape)]


def _dynamic_update_slice(x, update, *starts):
    out = np.array(x)
    out[_corner(starts, update.shape, x.shape)] = update
    return out


def _pad(x, value, *, padding_config):
    if any(low < 0 or high < 0 or inner for low, high, inner in padding_config):
        raise NotOnHost
    return np.pad(x, [pair[:2] for pair in padding_config], constant_values=value)


def _iota(*, dtype, shape, dimension, **_):
    line = np.arange(shape[dimension], dtype=dtype)
    return np.broadcast_to(
        line.reshape([-1 if axis == dimension else 1 for axis in range(len(shape))]), shape
    )


def _argument(function):
    def apply(x, *, axes, index_dtype):
        return function(x, axis=axes[0]).astype(index_dtype)

    return apply


def _reduction(function, lowest: Callable | None = None):
    def apply(x, *, axes, **_):
        # a maximum of nothing is what JAX says it is
        start = {} if lowest is None or x.size else {"initial": lowest(x.dtype)}
        return function.reduce(x, axis=axes, **start)

    return apply


def _minus_infinity(dtype):
    return -np.inf if np.issubdtype(dtype, np.floating) else np.iinfo(dtype).min


def _infinity(dtype):
    return np.inf if np.issubdtype(dtype, np.floating) else np.iinfo(dtype).max


def _grids(indices, axes, sizes, fixed, shape, *, clipped: bool):
    """Index arrays of an operand, one an axis: those of the windows that `indices` point to.

    The axes of the windows stand last.
    """
    kept = [axis for axis in range(len(shape)) if axis not in fixed]
    batch = indices.ndim - 1
    grids = []
    for axis, whole in enumerate(shape):
        grid = np.zeros((1,) * (batch + len(kept)), int)
        if axis in axes:
            start = indices[..., axes.index(axis)].astype(int)
            if clipped:
                start = np.clip(start, 0, whole - sizes[axis])
            elif np.any((start < 0) | (start > whole - sizes[axis])):
                raise NotOnHost
            grid = grid + start.reshape(start.shape + (1,) * len(kept))
        if axis in kept:
            line = [1] * (batch + len(kept))
            line[batch + kept.index(axis)] = sizes[axis]
            grid = grid + np.arange(sizes[axis]).reshape(line)
        grids.append(grid)
    return tuple(grids)


def _gather(x, indices, *, dimension_numbers, slice_sizes, mode, **_):
    numbers = dimension_numbers
    if numbers.operand_batching_dims:
        raise NotOnHost
    clipped = "CLIP" in str(mode)
    axes, fixed = list(numbers.start_index_map), numbers.collapsed_slice_dims
    grids = _grids(indices, axes, slice_sizes, fixed, x.shape, clipped=clipped)
    found = x[tuple(np.broadcast_arrays(*grids))]
    batch = indices.ndim - 1
    return np.moveaxis(found, range(batch, found.ndim), numbers.offset_dims)


def _scatter_add(x, indices, updates, *, dimension_numbers, mode, **_):
    numbers = dimension_numbers
    if numbers.operand_batching_dims:
        raise NotOnHost
    windows, fixed = numbers.update_window_dims, numbers.inserted_window_dims
    batch = updates.ndim - len(windows)
    updates = np.moveaxis(updates, windows, range(batch, updates.ndim))
    inner = iter(updates.shape[batch:])
    sizes = [1 if axis in fixed else next(inner) for axis in range(x.ndim)]
    axes = list(numbers.scatter_dims_to_operand_dims)
    out = np.array(x)
    np.add.at(out, _grids(indices, axes, sizes, fixed, x.shape, clipped=False), updates)
    return out


def _sort(*arrays, dimension, num_keys, **_):
    if num_keys != 1:
        raise NotOnHost
    order = np.argsort(arrays[0], axis=dimension, kind="stable")
    return [np.take_along_axis(array, order, axis=dimension) for array in arrays]


def _lu(matrix):
    """Elimination with the largest pivot of each column; pivots, and the rows' order."""
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise NotOnHost
    out, n = np.array(matrix), len(matrix)
    pivots, order = np.zeros(n, np.int32), np.arange(n, dtype=np.int32)
    for k in range(n):
        pivots[k] = p = k + int(np.argmax(np.abs(out[k:, k])))
        if p != k:
            out[[k, p]], order[[k, p]] = out[[p, k]], order[[p, k]]
        if out[k, k] != 0:
            out[k + 1 :, k] /= out[k, k]
        out[k + 1 :, k + 1 :] -= np.outer(out[k + 1 :, k], out[k, k + 1 :])
    return [out, pivots, order]


def _triangular_solve(a, b, *, left_side, lower, transpose_a, unit_diagonal, **_):
    if not left_side or a.ndim != 2 or transpose_a:
        raise NotOnHost
    out = np.array(b)
    rows = range(len(a)) if lower else reversed(range(len(a)))
    for i in rows:
        known = slice(None, i) if lower else slice(i + 1, None)
        out[i] -= a[i, known] @ out[known]
        if not unit_diagonal:
            out[i] /= a[i, i]
    return out


def _eigh(matrix, *, lower, subset_by_index, **_):
    if subset_by_index is not None or matrix.ndim != 2:
        raise NotOnHost
    values, vectors = np.linalg.eigh(matrix, "L" if lower else "U")
    return [vectors, values]


def _svd(matrix, *, full_matrices, compute_uv, subset_by_index, **_):
    if subset_by_index is not None or matrix.ndim != 2 or not np.all(np.isfinite(matrix)):
        raise NotOnHost
    if not compute_uv:
        return [np.linalg.svd(matrix, compute_uv=False)]
    U, s, V = np.linalg.svd(matrix, full_matrices=full_matrices)
    return [s, U, V]


def _platform_index(*, platforms):
    named = [i for i, names in enumerate(platforms) if names is not None and "cpu" in names]
    return np.int32(named[0] if named else list(platforms).index(None))


def _convert(x, *, new_dtype, **_):
    return x.astype(new_dtype, copy=False)


def _unchanged(x, **_):
    return x


def _reshape(x, *, new_sizes, dimensions, **_):
    if dimensions is not None:
        raise NotOnHost
    return x.reshape(new_sizes)


def _divide(x, y):
    if not np.issubdtype(x.dtype, np.floating):
        raise NotOnHost
    return x / y


def _plainly(function) -> Operation:
    return lambda *arrays, **_: function(*arrays)


_PLAIN = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": _divide, "max": np.maximum,
    "min": np.minimum, "pow": np.power, "neg": np.negative, "abs": np.abs, "exp": np.exp,
    "exp2": np.exp2, "expm1": np.expm1, "log": np.log, "log1p": np.log1p, "sqrt": np.sqrt,
    "tanh": np.tanh, "sin": np.sin, "cos": np.cos, "sign": np.sign, "floor": np.floor,
    "ceil": np.ceil, "square": np.square, "is_finite": np.isfinite, "eq": np.equal,
    "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater,
    "ge": np.greater_equal, "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor,
    "not": np.bitwise_not, "shift_right_arithmetic": np.right_shift, "select_n": _select,
    "nextafter": np.nextafter, "clamp": lambda low, x, high: np.minimum(np.maximum(x, low), high),
    "dynamic_update_slice": _dynamic_update_slice, "lu": _lu,
}  # fmt: skip
OPERATIONS: dict[str, Operation] = {
    **{name: _plainly(function) for name, function in _PLAIN.items()},
    "stop_gradient": _unchanged,
    "copy": _unchanged,
    "optimization_barrier": lambda *arrays, **_: list(arrays),
    "integer_pow": _integer_pow,
    "convert_element_type": _convert,
    "bitcast_convert_type": lambda x, *, new_dtype, **_: x.view(new_dtype),
    "broadcast_in_dim": _broadcast,
    "reshape": _reshape,
    "squeeze": lambda x, *, dimensions: np.squeeze(x, tuple(dimensions)),
    "transpose": lambda x, *, permutation: np.transpose(x, permutation),
    "rev": lambda x, *, dimensions: np.flip(x, dimensions),
    "stack": lambda *arrays, axis: np.stack(arrays, axis),
    "concatenate": lambda *arrays, dimension: np.concatenate(arrays, dimension),
    "reduce_sum": _reduction(np.add),
    "reduce_prod": _reduction(np.multiply),
    "reduce_max": _reduction(np.maximum, _minus_infinity),
    "reduce_min": _reduction(np.minimum, _infinity),
    "reduce_and": _reduction(np.logical_and),
    "reduce_or": _reduction(np.logical_or),
    "argmax": _argument(np.argmax),
    "argmin": _argument(np.argmin),
    "dot_general": _dot_general,
    "slice": _slice,
    "dynamic_slice": _dynamic_slice,
    "pad": _pad,
    "iota": _iota,
    "gather": _gather,
    "scatter-add": _scatter_add,
    "sort": _sort,
    "triangular_solve": _triangular_solve,
    "eigh": _eigh,
    "svd": _svd,
    "platform_index": _platform_index,
}


def by_jax(primitive, arrays, parameters) -> list[np.ndarray]:
    """A primitive as JAX does it, which may have to compile it."""
    with jax.default_device(jax.devices("cpu")[0]):
        found = primitive.bind(*jax.device_put(list(arrays)), **parameters)
    return [np.asarray(x) for x in (found if primitive.multiple_results else [found])]
