"""Single steps of a motion: what moves, by which method of diffrax, under which control."""

from __future__ import annotations

from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ufm._classes.module import Module

# The first step, if nothing else is said; a control that finds it too long shortens it at once, and
# one that finds it too short makes the next ten times as long. It is at least so many units in the
# last place of the time, of which a few are lost.
_FIRST, _ULPS = 0.01, 64


class Now(NamedTuple):
    """Between two steps: the state, its time, when the next step ends, what method and control
    remember, steps taken, and what diffrax says."""

    state: Any
    reached: Float[Array, ""]
    ends: Float[Array, ""]
    method_state: Any
    control_state: Any
    steps: Int[Array, ""]
    result: Any

    def before(self, last) -> Bool[Array, ""]:
        """Whether the last time is still ahead, and nothing has failed."""
        return (self.reached < last) & diffrax.is_successful(self.result)


class Step(NamedTuple):
    """A step that was tried: whether it is kept, its ends, and what is known inside."""

    kept: Bool[Array, ""]
    began: Float[Array, ""]
    ended: Float[Array, ""]
    inside: Any


class Motion(Module):
    """What moves, by which method, in steps of which lengths; none of them jumps.

    `args`: what the field is given besides.
    """

    term: diffrax.ODETerm
    method: diffrax.AbstractSolver
    control: diffrax.AbstractStepSizeController
    args: Any

    def __post_init__(self):
        if isinstance(self.method, diffrax.AbstractRungeKutta) and self.method.scan_kind is None:
            # (the loop over stages that keeps no history for differentiation)
            self.method = eqx.tree_at(
                lambda m: m.scan_kind, self.method, "lax", is_leaf=lambda x: x is None
            )

    @property
    def order(self) -> Any:
        """Of the estimate of a step's error."""
        order = self.method.error_order(self.term)
        assert order is not None
        return order

    def begin(self, began, state, last, step) -> Now:
        """Before the first step.

        Parameters
        ----------
        began, state
            Where it is.
        last, step
            The end, and the length of the first step, which has a default.

        Returns
        -------
        Now
            With no steps taken.
        """
        term, args, method = self.term, self.args, self.method
        if step is None:
            step = jnp.maximum(_FIRST, _ULPS * jnp.finfo(began.dtype).eps * began)
        ends, control_state = self.control.init(
            term, began, last, state, step, args, method.func, self.order
        )
        ends, zero = jnp.minimum(ends, last), jnp.asarray(0)
        method_state = method.init(term, began, ends, state, args)
        return Now(
            state, began, ends, method_state, control_state, zero, diffrax.RESULTS.successful
        )

    def tried(self, now: Now, last, nearly) -> tuple[Now, Step]:
        """One step, which is kept or refused.

        Parameters
        ----------
        now
            Between two steps.
        last, nearly
            The end, and the time beyond which a step ends there.

        Returns
        -------
        tuple[Now, Step]
            After it, and the step itself.
        """
        there, error, inside, method_state, said = self.method.step(
            self.term, now.reached, now.ends, now.state, self.args, now.method_state, False
        )
        # (an error that is no number is no small one)
        error = jax.tree.map(lambda leaf: jnp.where(jnp.isnan(leaf), jnp.inf, leaf), error)
        kept, reached, ends, _, control_state, controlled = self.control.adapt_step_size(
            now.reached,
            now.ends,
            now.state,
            there,
            self.args,
            error,
            self.order,
            now.control_state,
        )
        kept, reached = jnp.asarray(kept), jnp.minimum(reached, last)
        # (a step to the end that is refused is halved)
        beyond = jnp.where(kept, last, reached + 0.5 * (last - reached))
        state, method_state = jax.tree.map(
            lambda new, old: jnp.where(kept, new, old),
            (there, method_state),
            (now.state, now.method_state),
        )
        said = diffrax.RESULTS.where(kept, said, diffrax.RESULTS.successful)
        result = diffrax.RESULTS.where(diffrax.is_successful(said), controlled, said)
        ends = jnp.where(ends > nearly, beyond, ends)
        after = Now(state, reached, ends, method_state, control_state, now.steps + 1, result)
        return after, Step(kept, now.reached, now.ends, inside)

    def within(self, step: Step):
        """What gives the state at times inside a step."""
        return self.method.interpolation_cls(t0=step.began, t1=step.ended, **step.inside)
