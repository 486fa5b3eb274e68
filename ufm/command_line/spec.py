r"""Sweeps as words and numbers: SPEC.toml.

A specification has a table of what all problems share, a table of what is swept, and optional
tables:

    [problem]                      # settings of `solve`, by the names of its options;
                                   # class_counts are required here or below, and λ of what no
                                   # domain bounds
    class_counts = "10x100"        # or [100, 50, 10], "5x500,5x5", or a long tail:
                                   # { classes = 10, largest = 500, ratio = 100 }, or a step:
                                   # { majority = 5, minority = 5, largest = 500, ratio = 100 };
                                   # without its ratio, and with the largest or the smallest
                                   # count, where `ratio` is swept
    loss = "cross-entropy"         # or "squared-error", "focal" with gamma = 2.0, …
                                   # (`python -m ufm solve --help` has all), or
                                   # "package.module:Class" of a loss of your own; its parameters
                                   # are settings too; or a sum, "focal+0.1*squared-error"
    widths = [64]                  # (d_1, …, d_M); one layer as wide as there are classes
                                   # unless given
    lambda_W = 5e-4                # or one per factor, outermost first; or "lambda_H", the same
                                   # number, and the other way round
    bias = "free"                  # "none" (the default), "free", or a penalty > 0
    smoothing = 0.1                # label smoothing; columns = "full" for one column a sample;
                                   # features = "sphere,radius=2"

    [sweep]                        # a grid: one dimension a line; [[sweep]] tables with equal
                                   # names are single points
    lambda_H = { from = 1e-5, to = 1e-2, points = 25, scale = "log" }
                                   # or "linear" (the default); or a list of values.
                                   # ratio = … of the largest to the smallest class
    seed = { from = 0, to = 39 }   # random starts: whole numbers, both ends included; or a list

    [solver]                       # name = "newton", "lbfgs" or "projected-newton"; tolerance;
                                   # max_steps
    [flow]                         # in place of [solver]: times = [0.0, 1.0, …] or a range, and
                                   # rtol, atol, step, steady, integrator, path, max_steps
    [run]                          # key = 0 (of the random starts), certificates, metrics, keep,
                                   # memory, chunk, threads

Nothing heavy is imported until a problem is built.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ufm.command_line.making import SOLVERS, solver_of
from ufm.command_line.settings import checked
from ufm.command_line.swept import range_of, swept_of
from ufm.command_line.ties import Ties, untied
from ufm.command_line.values import is_number, number, one_of, positive, require, seed_of, whole

# What must be given unless a domain bounds the features, or the factor.
_DECAYS = {"lambda_W": "classifier", "lambda_H": "features"}


@dataclass(frozen=True, kw_only=True)
class Spec:
    """A sweep as a SPEC.toml has it.

    Settings shared, what is swept, and the tables [solver], [flow] and [run].
    """

    problem: Ties
    over: Any
    solver: Mapping[str, Any]
    flow: Mapping[str, Any] | None
    key: int
    run_by: Mapping[str, Any]

    def run(self, store, *, progress: bool | None = None):
        """`sweep` of it into a store.

        Parameters
        ----------
        store
            A folder.
        progress
            As for `sweep`.

        Returns
        -------
        xarray.Dataset
            As by `sweep`.
        """
        import jax

        from ufm.batch import Execution
        from ufm.sweeping import Report
        from ufm.sweeping.sweeps import sweep

        return sweep(
            self.problem,
            self.over,
            key=jax.random.key(self.key),
            method=self.method(),
            report=Report(**self._of_run(_REPORT)),
            store=store,
            execution=Execution(**self._of_run(_EXECUTION)),
            progress=progress,
        )

    def method(self):
        """What is done at each point: a minimisation, or the flow of the table."""
        from ufm.flows import Flow, Integration
        from ufm.sweeping import Minimisation

        if self.flow is None:
            solver = solver_of(self.solver.get("name"), self.solver.get("max_steps"))
            return Minimisation(solver, self.solver.get("tolerance"))
        rest = {name: v for name, v in self.flow.items() if name not in ("times", "path")}
        path = self.flow.get("path", "gradient")
        return Flow(self.flow["times"], path=path, integration=Integration(**rest))

    def _of_run(self, names: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in self.run_by.items() if name in names}


def read_spec(path) -> Spec:
    """The sweep that a SPEC.toml asks for.

    Raises `ValueError` naming key and value for what it cannot mean, and the file where that is not
    TOML, `OSError` for no file.
    """
    with open(path, "rb") as file:
        try:
            document = tomllib.load(file)
        # (bytes that are no UTF-8 are no TOML)
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"{path} must be a TOML file: {error}") from error
    return spec_of(document)


def spec_of(document: Mapping[str, Any]) -> Spec:
    """The sweep of a parsed SPEC.toml. Raises `ValueError` naming key and value."""
    known = ("problem", "sweep", "solver", "flow", "run")
    for name, table in document.items():
        require(name in known, "a specification", f"made of the tables {', '.join(known)}", name)
        points = name == "sweep" and isinstance(table, list)
        require(isinstance(table, dict) or points, name, "a table", table)
    require("sweep" in document, "sweep", "a table of what is swept", None)
    rest, profile, same = untied(document.get("problem", {}), document["sweep"])
    shared = checked(rest, "problem")
    over, swept = swept_of(document["sweep"], shared)
    ties = Ties(shared, profile, same)
    for name in swept:
        given = shared.get(name, document.get("problem", {}).get(name))
        require(given is None, f"sweep.{name}", "swept or shared, not both", given)
    known = {*shared, *swept, *ties.names}
    require("class_counts" in known, "problem.class_counts", "given, or swept", None)
    for name, domain in _DECAYS.items():
        # (of domains that are swept the problem itself says what it needs)
        held = domain in swept or getattr(shared.get(domain), "compact", False)
        require(name in known or held, f"problem.{name}", "given, or swept", None)
    solver, run_by = _table(document, "solver", _SOLVER), _table(document, "run", _RUN)
    flow = None
    if "flow" in document:
        require("solver" not in document, "flow", "given without [solver]", document["flow"])
        flow = _table(document, "flow", _FLOW)
        require("times" in flow, "flow.times", "given", None)
    return Spec(
        problem=ties,
        over=over,
        solver=solver,
        flow=flow,
        key=run_by.pop("key", 0),
        run_by=run_by,
    )


def _table(
    document: Mapping[str, Any], name: str, checks: Mapping[str, Callable]
) -> dict[str, Any]:
    table = document.get(name, {})
    for key in table:
        require(key in checks, name, f"made of {', '.join(checks)}", key)
    return {key: checks[key](value, f"{name}.{key}") for key, value in table.items()}


def _flag(value, key):
    require(isinstance(value, bool), key, "true or false", value)
    return value


def _words(value, key):
    require(
        isinstance(value, list) and all(isinstance(word, str) for word in value),
        key,
        "a list of names",
        value,
    )
    return tuple(value)


def _word(value, key):
    require(isinstance(value, str), key, "a name", value)
    return value


def _times(value, key):
    value = range_of(value, key) if isinstance(value, dict) and "from" in value else value
    require(
        isinstance(value, list) and value and all(is_number(t) and t >= 0 for t in value),
        key,
        "a list of times >= 0, or a range",
        value,
    )
    return [float(t) for t in value]


_COUNT = functools.partial(whole, least=1)
_SOLVER = {"name": one_of(SOLVERS), "tolerance": positive, "max_steps": _COUNT}
_FLOW = {
    "times": _times,
    "rtol": positive,
    "atol": positive,
    "step": positive,
    "steady": number,
    "integrator": _word,
    "path": _word,
    "max_steps": _COUNT,
}
_REPORT = {"certificates": _flag, "metrics": _words, "keep": _words}
_EXECUTION = {
    "memory": functools.partial(whole, least=1, most=2**63 - 1),
    "chunk": _COUNT,
    "threads": _COUNT,
}
_RUN = {"key": seed_of, **_REPORT, **_EXECUTION}
