"""The name of the stationary point that a solver reached."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ufm.optima.optimum import Optimum, Spectrum
from ufm.tolerances import Tolerances


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """A solution at class level, in float64 on the host; `nonnegative` if its features must be."""

    weights: list[np.ndarray]
    means: np.ndarray
    classifier: np.ndarray
    product: np.ndarray
    bias: np.ndarray | None
    value: float
    spread: float
    balance: float
    value_tolerance: float
    nonnegative: bool


def name_of(measured: Measured, optimum: Optimum, tolerances: Tolerances, *, agrees: bool) -> str:
    """Which of the stationary points of the decoupled problem this is.

    Parameters
    ----------
    measured, optimum
        What is compared.
    tolerances
        Of the dtype; those of a branch decide.
    agrees
        Whether every quantity is as predicted.

    Returns
    -------
    str
        In words, with the excess of its value.
    """
    if agrees:
        return "global optimum"
    excess = measured.value - optimum.value
    if excess < -measured.value_tolerance * abs(optimum.value):
        return (
            f"a point below the predicted optimum, so the prediction is not one (by {-excess:.1e})"
        )
    spectrum = optimum.spectrum
    by_how_much = f"value excess {excess:.1e}"
    if spectrum is None:
        return f"not the predicted optimum ({by_how_much})"
    kinds = _kinds(measured, optimum, spectrum, tolerances.branch)
    if kinds is None:
        return f"not one of the decoupled stationary points ({by_how_much})"
    near = abs(excess) <= tolerances.branch * abs(optimum.value)
    # signs can hold a point from which other features lead down
    saddle = "a saddle or a local minimum" if measured.nonnegative else "a saddle"
    return _words(
        spectrum, kinds, by_how_much, saddle=saddle, near=near, tolerance=tolerances.branch
    )


def _kinds(
    measured: Measured, optimum: Optimum, spectrum: Spectrum, tolerance: float
) -> np.ndarray | None:
    """As `_match` has them, where spread and value are those of such a point too."""
    if not measured.spread <= tolerance * optimum.sizes.get("features", 1.0):
        return None
    kinds = _match(spectrum, measured, tolerance)
    if kinds is None:
        return None
    roots = [
        np.zeros(len(kinds)),
        np.nan_to_num(spectrum.points.small),
        np.nan_to_num(spectrum.points.large),
    ]
    off = abs(measured.value - spectrum.value(np.choose(kinds, roots)))
    return None if off > tolerance * abs(optimum.value) else kinds


def _words(
    spectrum: Spectrum,
    kinds: np.ndarray,
    by_how_much: str,
    *,
    saddle: str,
    near: bool,
    tolerance: float,
) -> str:
    """The stationary point with these kinds of directions; `near` the optimal value, or not.

    `saddle`: what one is that has lower points beside it, or had with signs as it likes.
    """
    J = int(spectrum.active.sum())
    up, small = kinds == 2, kinds == 1
    if small.any():
        return f"small root in {small.sum()} of {len(kinds)} directions ({saddle}, {by_how_much})"
    if not up.any():
        return (
            f"origin ({by_how_much})"
            if J
            else f"near the global optimum, the origin ({by_how_much})"
        )
    dropped = spectrum.loads[~up].min(initial=np.inf)
    top = spectrum.loads[up].max() <= dropped * (1 + tolerance)
    above = up & spectrum.metastable & ~spectrum.boundary
    # (a kept direction turns towards a larger one that is dropped, wherever its own branch ends)
    if top and above.any():
        return (
            f"metastable branch in {above.sum()} of {up.sum()} active directions (above the "
            f"value of giving them up, {by_how_much})"
        )
    r = int(up.sum())
    if near and r == J:
        return f"near the global optimum, outside the tolerances ({by_how_much})"
    if top:
        kind = "a local minimum" if spectrum.depth > 1 else saddle
        return f"top-{r} truncation of {J} directions ({kind}, {by_how_much})"
    return f"truncation to {r} of {J} directions that drops a larger one ({saddle}, {by_how_much})"


def _match(spectrum: Spectrum, measured: Measured, tolerance: float) -> np.ndarray | None:
    """For each direction 0 (given up), 1 (small root) or 2 (large root).

    None if one is neither or the product is not aligned.
    """
    kinds = np.zeros(len(spectrum.mu), dtype=int)
    rest = measured.product.copy()
    for block in spectrum.blocks:
        reached = of_block(spectrum, measured.product, block)
        rest -= (
            (spectrum.left[:, block] * np.sqrt(spectrum.mu[block]))
            @ reached
            @ spectrum.right[:, block].T
        )
        if np.linalg.norm(reached - reached.T) > tolerance * np.sqrt(len(reached)):
            return None
        # in a block every direction has the same stationary points; sorted like the optimum, the
        # largest fractions first
        f = np.linalg.eigvalsh(symmetric(reached))[::-1]
        candidates = np.array(
            [0.0, spectrum.points.small[block.start], spectrum.points.large[block.start]]
        )
        distance = np.nan_to_num(np.abs(f[:, None] - candidates), nan=np.inf)
        if np.any(distance.min(axis=1) > tolerance):
            return None
        kinds[block] = distance.argmin(axis=1)
    size = np.sqrt(spectrum.mu.sum())
    return kinds if np.linalg.norm(rest) <= tolerance * size else None


def of_block(spectrum: Spectrum, product: np.ndarray, block: slice) -> np.ndarray:
    """The product in the singular bases of one block, relative to the target.

    Parameters
    ----------
    spectrum
        Whose bases.
    product
        (K, C'), of mass-weighted class means.
    block
        Directions of equal singular value.

    Returns
    -------
    np.ndarray
        Square.
    """
    return (
        spectrum.left[:, block].T
        @ product
        @ spectrum.right[:, block]
        / np.sqrt(spectrum.mu[block.start])
    )


def symmetric(matrix: np.ndarray) -> np.ndarray:
    """The symmetric part."""
    return 0.5 * (matrix + matrix.T)
