r"""ReLU layers that carry a code: complexity in closed form.

Behind the features are singular values s_l of the code and o_l of the direction of ones; all
cost is in their ratios from layer to layer, and inner layers are nonnegative only with
$o_l\ge\omega s_l$. At the least cost every ratio is balanced against the next wherever that
constraint does not bind. Derived here.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

from ufm._validate import require, require_each, require_whole


def code_complexity(
    num_classes: int, depth: int, *, rank: int, largest: float, smallest: float
) -> float:
    r"""The complexity of ReLU layers that carry a code X and the direction of ones.

    The last layer before its ReLU is $a(X^\top X-\gamma J)$, so that behind it is
    $a(1-\gamma)I$. With $\omega=\sqrt{q\mu}$ singular values grow freely beyond the last layer j
    at which nonnegativity binds, and
    $\kappa^{(L+1)/2} = (q+\omega)(q+1)^{(j-2)/2}D^{(L-j)/2}\sqrt K/(1-\gamma)$ with
    $D = q(K/q)^p+(K|\gamma|/\omega)^p$, $p = 2/(L-j)$; j = L − 1 for $q|\gamma|<\omega$, else 2.
    Where it binds nowhere, $\kappa^{(L+1)/2}=\big(q(K/q)^{2/L}+(K|\gamma|)^{2/L}\big)^{L/2}\sqrt
    K/(1-\gamma)$.

    Parameters
    ----------
    num_classes
        K >= 2 unit vectors X, a tight frame with sum zero.
    depth
        L >= 2, weight matrices.
    rank
        q from 1 to K − 1, their dimension.
    largest
        γ < 1, the largest inner product of two of them.
    smallest
        −μ, the smallest, from −1 to −1/q.

    Returns
    -------
    float
        κ. Collapse is the simplex, $\gamma=-\mu=-1/q$, q = K − 1, with κ = K.

    Raises
    ------
    ValueError
        For numbers out of range.

    Notes
    -----
    Derived here. The numbers are not checked to be those of a code, and κ is that of a network
    only if $X^\top X+\mu J$ is completely positive (true of pairs and triangular graphs).
    """
    K, L = (
        require_whole("num_classes", num_classes, least=2),
        require_whole("depth", depth, least=2),
    )
    q = require_whole("rank", rank)
    require(q < K, "`rank` must be less than the number of classes", q)
    rounding = 1e-12
    require_each(
        "smallest",
        smallest,
        lambda value: (value >= -1 - rounding) & (value <= -1 / q + rounding),
        "be from -1 to -1/rank",
        shape=(),
    )
    require_each(
        "largest",
        largest,
        lambda value: (value >= smallest) & (value < 1),
        "be at least the smallest and less than 1",
        shape=(),
    )
    code = CodeNumbers(K, L, q, float(largest), -float(smallest))
    return code.complexity


@dataclass(frozen=True)
class CodeNumbers:
    """A code behind ReLU layers: K, L, q, γ, μ."""

    K: int
    depth: int
    rank: int
    largest: float
    depression: float

    @functools.cached_property
    def omega(self) -> float:
        """√(qμ), the least ratio of the ones direction to the others that is nonnegative."""
        return math.sqrt(max(self.rank * self.depression, 1.0))

    @functools.cached_property
    def bound_until(self) -> int:
        """j, the last layer at which nonnegativity binds; 0 where it does nowhere."""
        end, L = self.rank * abs(self.largest), self.depth
        if L == 2 or end ** (2 / L) >= self.omega:
            return 0
        return 2 if end >= self.omega else L - 1

    @property
    def power(self) -> float:
        """p."""
        return 2 / (self.depth - self.bound_until)

    @functools.cached_property
    def spread(self) -> float:
        """D."""
        K, q = self.K, self.rank
        start = self.omega if self.bound_until else 1.0
        return q * (K / q) ** self.power + (K * abs(self.largest) / start) ** self.power

    @functools.cached_property
    def complexity(self) -> float:
        """κ."""
        L, j, q = self.depth, self.bound_until, self.rank
        bound = (q + self.omega) * (q + 1) ** ((j - 2) / 2) if j else 1.0
        total = bound * self.spread ** ((L - j) / 2) * math.sqrt(self.K) / (1 - self.largest)
        return float(total ** (2 / (L + 1)))


def code_numbers(kind: str, size: int, depth: int) -> CodeNumbers:
    """The code of pairs, of a triangular graph or of a polygon.

    Parameters
    ----------
    kind
        "pairs", "triangular", or else a polygon.
    size
        Vectors of the code.
    depth
        L.

    Returns
    -------
    CodeNumbers
        K, L, q, γ and μ.
    """
    if kind == "pairs":
        return CodeNumbers(size, depth, size // 2, 0.0, 1.0)
    if kind == "triangular":
        r = triangular_root(size)
        assert r is not None
        return CodeNumbers(size, depth, r - 1, (r - 4) / (2 * (r - 2)), 2 / (r - 2))
    mu = 1.0 if size % 2 == 0 else math.cos(math.pi / size)
    return CodeNumbers(size, depth, 2, math.cos(2 * math.pi / size), mu)


def triangular_root(size: int) -> int | None:
    """r with r(r − 1)/2 = `size`, if there is one."""
    r = (1 + math.isqrt(1 + 8 * size)) // 2
    return r if r * (r - 1) // 2 == size else None
