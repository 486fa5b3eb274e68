"""Whether the methods of a domain agree.

Solvers go where `point` leads, and say of that that it has converged: what leads out of the domain
is refused where a problem is made, once a class, and `check_domain` asks all the rest.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from ufm._classes.inspection import Report, Wrong, deviation, findings
from ufm._validate import float_dtype, is_traced, require_instance, require_key, require_whole
from ufm.domains.ball import Ball
from ufm.domains.base import AbstractDomain
from ufm.domains.budget import Budget
from ufm.domains.nonnegative import Nonnegative
from ufm.domains.places import Places
from ufm.domains.questions import NEEDED, QUESTIONS
from ufm.domains.real import Real
from ufm.domains.sphere import Sphere

# Classes that are known to lead into their domain: ours have been asked by their tests.
_KNOWN: weakref.WeakSet[type] = weakref.WeakSet((Ball, Budget, Nonnegative, Real, Sphere))
# Entries of vectors that are asked in a moment.
_MOST = 10**6


@dataclass(frozen=True, kw_only=True)
class DomainReport(Report):
    """What `check_domain` found.

    `findings`: in the order asked; `wrong`: the questions that the domain fails.
    """

    domain: str
    shape: tuple[int, int]
    dtype: str

    @property
    def about(self) -> str:
        """The domain, and what it was asked for."""
        return f"{self.domain}, {self.shape[1]} vectors of length {self.shape[0]}, {self.dtype}"


def check_domain(
    domain: AbstractDomain, *, dim: int, num_vectors: int, key: PRNGKeyArray
) -> DomainReport:
    r"""Check the methods of a domain against each other at random points.

    That `point`, `project` and `start` lead into it, `chart` and `retract` to coordinates of the
    same point; that so many directions of coordinates as `redundant` says move nothing; what it
    says of turned, scaled and mean vectors; what flows ask, its slopes or its walls; that
    $\tfrac12\sum\lambda\|x\|^2 \ge \tfrac12\sum b\|x\|^2 - c$ for the b and c that certificates
    take, and what they make of linear constraints and signs.

    Parameters
    ----------
    domain
        a domain, the library's or your own
    dim
        n >= 2, the length of the vectors that it is asked for
    num_vectors
        C >= 2, how many they are
    key
        a `jax.random.key`, of the random points

    Returns
    -------
    A `DomainReport`: `ok`, `wrong` and `findings`; it prints as a table.

    Raises
    ------
    ValueError
        for what is no domain, fewer than two vectors or entries, and parameters that do not fit
        them; what the domain itself raises later is a finding

    Notes
    -----
    A domain that passes may still be wrong elsewhere. Whether it is `tight`, and what proofs ask,
    is not looked at.
    """
    require_instance("domain", domain, AbstractDomain, "a domain such as ufm.domains.Sphere(1.0)")
    n = require_whole("dim", dim, least=2)
    C = require_whole("num_vectors", num_vectors, least=2)
    require_key("key", key)
    random = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    masses = jnp.asarray(random.uniform(0.5, 2.0, C), float_dtype())
    places = Places.of(domain.fitted("domain", (n, C), masses), (n, C), masses, random)
    return DomainReport(
        domain=str(domain),
        shape=(n, C),
        dtype=masses.dtype.name,
        findings=findings(QUESTIONS, places),
    )


def require_consistent(
    name: str, domain: AbstractDomain, shape: tuple[int, int], masses: Array
) -> None:
    """`ValueError` for a domain out of which its own methods lead, once a class.

    Parameters
    ----------
    name
        Of the factor, for the message.
    domain, shape, masses
        Fitted to (n, C) vectors with masses (C,); nothing is known while it is traced.

    Raises
    ------
    ValueError
        In the words of `check_domain`.
    """
    if type(domain) in _KNOWN or shape[0] * shape[1] > _MOST or is_traced((domain, masses)):
        return
    with jax.ensure_compile_time_eval():
        places = Places.of(domain, shape, masses, np.random.default_rng(0))
        for _, ask in NEEDED:
            try:
                deviation(ask, places)
            except Wrong as reason:
                raise ValueError(
                    f"`{name}` must be a domain whose methods agree (ufm.domains.check_domain asks "
                    f"all of them); got {domain}: {reason}"
                ) from None
    _KNOWN.add(type(domain))
