r"""One mode of a balanced deep linear flow, $\tfrac{d}{dt}\ln v = v^{M-1}q(v^{M+1}) - \lambda$,
with v a singular value of every factor.

Everything is done in x = ln v. The drive G(x) = v^{M−1} q is decreasing for M = 1 and has one peak
for M > 1, so a mode relaxes to the stable root of G = λ or, from below the unstable one, to zero.
With the distance to the limit as $\delta_0 e^{-w}$ the time is a smooth function of w.
"""

from __future__ import annotations

import abc

import numpy as np

from ufm._host.roots import root_between
from ufm.optima.inversion import Floats, follow, invert_increasing

# ξ up to which the series of the free law is summed: far enough from where e^ξ overflows
_SUMMED = 600.0


class Drive(abc.ABC):
    """What pushes a mode of depth M."""

    depth: int

    @abc.abstractmethod
    def log_value(self, x) -> tuple:
        """G as (factor, log): G(x) = factor · e^log, the factor carrying the sign."""

    @abc.abstractmethod
    def difference(self, limit: float, delta):
        """G(limit + δ) − G(limit) without cancellation for small δ.

        Parameters
        ----------
        limit, delta
            Logarithms of a factor's singular value: where the mode ends, and how far it is from
            there.

        Returns
        -------
        Floats
            Of the shape of δ.
        """

    @abc.abstractmethod
    def slope_sign(self, x: float) -> float:
        """A number with the sign of dG/dx."""

    def __call__(self, x):
        factor, log = self.log_value(x)
        return factor * np.exp(log)


class SquaredErrorDrive(Drive):
    """q = s − u."""

    def __init__(self, target: float, depth: int):
        self.target, self.depth = target, depth

    def log_value(self, x):
        return self.target - np.exp((self.depth + 1) * x), (self.depth - 1) * x

    def difference(self, limit, delta):
        """The difference of $s e^{(M-1)x} - e^{2Mx}$, term by term.

        Returns
        -------
        Floats
            Of the shape of δ.
        """
        M = self.depth
        return self.target * np.exp((M - 1) * limit) * np.expm1((M - 1) * delta) - np.exp(
            2 * M * limit
        ) * np.expm1(2 * M * delta)

    def slope_sign(self, x):
        return (self.depth - 1) * self.target - 2 * self.depth * np.exp((self.depth + 1) * x)


