"""Random numbers on the host: those that `jax.random` draws from the same key, without a program
to compile.

Half of the kernels of a small solve were those of its random start.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import jax
import jax.core
import numpy as np
from jaxtyping import Array, PRNGKeyArray
from jaxtyping import Key as KeyArray

Key = tuple[int, int]

_ROTATIONS = (13, 15, 26, 6), (17, 29, 16, 24)
_PARITY, _MASK = 0x1BD11BDA, 0xFFFFFFFF
_WORD = np.uint64(32)
# As constants of their own type: a number of Python's is converted at every call.
_TURNS = [[(np.uint32(turn), np.uint32(32 - turn)) for turn in group] for group in _ROTATIONS]
# Numbers that are drawn here, in 40 ms. What more are drawn for takes longer than to compile.
LARGEST_ON_HOST = 200_000
_quantile = NormalDist().inv_cdf


def host_key(key: PRNGKeyArray) -> Key | None:
    """What the key holds.

    None where it is traced, or draws otherwise than `jax.random.key` does by default.
    """
    if not _drawn_by_default(key):
        return None
    first, second = np.asarray(jax.random.key_data(key)).tolist()
    return first, second


def host_keys(keys: KeyArray[Array, " B"]) -> list[Key] | None:
    """`host_key` of each of (B,) keys."""
    if not _drawn_by_default(keys):
        return None
    return [(first, second) for first, second in np.asarray(jax.random.key_data(keys)).tolist()]


def _drawn_by_default(key: PRNGKeyArray | KeyArray[Array, " B"]) -> bool:
    """Whether it is known here, and draws as `jax.random.key` does by default."""
    if isinstance(key, jax.core.Tracer) or not jax.config.values["jax_threefry_partitionable"]:
        return False
    return key.dtype.name == "key<fry>"


def split(key: Key, number: int) -> list[Key]:
    """`jax.random.split`."""
    return [_threefry_of_one(key, count) for count in range(number)]


def fold_in(key: Key, number: int) -> Key:
    """`jax.random.fold_in`, of a number below 2**32."""
    return _threefry_of_one(key, number)


def uniform(key: Key, shape: tuple[int, ...], dtype, low, high) -> np.ndarray:
    """`jax.random.uniform`, bit by bit."""
    return _uniform(_threefry([key], [math.prod(shape)]), dtype, low, high).reshape(shape)


def normals(keys: Sequence[Key], shapes: Sequence[tuple[int, ...]], dtype) -> list[np.ndarray]:
    """`jax.random.normal` of several keys and shapes, to rounding."""
    sizes = [math.prod(shape) for shape in shapes]
    above_minus_one = np.nextafter(np.asarray(-1, dtype), np.asarray(0, dtype))
    u = _uniform(_threefry(keys, sizes), dtype, above_minus_one, 1.0).astype(np.float64)
    drawn = np.array(list(map(_quantile, (0.5 + 0.5 * u).tolist())), dtype)
    ends = np.cumsum(sizes).tolist()
    return [
        drawn[end - size : end].reshape(shape)
        for end, size, shape in zip(ends, sizes, shapes, strict=True)
    ]


def normal(key: PRNGKeyArray, shape: tuple[int, ...], dtype) -> Array | np.ndarray:
    """`jax.random.normal` to rounding: a NumPy array where the key can be read and numbers are few,
    which are drawn here sooner than compiled."""
    # (a key that is known is read while other numbers are traced, too)
    with jax.ensure_compile_time_eval():
        held = host_key(key) if math.prod(shape) <= LARGEST_ON_HOST else None
    if held is None:
        return jax.random.normal(key, shape, dtype)
    return normals([held], [shape], dtype)[0]


def _uniform(words: tuple[np.ndarray, np.ndarray], dtype, low, high) -> np.ndarray:
    first, second = words
    kind = np.finfo(dtype)
    bits = first.astype(np.uint64) << _WORD | second if kind.bits == 64 else first ^ second
    one = np.ones((), dtype)
    # random digits after the point of a number from 1 to 2
    digits = bits >> bits.dtype.type(kind.bits - kind.nmant) | one.view(bits.dtype)
    least, most = np.asarray(low, dtype), np.asarray(high, dtype)
    return np.maximum(least, (digits.view(dtype) - one) * (most - least) + least)


def _threefry(keys: Sequence[Key], sizes: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Threefry-2x32 with 20 rounds of the numbers from 0 on (Salmon et al. 2011), under several
    keys at once, one after the other."""
    table = np.array([(a, b, a ^ b ^ _PARITY) for a, b in keys], np.uint32)
    words = np.repeat(table, sizes, axis=0).T.copy()
    counts = np.arange(max(sizes), dtype=np.uint32)
    x, y = words[0].copy(), np.concatenate([counts[:size] for size in sizes])
    y += words[1]
    left, right = np.empty_like(y), np.empty_like(y)
    for group in range(5):
        for turn, rest in _TURNS[group % 2]:
            x += y
            np.left_shift(y, turn, out=left)
            np.right_shift(y, rest, out=right)
            np.bitwise_or(left, right, out=y)
            y ^= x
        x += words[(group + 1) % 3]
        y += words[(group + 2) % 3]
        y += np.uint32(group + 1)
    return x, y


def _threefry_of_one(key: Key, count: int) -> Key:
    """The same of one number, for which arrays are slow."""
    words = (*key, key[0] ^ key[1] ^ _PARITY)
    x, y = words[0], count + words[1] & _MASK
    for group in range(5):
        for turn in _ROTATIONS[group % 2]:
            x = x + y & _MASK
            y = x ^ (y << turn & _MASK | y >> 32 - turn)
        x = x + words[(group + 1) % 3] & _MASK
        y = y + words[(group + 2) % 3] + group + 1 & _MASK
    return x, y
