"""What `--prove` adds to a row.

Its certified minima enclosed, and both sides of its refutations, with every rounding accounted for.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping

import numpy as np

from theory_checks.engine.claims import CERTIFICATE_CLAIM, Claim
from theory_checks.engine.counterexamples import Refutation
from theory_checks.engine.registry import Check

# Relative width of an enclosure that proves a case. It is of second order in the gradient, of which
# a solve leaves 1e-12, so that what is left is the rounding of the ends and of a dual norm, K eps.
WIDTH = 1e-12
WIDTH_CLAIM = "width of the enclosure"


@dataclasses.dataclass(frozen=True)
class Proof:
    """`lower` <= the global minimum <= `upper` for one problem that a row certifies.

    Where there is no proof, the `reason`.

    `width` is relative.
    """

    lower: float = -math.inf
    upper: float = math.inf
    width: float = math.inf
    reason: str = ""

    @property
    def proved(self) -> bool:
        """Whether the minimum is known."""
        return not self.reason and self.width <= WIDTH


def without_library() -> str | None:
    """Why nothing can be proved here; None where it can."""
    from ufm._exact.fractions import flint

    try:
        flint()
    except ImportError as error:
        return str(error)
    return None


def possible(checks: Iterable[Check]) -> tuple[list[Check], list[Check]]:
    """The checks that can run here, and those that need the library and have none."""
    checks, lacking = list(checks), without_library() is not None
    absent = [check for check in checks if lacking and check.extra == "proofs"]
    return [check for check in checks if check not in absent], absent


def left_out(absent: Iterable[Check]) -> str:
    """What was not run, and what to install for it."""
    return f"left out without the extra `ufm[proofs]`: {', '.join(c.key for c in absent)}"


def proofs_of(claims: Iterable[Claim]) -> tuple[Proof, ...]:
    """A proof, or the reason why there is none, for each point that certificates of these claims
    are of."""
    found: list[Proof] = []
    for claim in claims:
        found += [_proof(problem, params) for problem, params in claim.points]
        if claim.name == CERTIFICATE_CLAIM and not claim.points:
            found.append(Proof(reason="its check keeps no point to prove"))
    return tuple(found)


def _proof(problem, params) -> Proof:
    import ufm

    try:
        enclosure = ufm.prove(problem, params)
    except ValueError as error:
        return Proof(reason=str(error))
    return Proof(enclosure.lower, enclosure.upper, enclosure.relative_width)


def width_claims(proofs: Iterable[Proof]) -> list[Claim]:
    """The widest enclosure as a witness.

    One that is wide says that the point is not what its certificate says.
    """
    widths = [proof.width for proof in proofs if not proof.reason]
    return [Claim(WIDTH_CLAIM, max(widths), 0.0, WIDTH, witness=True)] if widths else []


def enclosed(refutation: Refutation) -> Refutation:
    """The refutation with the upper end of its value, and the lower end of the least value claimed
    where its check has one."""
    upper = value_above(refutation.arrays)
    if refutation.least is None:
        return dataclasses.replace(refutation, upper=upper)
    floor = refutation.least()
    return dataclasses.replace(
        refutation, upper=upper, claimed_lower=floor.value, witness=floor.witness
    )


def value_above(arrays: Mapping[str, np.ndarray]) -> float:
    """A float that the objective of `Refutation.arrays` is not above."""
    import ufm
    from ufm._exact.fractions import flint, fractions
    from ufm.certificates.balls import BITS, round_up, sum_of_squares

    a, arb_mat, loss = arrays, flint().arb_mat, ufm.CrossEntropy()
    with flint().ctx.workprec(BITS):
        Z, decays = arb_mat(a["H"].tolist()), fractions(a["lambda_W"])
        masses, bias = fractions(a["masses"]), fractions(a["b"])
        decay = fractions(a["lambda_b"]) * sum_of_squares(a["b"])
        decay += fractions(a["lambda_H"]) * sum(
            m * sum_of_squares(h) for m, h in zip(masses, a["H"].T, strict=True)
        )
        for layer, lam in enumerate(decays, start=1):
            W = a[f"W_{layer}"]
            Z, decay = arb_mat(W.tolist()) * Z, decay + lam * sum_of_squares(W)
        scale = fractions(a.get("multiplicative", np.ones(len(bias))))
        logits = [
            [s * (z + b) for s, z, b in zip(scale, column, bias, strict=True)]
            for column in Z.transpose().tolist()
        ]
        if "offsets" in a:
            # (exact where they are finite; an infinite one takes its class out)
            shifts = [[flint().arb(x) for x in column] for column in a["offsets"].T]
            pairs = zip(logits, shifts, strict=True)
            logits = [[z + x for z, x in zip(*pair, strict=True)] for pair in pairs]
        weights = fractions(a.get("weights", np.ones(len(masses))))
        samples = [m * w for m, w in zip(masses, weights, strict=True)]
        columns = zip(samples, logits, fractions(a["targets"].T), strict=True)
        losses = sum(s * loss.enclose(z, q) for s, z, q in columns)
        return round_up(losses / sum(samples) + decay / 2)