class CrossEntropyDrive(Drive):
    """q = √n K / (K − 1 + e^ξ) with ξ = u/√n, on the symmetric configuration."""

    def __init__(self, num_classes: int, samples_per_class: float, depth: int):
        self.K, self.n, self.depth = num_classes, samples_per_class, depth

    def _gap(self, x):
        return np.exp((self.depth + 1) * x) / np.sqrt(self.n)

    def log_value(self, x):
        gap = self._gap(x)
        # ln(K − 1 + e^ξ) without overflow
        return np.sqrt(self.n) * self.K, (self.depth - 1) * x - gap - np.log1p(
            (self.K - 1) * np.exp(-gap)
        )

    def difference(self, limit, delta):
        """The difference of a product, as that of its logarithm.

        Returns
        -------
        Floats
            Of the shape of δ.
        """
        gap = self._gap(limit)
        share, rest = 1 / (1 + (self.K - 1) * np.exp(-gap)), 1 / (1 + np.exp(gap) / (self.K - 1))
        moved = gap * np.expm1((self.depth + 1) * delta)
        # log(rest + share eᵐ): beside 0 by what is added to 1, far below by the two themselves
        near = np.log1p(share * np.expm1(np.maximum(moved, -1)))
        far = np.log(rest + share * np.exp(np.minimum(moved, 0)))
        log = np.where(moved > -1, near, far)
        return self(limit) * np.expm1((self.depth - 1) * delta - log)

    def slope_sign(self, x):
        gap = self._gap(x)
        return (self.depth - 1) - (self.depth + 1) * gap / (1 + (self.K - 1) * np.exp(-gap))

    def free(self, ts: Floats, start: float) -> Floats:
        r"""ξ(t) without decay.

        From $\int (K-1+e^\xi)\,\xi^{-p}d\xi = (M+1)\,n^{p/2} K t$, $p = 2M/(M+1)$.

        Parameters
        ----------
        ts
            (T,), in sum time.
        start
            ξ_0 > 0.

        Returns
        -------
        Floats
            (T,).

        Notes
        -----
        The integral is $K A + \sum_{j\ge1} \xi^{j+1-p}/(j!\,(j+1-p))$ with A = ln ξ for p = 1
        (which makes it (K − 1) ln ξ + Ei(ξ) up to a constant) and $\xi^{1-p}/(1-p)$ else: all terms
        of the series are positive, so it is accurate at every ξ up to 600, beyond which dt/dξ is
        integrated from there.
        """
        p = 2 * self.depth / (self.depth + 1)
        rate = (self.depth + 1) * self.n ** (p / 2) * self.K

        def antiderivative(x):
            gap = np.exp(x)
            total = self.K * (x if self.depth == 1 else gap ** (1 - p) / (1 - p))
            term, j = gap ** (1 - p), 0
            while True:
                j += 1
                term = term * gap / j
                total = total + term / (j + 1 - p)
                if np.all((j > gap) & (term < 1e-17 * np.abs(total))):
                    return total

        def at(x):
            gap = np.exp(x)
            return antiderivative(x), (self.K - 1 + np.exp(gap)) * gap ** (1 - p)

        def beyond(ts, gap):
            """From where the exponential would overflow: dt/dw is e^gap gap^-p times this."""
            scale = np.log(rate) + p * np.log(gap) - gap
            few = (self.K - 1) * np.exp(-gap)
            with np.errstate(divide="ignore"):
                scaled = np.exp(np.log(ts) + scale)
            return gap + follow(lambda w: (few + np.exp(w)) * (1 + w / gap) ** -p, scaled)

        if start >= _SUMMED:
            return beyond(ts, start)
        begin, ceiling = np.log(start), np.log(_SUMMED)
        began, ended = antiderivative(np.array([begin, ceiling]))
        until = (ended - began) / rate
        soon = ts <= until
        low = np.full_like(ts[soon], begin)
        value, high = began + rate * ts[soon], low.copy()
        while np.any(short := (antiderivative(high) < value) & (high < ceiling)):
            high = np.where(short, np.minimum(high + 0.5, ceiling), high)
        gaps = np.empty_like(ts)
        gaps[soon] = np.exp(invert_increasing(at, value, low, high))
        gaps[~soon] = beyond(ts[~soon] - until, _SUMMED)
        return gaps


# (what overflows is over at once, or never)
@np.errstate(over="ignore", divide="ignore")
def relaxed(drive: Drive, ts: Floats, start: float, decay: float) -> Floats:
    """u(t) under a drive and a decay.

    Parameters
    ----------
    drive
        What pushes the mode.
    ts
        (T,), in sum time.
    start
        The logarithm of u(0).
    decay
        λ >= 0 on all factors.

    Returns
    -------
    Floats
        (T,).
    """
    power = drive.depth + 1
    x0 = start / power
    limit = _limit(drive, x0, decay)
    if limit is None:
        return np.exp(power * (x0 - follow(lambda w: 1 / (decay - drive(x0 - w)), ts)))
    if limit == x0:
        return np.full_like(ts, np.exp(start))

    def density(w):
        delta = (x0 - limit) * np.exp(-w)
        near = np.clip(delta, -0.5, 0.5)
        rate = np.where(
            np.abs(delta) > 0.5, drive(limit + delta) - decay, drive.difference(limit, near)
        )
        return -delta / rate

    return np.exp(power * (limit + (x0 - limit) * np.exp(-follow(density, ts))))


def _limit(drive: Drive, x0: float, decay: float) -> float | None:
    """Where x goes from x0: the stable root of G = λ, or None for minus infinity."""

    def rate(x):
        return float(drive(x) - decay)

    if rate(x0) == 0:
        return x0
    if rate(x0) > 0:
        return root_between(rate, x0, _first(rate, x0, step=0.5, sign=-1))
    if drive.depth == 1:
        # G decreases from its value at −∞, which is reached to rounding e-foldings below the start
        far = x0 - 40
        return None if rate(far) <= 0 else root_between(rate, far, x0)
    low = x0 if drive.slope_sign(x0) > 0 else _first(drive.slope_sign, x0, step=-0.5, sign=1)
    peak = root_between(drive.slope_sign, low, _first(drive.slope_sign, low, step=0.5, sign=-1))
    return None if x0 <= peak or rate(peak) <= 0 else root_between(rate, peak, x0)


def _first(function, x: float, *, step: float, sign: int) -> float:
    """The first point on a walk from x at which the function has this sign."""
    while np.sign(function(x)) != sign:
        x += step
    return x
