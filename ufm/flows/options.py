"""What travels together in a call that follows a flow: the way, what is recorded, and how exactly.

Each is checked where it is made, so that a wrong number is named before anything is compiled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import diffrax
import numpy as np

from ufm._validate import (
    Shown,
    options_of,
    require,
    require_choice,
    require_flag,
    require_instance,
    require_nonnegative,
    require_positive,
    require_real,
    require_whole,
)
from ufm.flows.integrators import integrator_of
from ufm.solvers.descent import Observables, checked_observables

PATHS = ("gradient", "central", "renormalised")


@dataclass(frozen=True, kw_only=True)
class Integration:
    """How exactly a flow is followed, and when it ends.

    Parameters
    ----------
    rtol, atol
        Of the integrator for one step, 1e-9 and 1e-12 in float64 unless given; the error of a
        trajectory is about ten times that, so 1e-12 and 1e-14 keep it below 1e-10.
    step
        Constant steps of this size instead of adaptive ones.
    steady
        Stop once the norm of the velocity is below this; unless given, once the way still to go, by
        conjugate gradients down to the rounding of the velocity, is within three tolerances, where
        only the integrator's own noise is left, and nothing grows there, at more than 30 `rtol` of
        the fastest rate: a saddle is passed, unless the velocity is 0 in all directions that grow.
        0 never stops.
    polish
        Once steady, let Newton take the end to the minimum; needs λ > 0, and one flow alone.
    integrator
        "euler", "heun", "bosh3", "tsit5", "dopri5", "dopri8" (at the default tolerances as fast as
        Tsit5 and 4 times closer to the conserved quantities), or an explicit diffrax solver.
    max_steps
        Of a whole flow; `flow` gives each of the stretches that it integrates at a time, at most
        ten, its share of them.

    Raises
    ------
    ValueError
        For tolerances or steps <= 0, implicit integrators, and adaptive steps with a method that
        does not estimate its error.
    """

    rtol: float | None = None
    atol: float | None = None
    step: float | None = None
    steady: float | None = None
    polish: bool = False
    integrator: str | diffrax.AbstractSolver = "dopri8"
    max_steps: int = 10_000_000

    def __post_init__(self):
        for name in ("rtol", "atol", "step"):
            if (value := getattr(self, name)) is not None:
                require_positive(f"Integration.{name}", value, shape=())
        if self.steady is not None:
            require_nonnegative("Integration.steady", self.steady, shape=())
        require_flag("Integration.polish", self.polish)
        require_whole("Integration.max_steps", self.max_steps)
        assert self.method is not None

    @property
    def method(self) -> diffrax.AbstractSolver:
        """The integrator itself."""
        return integrator_of(
            self.integrator, adaptive=self.step is None, name="Integration.integrator"
        )


@dataclass(frozen=True, eq=False)
class Path:
    r"""The way that a flow takes, with rates of its own.

    Parameters
    ----------
    name
        "gradient", the flow of the objective. "central": squared error, M = 1; features flow while
        W and b are always the best ones for them (ridge regression; the limit of infinite rates),
        and the weights of the start are ignored. In this clock the published central path,
        $\dot H = -N\,\partial f/\partial h$, has `rates={"features": N}`. "renormalised": the
        central path of $X = \Sigma_W^{-1/2}H$ for λ = 0 and a free bias, projected so that the
        within-class covariance of X stays the identity; it begins at the renormalised features of
        the start.
    rates
        A dict with the learning rates η of "weights" (a float, or one per factor, W_M first),
        "features" and "bias"; 1 where nothing is said, 0 freezes. So {"weights": 0, "bias": 0} is
        the flow of the features alone.

    Raises
    ------
    ValueError
        For another name, and rates that are no dict.
    """

    name: str = "gradient"
    rates: Mapping[str, Any] | None = None

    def __post_init__(self):
        require_choice("Path.name", self.name, PATHS)
        if self.rates is not None:
            words = "a dict from part to learning rate"
            require_instance("Path.rates", self.rates, Mapping, words)


@dataclass(frozen=True, eq=False)
class Record:
    """What is written down along a flow.

    Parameters
    ----------
    observables
        Name → function(problem, params) → array (or pytree of arrays; flags and counts become
        floats); `ufm.observables` has ready-made ones. Pass the same function objects again to
        reuse the compiled code.
    keep_params
        If False no state is stored, so that memory is what the observables need.

    Raises
    ------
    ValueError
        For observables that are no functions, and a flag that is none.
    """

    observables: Observables | None = None
    keep_params: bool = True

    def __post_init__(self):
        checked_observables(self.observables, name="Record.observables")
        require_flag("Record.keep_params", self.keep_params)


@dataclass(frozen=True, eq=False)
class Flow:
    """A flow to be followed from many starts, by `flow_batch` or in a sweep.

    Parameters
    ----------
    ts
        (T,), increasing times >= 0.
    path
        The name of a path, or a `Path`.
    observables
        Name → function(problem, params) → array, or a `Record`.
    integration
        How exactly; its `polish` is for one flow alone.

    Raises
    ------
    ValueError
        For times that do not increase from >= 0, an unknown path, observables that are no
        functions, and a `polish`.
    """

    ts: Any
    path: str | Path = "gradient"
    observables: Observables | Record | None = None
    integration: Integration | None = None

    def __post_init__(self):
        checked_times(self.ts, name="Flow.ts")
        path_of(self.path, name="Flow.path")
        record_of(self.observables, name="Flow.observables")
        integration = options_of(Integration, self.integration, name="Flow.integration")
        require(not integration.polish, "`Integration.polish` is for one flow alone", True)


def checked_times(ts, *, name: str = "ts") -> np.ndarray:
    """The times as the user gave them; `ValueError` unless they increase from >= 0."""
    times = np.asarray(require_real(name, ts, ndim=1), dtype=float)
    increasing = np.all(np.isfinite(times)) and times[0] >= 0 and np.all(np.diff(times) > 0)
    require(increasing, f"`{name}` must be increasing finite times >= 0", Shown(ts))
    return times


def path_of(given: Any, *, name: str = "path") -> Path:
    """The path that a user named, or gave."""
    if isinstance(given, Path):
        return given
    require_choice(name, given, PATHS)
    return Path(given)


def record_of(given: Any, *, name: str = "observables") -> Record:
    """What a user wants recorded: a dict of observables, or all that is asked for."""
    if isinstance(given, Record):
        return given
    checked_observables(given, name=name)
    return Record(given)
