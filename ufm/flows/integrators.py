"""The explicit Runge–Kutta methods that flows are integrated with, by name, and the controller that
notices steps too small to count."""

from __future__ import annotations

import diffrax
import equinox as eqx
import jax.numpy as jnp

from ufm._validate import Shown, require, require_instance

# name → (method, order). Implicit methods were 3 to 1000 times slower on every flow tried (they are
# also not needed: a flow is as stiff as the ratio of its largest to its smallest curvature, some
# hundreds), so none is here.
INTEGRATORS = {
    "euler": (diffrax.Euler(), 1),
    "heun": (diffrax.Heun(), 2),
    "bosh3": (diffrax.Bosh3(), 3),
    "tsit5": (diffrax.Tsit5(), 5),
    "dopri5": (diffrax.Dopri5(), 5),
    "dopri8": (diffrax.Dopri8(), 8),
}
# A step of fewer than this many units in the last place of the time is not resolved by it.
_ULPS = 4.0


def lost(began, end):
    """Whether a step is lost in the rounding of the time."""
    return end - began <= _ULPS * jnp.finfo(jnp.result_type(end)).eps * jnp.abs(began)


class AbstractOver(diffrax.AbstractStepSizeController):
    """A control that changes the steps of another one, `inner`, but for the first."""

    inner: eqx.AbstractVar[diffrax.AbstractStepSizeController]

    def wrap(self, direction):
        return self

    def init(self, terms, t0, t1, y0, dt0, args, func, error_order):
        """The first step, as the other control has it.

        Parameters
        ----------
        terms, t0, t1, y0, dt0, args, func, error_order
            As diffrax passes them.

        Returns
        -------
        tuple
            The end of the first step, and the state of the control.
        """
        return self.inner.init(terms, t0, t1, y0, dt0, args, func, error_order)


class Controller(AbstractOver):
    """The usual error control, which also fails once the step it wants is lost in the rounding of
    the time.

    Without this a run that cannot meet its tolerance stands still until its budget of steps is
    spent.
    """

    inner: diffrax.AbstractStepSizeController

    def adapt_step_size(
        self, t0, t1, y0, y1_candidate, args, y_error, error_order, controller_state
    ):
        """The next step of the usual control, or a failure where rounding of the time loses it.

        Parameters
        ----------
        t0, t1, y0, y1_candidate, args, y_error, error_order, controller_state
            As diffrax passes them.

        Returns
        -------
        tuple
            As diffrax wants it; its result is `dt_min_reached` on failure.
        """
        keep, next_t0, next_t1, jump, state, result = self.inner.adapt_step_size(
            t0, t1, y0, y1_candidate, args, y_error, error_order, controller_state
        )
        result = diffrax.RESULTS.where(
            lost(next_t0, next_t1), diffrax.RESULTS.dt_min_reached, result
        )
        return keep, next_t0, next_t1, jump, state, result


def integrator_of(
    integrator, *, adaptive: bool, name: str = "integrator"
) -> diffrax.AbstractSolver:
    """The method for a name, or a diffrax method as it is.

    Parameters
    ----------
    integrator
        A name of `INTEGRATORS`, or an explicit diffrax solver.
    adaptive
        Whether it must estimate its error.
    name
        Of the argument, for messages.

    Returns
    -------
    diffrax.AbstractSolver
        The method.

    Raises
    ------
    ValueError
        For an implicit one, one of several vector fields, and for Euler with adaptive steps.
    """
    if isinstance(integrator, str):
        known = f"`{name}` must be one of {', '.join(INTEGRATORS)}, or an explicit diffrax solver"
        require(integrator in INTEGRATORS, known, Shown(integrator))
        method = INTEGRATORS[integrator][0]
    else:
        require_instance(name, integrator, diffrax.AbstractSolver, "a name or a diffrax solver")
        method = integrator
    require(
        not isinstance(method, diffrax.AbstractImplicitSolver),
        f"`{name}` must be explicit; implicit ones are slower here",
        integrator,
    )
    require(
        getattr(method, "term_structure", None) in (diffrax.AbstractTerm, diffrax.ODETerm),
        f"`{name}` must be a method for one vector field, not for several or for noise",
        integrator,
    )
    require(
        not adaptive or isinstance(method, diffrax.AbstractAdaptiveSolver),
        f"`{name}` must estimate its error unless `step` is given",
        integrator,
    )
    return method
