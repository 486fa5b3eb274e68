"""Random numbers on the host: those that `jax.random` draws from the same key, without a program
to compile.

Half of the kernels of a small solve were those of its random start.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import jax
import jax.core
import numpy as np
from jaxtyping import PRNGKeyArray

Key = np.ndarray

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = np.uint32(0x1BD11BDA)
_HALF = np.uint64(32)


def host_key(key: PRNGKeyArray) -> Key | None:
    """What the key holds.

    None where it is traced, or draws otherwise than `jax.random.key` does by default.
    """
    if isinstance(key, jax.core.Tracer) or not jax.config.values["jax_threefry_partitionable"]:
        return None
    if str(jax.random.key_impl(key)) not in ("threefry2x32", "fry"):
        return None
    return np.asarray(jax.random.key_data(key))


def split(key: Key, number: int) -> list[Key]:
    """`jax.random.split`."""
    return list(np.stack(_threefry(key, number), axis=1))


def uniform(key: Key, shape: tuple[int, ...], dtype, low, high) -> np.ndarray:
    """`jax.random.uniform`, bit by bit."""
    kind = np.finfo(dtype)
    first, second = _threefry(key, math.prod(shape))
    bits = first ^ second
    if kind.bits == 64:
        bits = first.astype(np.uint64) << _HALF | second
    one = np.ones((), dtype)
    # random digits after the point of a number from 1 to 2
    digits = bits >> bits.dtype.type(kind.bits - kind.nmant) | one.view(bits.dtype)
    least, most = (np.asarray(end, dtype) for end in (low, high))
    return np.maximum(least, (digits.view(dtype) - one) * (most - least) + least).reshape(shape)


def normal(key: Key, shape: tuple[int, ...], dtype) -> np.ndarray:
    """`jax.random.normal`, to rounding."""
    above_minus_one = np.nextafter(np.asarray(-1, dtype), np.asarray(0, dtype))
    u = uniform(key, shape, dtype, above_minus_one, 1.0).astype(np.float64)
    quantile = NormalDist().inv_cdf
    drawn = np.fromiter((quantile(p) for p in (0.5 + 0.5 * u).ravel().tolist()), float, u.size)
    return drawn.astype(dtype).reshape(shape)


def _threefry(key: Key, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Threefry-2x32 with 20 rounds of the numbers from 0 on (Salmon et al. 2011)."""
    counts = np.arange(number, dtype=np.uint64)
    keys = (key[0], key[1], key[0] ^ key[1] ^ _PARITY)
    x = (counts >> _HALF).astype(np.uint32) + keys[0]
    y = counts.astype(np.uint32) + keys[1]
    for group in range(5):
        for turn in _ROTATIONS[group % 2]:
            x = x + y
            y = x ^ (y << np.uint32(turn) | y >> np.uint32(32 - turn))
        x = x + keys[(group + 1) % 3]
        # as an array, in which sums wrap around without a word
        y = y + keys[(group + 2) % 3] + np.full(1, group + 1, np.uint32)
    return x, y
