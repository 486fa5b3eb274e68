"""What a compiled flow is given: numbers that are traced, and what its code is made for."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import diffrax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ufm._validate import require
from ufm.flows.options import Integration, Record
from ufm.model import Problem
from ufm.solvers.descent import checked_observables


class Settings(NamedTuple):
    """Numbers that are traced: another one is not another compilation."""

    rtol: Float[Array, ""]
    atol: Float[Array, ""]
    steady: Float[Array, ""] | None
    step: Float[Array, ""] | None
    max_steps: Int[Array, ""]

    @property
    def wall(self) -> Float[Array, ""]:
        """Within what share of the size of a domain a vector lies on its boundary: that of the
        error of a step, or rounding."""
        eps = jnp.finfo(self.rtol.dtype).eps
        return jnp.maximum(0.1 * self.rtol, 64 * eps)


class Options(NamedTuple):
    """What the compiled code is made for."""

    method: diffrax.AbstractSolver
    observables: tuple[tuple[str, Callable], ...]
    keep_params: bool
    stops: bool


def checked_settings(problem: Problem, integration: Integration, stretches: int = 1) -> Settings:
    """Tolerances and steps as the user gave them, or their defaults.

    Parameters
    ----------
    problem
        Gives the dtype.
    integration
        As for `flow`.
    stretches
        Calls of the integrator among which the steps of a flow are shared.

    Returns
    -------
    Settings
        The numbers, which are traced.

    Raises
    ------
    ValueError
        For tolerances that the dtype cannot resolve.
    """
    double = problem.dtype == np.float64
    rtol, atol = integration.rtol, integration.atol
    rtol = (1e-9 if double else 1e-5) if rtol is None else rtol
    atol = (1e-12 if double else 1e-7) if atol is None else atol
    rounding = float(np.finfo(problem.dtype).eps)
    require(
        rtol >= rounding,
        f"`Integration.rtol` must be >= {rounding:.1e}, what {problem.dtype} can resolve",
        rtol,
    )
    settings = [
        None if value is None else jnp.asarray(value, problem.dtype)
        for value in (rtol, atol, integration.steady, integration.step)
    ]
    max_steps = jnp.asarray(-(-int(integration.max_steps) // stretches))
    return Settings(*settings, max_steps)  # type: ignore[arg-type]


def checked_options(integration: Integration, record: Record) -> Options:
    """What the compiled code is made for.

    Parameters
    ----------
    integration, record
        As for `flow`.

    Returns
    -------
    Options
        Hashable.
    """
    steady = integration.steady
    return Options(
        integration.method,
        checked_observables(record.observables),
        bool(record.keep_params),
        steady is None or steady > 0,
    )
