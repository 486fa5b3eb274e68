"""What a sweep does at each point of its grid, and what it reports of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ufm._validate import require, require_choice, require_flag, require_instance
from ufm.flows import Flow
from ufm.metrics import Metrics
from ufm.solvers.solver import AbstractSolver
from ufm.tolerances import gradient_tolerance

KEEP = ("params", "logits")
# What a lane has whatever is wanted of it, and what the parts of a report are called in a dataset.
_ALWAYS = ("value", "code", "grad_norm", "num_steps", "num_evaluations", "trajectory")
_CERTIFICATES = ("lower_bound", "gap")
METRICS = tuple(
    field.name
    for field in dataclasses.fields(Metrics)
    if not field.name.endswith(("_norms", "_classes"))
)


@dataclass(frozen=True, kw_only=True)
class Report:
    """What is wanted of every lane, beside value, result and steps.

    Parameters
    ----------
    certificates
        None gives them wherever there can be one.
    metrics
        Those of `Metrics` that are one number.
    keep
        "params": `params_features`, `params_weights_0` and so on, the outermost first, and where
        there is one `params_bias`. "logits": `logits`, with `logits_bias`, the bias in them, 0
        where there is none.

    Raises
    ------
    ValueError
        For names that are not known.
    """

    certificates: bool | None = None
    metrics: Sequence[str] = ("nc1_trace_ratio", "nc2_etf_features", "nc3_self_duality")
    keep: Sequence[str] = ()

    def __post_init__(self):
        require_flag("Report.certificates", self.certificates, optional=True)
        for name, known in (("metrics", METRICS), ("keep", KEEP)):
            given, words = getattr(self, name), f"a list of names, among {', '.join(known)}"
            require_instance(f"Report.{name}", given, (tuple, list), words)
            for i, word in enumerate(given):
                require_choice(f"Report.{name}[{i}]", word, known)
            # static where it is compiled, so hashable
            object.__setattr__(self, name, tuple(given))

    def has(self, name: str) -> bool:
        """Whether the dataset of such lanes has a variable of that name."""
        return (
            name in _ALWAYS
            or name in self.metrics
            or (self.certificates is not False and name in _CERTIFICATES)
            or any(name == kept or name.startswith(f"{kept}_") for kept in self.keep)
        )

    def of(self, possible: bool) -> Report:
        """The report of problems that have certificates, or of others."""
        require(
            possible or not self.certificates,
            "`Report.certificates` must not be True for problems without one (see ufm.certify)",
            self.certificates,
        )
        wanted = possible if self.certificates is None else self.certificates
        return dataclasses.replace(self, certificates=wanted)


@dataclass(frozen=True)
class Minimisation:
    """Every problem is minimised.

    Parameters
    ----------
    solver, tolerance
        As for `minimise`.

    Raises
    ------
    ValueError
        For what is no solver, and a tolerance out of range.
    """

    solver: AbstractSolver | None = None
    tolerance: float | None = None

    def __post_init__(self):
        if self.solver is not None:
            words = "a solver such as ufm.solvers.Newton()"
            require_instance("Minimisation.solver", self.solver, AbstractSolver, words)
        # (of the finest dtype; that of the problems says more)
        gradient_tolerance(self.tolerance, "float64", name="Minimisation.tolerance")


def method_of(given: Any) -> Minimisation | Flow:
    """What a user wants done at each point of a grid."""
    if given is None or isinstance(given, AbstractSolver):
        return Minimisation(given)
    words = "a solver such as ufm.solvers.Newton(), a ufm.sweeping.Minimisation or a ufm.flows.Flow"
    require_instance("method", given, (Minimisation, Flow), words)
    return given
