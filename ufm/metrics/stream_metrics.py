"""Metrics of a vocabulary from counts, means and variances alone, in O(V d) memory."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ufm._classes.module import Displayed
from ufm.metrics.batches import blocks
from ufm.metrics.pairs import Running, pairs_of, running
from ufm.metrics.table import stream_table

# A length below this many rounding errors of the features is zero.
_NOISE = 16.0
# Numbers of a difference that exist at a time.
_AT_ONCE = 2**20


@dataclass(frozen=True)
class StreamMetrics(Displayed):
    r"""Metrics of the classes kept, the class means less the global mean, $\mu_c - \mu_G$, a class.

    A ratio 0/0 is NaN, and so are the metrics of a classifier that was not given, of all pairs
    where two class means coincide (`coincident_pairs`), and of directions where a class mean is the
    global mean. `str()` is a table.

    `num_kept` classes of `num_samples` samples; `num_rare` were seen too seldom, `num_unseen`
    never. NC1: `cdnv`, and `cdnv_fourth` over the *fourth* power of the distance (q = 2 of Wu &
    Papyan 2024, not blind to scale); `nc1_trace_ratio`.

    NC2: `norms` (V,), `norm_cv` and `log_norm_std`, the standard deviation of their logarithms.
    `etf_distance`: `nc2_etf` of the class means; `etf_distance_least`: the least that V vectors in
    d dimensions can have, and `etf_excess` what is above it. `cosine_mean`, `cosine_std`,
    `etf_deviation`: those of `equiangularity`; random directions have a `cosine_std` of
    $1/\sqrt d$.

    GNC2: `kernel_mean`, `kernel_std` over pairs of $-\log\|\tilde\mu_c-\tilde\mu_{c'}\|$ for unit
    vectors, against `random_kernel_mean`, `random_kernel_std` of uniformly random ones; and
    `riesz_log_mean`, the logarithm of the mean of $\|\tilde\mu_c-\tilde\mu_{c'}\|^{-(d-2)}$, d >
    2. Its expectation for random ones is 0, the potential of a sphere with unit charge, but at
    large d that is due to pairs nearer than any that occur, and what is measured is far below.

    NC3: `nc3_cosine_mean` and `nc3_cosine_variance` (UNC3) over classes of the cosine of classifier
    row and class mean. The null permutes the rows among the classes: `nc3_null_mean` and
    `nc3_null_std` of the mean, `nc3_null_variance`, the expected variance; exact, over all V!
    permutations. `nc3_self_duality`: that of `ufm.metrics`, centred.
    """

    num_kept: int
    num_samples: int
    num_rare: int
    num_unseen: int
    coincident_pairs: int
    cdnv: float
    cdnv_fourth: float
    nc1_trace_ratio: float
    norms: np.ndarray
    norm_cv: float
    log_norm_std: float
    etf_distance: float
    etf_distance_least: float
    cosine_mean: float
    cosine_std: float
    etf_deviation: float
    kernel_mean: float
    kernel_std: float
    random_kernel_mean: float
    random_kernel_std: float
    riesz_log_mean: float
    nc3_cosine_mean: float
    nc3_cosine_variance: float
    nc3_null_mean: float
    nc3_null_std: float
    nc3_null_variance: float
    nc3_self_duality: float

    @property
    def etf_excess(self) -> float:
        """How far `etf_distance` is above the least possible."""
        return self.etf_distance - self.etf_distance_least

    def numbers(self) -> dict[str, float | int]:
        """All metrics by name, but for `norms`: what a JSON file can hold."""
        named = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        del named["norms"]
        return {**named, "etf_excess": self.etf_excess}

    def __str__(self) -> str:
        return stream_table(self.numbers())


def measured(counts, means, squares, *, classifier, by_samples, left_out) -> StreamMetrics:
    """The metrics of the classes that are kept.

    Parameters
    ----------
    counts, means, squares
        (V,), (V, d) and sums of squared deviations (V,).
    classifier
        (V, d), or None.
    by_samples
        Whether the global mean weighs classes by counts.
    left_out
        How many classes were seen too rarely, and how many never.

    Returns
    -------
    StreamMetrics
        NaN for what the classes do not determine.
    """
    d = means.shape[1]
    total = float(counts.sum())
    grand = means.T @ (counts / total) if by_samples else means.mean(axis=0)
    grand += (means - grand).T @ (counts / total) if by_samples else (means - grand).mean(axis=0)
    centred = means - grand
    sizes = np.einsum("ij,ij->i", means, means)
    rms = math.sqrt((float(counts @ sizes) + float(squares.sum())) / total)
    floor = _NOISE * float(np.finfo(np.float64).eps) * rms
    # units in which no fourth power under- or overflows
    scale = float(np.abs(centred).max()) or 1.0
    centred /= scale
    floor /= scale
    variances = squares / counts / scale**2
    norms = np.sqrt(np.einsum("ij,ij->i", centred, centred))
    directed = bool(np.all(norms > floor))
    spread = float(norms @ norms) / len(norms)
    lengths = running(norms.copy())
    distance, least = _etf_distance(centred)
    return StreamMetrics(
        num_kept=len(counts),
        num_samples=int(counts.sum()),
        num_rare=left_out[0],
        num_unseen=left_out[1],
        **_of_pairs(centred, variances, floor, scale, directed=directed),
        nc1_trace_ratio=_ratio(
            float(counts @ variances) / total, spread if spread > floor**2 else 0.0
        ),
        norms=norms * scale,
        norm_cv=_ratio(lengths.deviation, lengths.mean),
        log_norm_std=running(np.log(norms)).deviation if directed else math.nan,
        etf_distance=distance if spread > floor**2 else math.nan,
        etf_distance_least=least,
        random_kernel_mean=random_kernel(d)[0],
        random_kernel_std=random_kernel(d)[1],
        **_duality(centred, norms, classifier, directed=directed),
    )


def _of_pairs(centred, variances, floor, scale, *, directed: bool) -> dict[str, Any]:
    pairs = pairs_of(centred, variances, floor)
    apart = pairs.coincident == 0
    d = centred.shape[1]
    # of one direction twice it is infinite, as the other kernel is
    one = math.isinf(pairs.kernel.mean)
    riesz = math.inf if one else pairs.riesz.log - math.log(pairs.kernel.count)

    def value(of: float, *conditions: bool) -> float:
        return float(of) if all(conditions) else math.nan

    return {
        "coincident_pairs": pairs.coincident,
        "cdnv": value(pairs.ratio.mean, apart),
        # step by step, the square of the scale may overflow
        "cdnv_fourth": value(pairs.ratio_squared.mean / scale / scale, apart),
        "cosine_mean": value(pairs.cosine.mean, directed),
        "cosine_std": value(pairs.cosine.deviation, directed),
        "etf_deviation": value(pairs.etf, directed),
        "kernel_mean": value(pairs.kernel.mean, apart, directed),
        "kernel_std": value(pairs.kernel.deviation, apart, directed),
        "riesz_log_mean": value(riesz, apart, directed, d > 2),
    }


def _etf_distance(centred) -> tuple[float, float]:
    r"""$\|G/\|G\|_F - P/\sqrt{V-1}\|_F$ for G = M Mᵀ, and the least of any M (V, d).

    With M = M₀ + 1δᵀ, M₀ᵀ1 = 0: the spectrum λ of M₀ᵀM₀ is that of PGP, and the rest of G, of
    squared norm 2V‖M₀δ‖² + V²‖δ‖⁴, has nothing of P. Sums of squares alone, so nothing cancels.
    """
    V, d = centred.shape
    shift = centred.mean(axis=0)
    M = centred - shift
    eigenvalues = np.linalg.eigvalsh(M.T @ M if d < V else M @ M.T)
    # the largest min(d, V − 1): the others are zero, and rounding
    rank = min(d, V - 1)
    eigenvalues = np.maximum(eigenvalues[-rank:], 0)
    along = M @ shift
    rest = 2 * V * float(along @ along) + V**2 * float(shift @ shift) ** 2
    size = math.sqrt(float(eigenvalues @ eigenvalues) + rest)
    least = math.sqrt(2 - 2 * math.sqrt(rank / (V - 1)))
    if not size > 0:
        return math.nan, least
    even = eigenvalues / size - 1 / math.sqrt(V - 1)
    error = float(even @ even) + (V - 1 - rank) / (V - 1) + rest / size**2
    return math.sqrt(error), least


def _duality(centred, norms, classifier, *, directed: bool) -> dict[str, Any]:
    """NC3, UNC3 and what they are when rows are permuted among classes."""
    names = ("cosine_mean", "cosine_variance", "null_mean", "null_std", "null_variance")
    answer = {f"nc3_{name}": math.nan for name in (*names, "self_duality")}
    if classifier is None or not classifier.any():
        return answer
    # in place, here and below: a copy is O(V d), and both arrays are read here last
    rows, means = classifier, centred
    rows /= np.abs(rows).max()
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    if norms.any():
        answer["nc3_self_duality"] = _apart(rows, lengths, means, norms)
    if not directed or not np.all(lengths > 0):
        return answer
    rows /= lengths[:, None]
    means /= norms[:, None]
    cosines: Running = running(np.einsum("ij,ij->i", rows, means))
    row, mean = rows.mean(axis=0), means.mean(axis=0)
    rows -= row
    means -= mean
    V = len(rows)
    # all cosines a row with a mean are row·mean + (row offset) + (mean offset) + D; only D moves
    # the mean of a permutation, by Hoeffding 1951: Σ D²/(V − 1)
    free = float(np.sum((rows.T @ rows) * (means.T @ means)))
    of_mean = free / (V**2 * (V - 1))
    offsets = float(np.sum((rows @ mean) ** 2) + np.sum((means @ row) ** 2)) / V
    found = (
        cosines.mean,
        cosines.squares / V,
        float(row @ mean),
        math.sqrt(of_mean),
        offsets + free / V**2 - of_mean,
    )
    return {**answer, **{f"nc3_{name}": n for name, n in zip(names, found, strict=True)}}


def _apart(rows, lengths, means, norms) -> float:
    """Distance of two arrays (V, d) in units of their norms, a block of classes at a time."""
    first, second = np.linalg.norm(lengths), np.linalg.norm(norms)
    total = 0.0
    for block in blocks(len(rows), _AT_ONCE // rows.shape[1]):
        apart = rows[block] / first - means[block] / second
        total += float(np.vdot(apart, apart))
    return math.sqrt(total)


def random_kernel(dim: int) -> tuple[float, float]:
    r"""Mean and standard deviation of $-\log\|u-v\|$ for uniform u, v on the sphere of d
    dimensions.

    $\|u-v\|^2 = 4B$ with $B \sim \mathrm{Beta}(a, a)$, a = (d − 1)/2. NaN for d = 1.
    """
    if dim < 2:
        return math.nan, math.nan
    a = (dim - 1) / 2
    mean = -0.5 * (math.log(4) + _polygamma(a)[0] - _polygamma(2 * a)[0])
    return mean, 0.5 * math.sqrt(_polygamma(a)[1] - _polygamma(2 * a)[1])


def _polygamma(x: float) -> tuple[float, float]:
    """ψ and ψ′ of x > 0: recurrence up to 20, and from there the asymptotic series."""
    psi = slope = 0.0
    while x < 20:
        psi -= 1 / x
        slope += 1 / x**2
        x += 1
    y = 1 / x**2
    psi += math.log(x) - 0.5 / x
    psi -= y * (1 / 12 - y * (1 / 120 - y * (1 / 252 - y * (1 / 240 - y / 132))))
    slope += 1 / x + y / 2 + y / x * (1 / 6 - y * (1 / 30 - y * (1 / 42 - y / 30)))
    return psi, slope


def _ratio(over: float, under: float) -> float:
    return over / under if under else math.nan
