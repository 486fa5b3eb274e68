"""Every slip is named.

Each argument of each public name, with everything in its place that does not belong there.

What is not refused with a word on the argument must stand in `tests/slips/table.py` as accepted,
with the reason.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from operator import attrgetter

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ufm
from tests.slips import table, wrong
from tests.slips.valid import AGREEMENT, KEY, PARAMS, PROBLEM, STREAM, fill_store

# Methods, by an object that has them.
BOUND: dict[str, Callable[[], Callable]] = {
    "Certificate.closes": lambda: ufm.certify(PROBLEM, PARAMS).closes,
    "Projection.__call__": lambda: ufm.analysis.three_class_projection(np.eye(3)),
    **{
        f"Stream.{name}": lambda name=name: getattr(ufm.metrics.load_stream(STREAM), name)
        for name in ("update", "merge", "finish", "agreement", "save")
    },
    **{
        f"Agreement.{name}": lambda name=name: getattr(AGREEMENT, name)
        for name in ("update", "merge")
    },
    "Trajectory.run": lambda: (
        twice(
            ufm.solvers.descend(PROBLEM, ufm.solvers.Adam(0.1), steps=[0], key=KEY, progress=False)
        ).run
    ),
}
# What these accept compiles anew each time, or changes what other tests meet: their own tests call
# them so.
NOT_CALLED = (
    "flow",
    "flows.flow_batch",
    "sweep",
    "forms.register",
    "forms.forget",
    "enable_compilation_cache",
)


@pytest.fixture(autouse=True, scope="module")
def _store():
    fill_store()


def twice(tree):
    """A batch of two."""
    return jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), tree)


def name_of(row: str) -> str:
    """The name that a row calls, without the word that tells it from others."""
    return row.partition(" ")[0]


def public_functions() -> dict[str, Callable]:
    """Everything public that takes arguments, by its dotted name."""
    found = {name: getattr(ufm, name) for name in ufm.__all__ if callable(getattr(ufm, name))}
    short = {id(value) for value in found.values()}
    for space in table.NAMESPACES:
        module = getattr(ufm, space)
        own = [
            n
            for n, value in vars(module).items()
            if getattr(value, "__module__", "") == module.__name__
        ]
        for name in getattr(module, "__all__", own):
            value = getattr(module, name)
            # a class of a room without a list of public names is not public
            made = inspect.isfunction(value) or (
                inspect.isclass(value) and hasattr(module, "__all__")
            )
            # (what is public without its room has a row already)
            if made and not name.startswith("_") and id(value) not in short:
                found[f"{space}.{name}"] = value
    return {name: value for name, value in found.items() if name not in table.RECORDS}


def test_every_public_name_has_a_row():
    known = {name_of(row) for row in table.ROWS} | {*table.WITHOUT_ARGUMENTS, *table.CHECKED_LATER}
    missing = set(public_functions()) - known
    assert not missing, f"no row in tests/slips/table.py: {sorted(missing)}"
    assert not known - set(public_functions()) - set(BOUND), "rows of names that are gone"
    assert all(inspect.isclass(attrgetter(name)(ufm)) for name in table.RECORDS)


@pytest.mark.parametrize("name", sorted(set(public_functions()) - set(table.CHECKED_LATER)))
def test_every_argument_has_a_column(name):
    rows = [row for row in table.ROWS if name_of(row) == name]
    arguments = {argument for row in rows for argument in table.ROWS[row]}
    signature = inspect.signature(public_functions()[name])
    assert arguments == (set() if name in table.WITHOUT_ARGUMENTS else set(signature.parameters))


# (Equinox says so before the check does)
@pytest.mark.filterwarnings("ignore:A JAX array is being set as static")
@pytest.mark.parametrize("row", table.ROWS)
def test_every_slip_is_named(row, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name, arguments = name_of(row), table.ROWS[row]
    function = BOUND[name]() if name in BOUND else attrgetter(name)(ufm)
    valid = {argument: of.value for argument, of in arguments.items()}
    if name not in NOT_CALLED:
        function(**valid)
    problems = []
    for argument, of in arguments.items():
        slips = {**wrong.ANYTHING, **dict(wrong.spoilt(of.value))}
        assert set(of.accepts) <= set(slips), f"{argument} accepts what is never tried"
        for slip, value in slips.items():
            accepted = slip in of.accepts
            if accepted and name in NOT_CALLED:
                continue
            came = outcome(function, {**valid, argument: value}, argument)
            if came != ("accepted" if accepted else "named"):
                problems.append(f"{argument}, {slip}: {came}")
    assert not problems, "\n".join(problems)


def outcome(function: Callable, arguments: dict, argument: str) -> str:
    """What a call ends in.

    "accepted", "named" (the argument is, in the error), or what else came.
    """
    try:
        function(**arguments)
    except FileNotFoundError:
        return "accepted"
    except (TypeError, ValueError) as error:
        # (a field is named with its class)
        named = re.search(rf"`(?:[A-Z]\w+\.)?{argument}[`.\[]", str(error))
        return "named" if named else f"{type(error).__name__} without the argument: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "accepted"


def test_a_slip_that_is_not_named_would_be_found():
    """What the test looks for: errors that name nothing, and answers."""

    def silent(*, size):
        return size

    def blunt(*, size):
        return np.ones(size)

    assert outcome(silent, {"size": -1}, "size") == "accepted"
    assert "without the argument" in outcome(blunt, {"size": -1}, "size")
