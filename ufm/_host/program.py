"""A traced function as a list of NumPy operations.

XLA takes a second to compile what is done once to a small problem, and NumPy a few milliseconds to
do it. The function is traced as `jax.jit` traces it, so there is one text of the maths.
"""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jax.extend.core import Literal

from ufm._host.primitives import OPERATIONS, NotOnHost, by_jax

# Where a primitive is a call, the parameter that holds what it calls.
_CALLS = {
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "closed_call": "call_jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
    "custom_vmap_call": "call",
    "remat2": "jaxpr",
    "checkpoint": "jaxpr",
}


# Seconds that NumPy takes, as one of today's processors does: of every operation, of an entry, of a
# multiply-add of a product, and of one of a decomposition. They are reckoned and not measured, so
# that a script rounds alike whenever it is run, on however busy a machine.
_CALL, _ENTRY, _PRODUCT, _DECOMPOSED = 5e-6, 2e-9, 2e-10, 2e-9
_DECOMPOSITIONS = {"eigh", "svd", "lu", "triangular_solve", "qr", "cholesky"}


class TooLong(Exception):
    """A loop that XLA would have compiled and done by now."""


class _Patience(threading.local):
    """Seconds that are left, as reckoned, before a loop is given up."""

    left = math.inf


PATIENCE = _Patience()


class Program:
    """The operations of a closed jaxpr.

    Calls are written out, what depends on no input is done once, what nothing depends on never.
    `seconds`: what they take but for loops, as reckoned.
    """

    def __init__(self, closed):
        self.slots: dict[Any, int] = {}
        self.values: list[Any] = []
        self.known: set[int] = set()
        self.operations: list[tuple[Callable, list[int], list[int], float]] = []
        self.inputs = [self._slot(var) for var in closed.jaxpr.invars]
        with np.errstate(all="ignore"):
            self._add(closed.jaxpr, closed.consts)
        self.outputs = [self._read(var) for var in closed.jaxpr.outvars]
        wanted, needed = set(self.outputs), []
        for operation in reversed(self.operations):
            if not wanted.isdisjoint(operation[2]):
                needed.append(operation)
                wanted.update(operation[1])
        self.operations = needed[::-1]
        self.seconds = sum(operation[3] for operation in self.operations)

    def __call__(self, *arrays) -> list[np.ndarray | np.generic]:
        PATIENCE.left -= self.seconds
        values = self.values.copy()
        for slot, array in zip(self.inputs, arrays, strict=True):
            values[slot] = array
        for operation, read, written, _ in self.operations:
            found = operation(*[values[slot] for slot in read])
            for slot, array in zip(written, found, strict=True):
                values[slot] = array
        return [values[slot] for slot in self.outputs]

    def _slot(self, var) -> int:
        self.values.append(None)
        self.slots[var] = len(self.values) - 1
        return self.slots[var]

    def _constant(self, value) -> int:
        self.values.append(value)
        self.known.add(len(self.values) - 1)
        return len(self.values) - 1

    def _read(self, var) -> int:
        if isinstance(var, Literal):
            held: Any = var.aval
            return self._constant(np.asarray(var.val, held.dtype))
        return self.slots[var]

    def _add(self, jaxpr, consts) -> None:
        for var, const in zip(jaxpr.constvars, consts, strict=True):
            self.slots[var] = self._constant(np.asarray(const))
        for equation in jaxpr.eqns:
            name, read = equation.primitive.name, [self._read(var) for var in equation.invars]
            called = _called(name, equation.params)
            if called is not None:
                # a jaxpr may be called from several places: its variables get new slots each time
                inner, outer = called.jaxpr, dict(self.slots)
                first = len(read) - len(inner.invars)
                self.slots = dict(zip(inner.invars, read[first:], strict=True))
                self._add(inner, called.consts)
                found = [self._read(var) for var in inner.outvars]
                self.slots = outer
                self.slots.update(zip(equation.outvars, found, strict=True))
            elif _changes_nothing(equation):
                self.slots[equation.outvars[0]] = read[0]
            else:
                self._do(equation, read)

    def _do(self, equation, read: list[int]) -> None:
        operation = _operation(equation)
        if self.known.issuperset(read) and not equation.effects:
            found = operation(*[self.values[slot] for slot in read])
            for var, value in zip(equation.outvars, found, strict=True):
                self.slots[var] = self._constant(value)
        else:
            written = [self._slot(var) for var in equation.outvars]
            self.operations.append((operation, read, written, _reckoned(equation)))


def _reckoned(equation) -> float:
    """Seconds of an operation; those of loops are those of their turns."""
    sizes = [getattr(var.aval, "size", 1) for var in (*equation.invars, *equation.outvars)]
    largest, name = max(sizes, default=1), equation.primitive.name
    seconds = _CALL + _ENTRY * largest
    if name == "dot_general":
        x, (contracted, _) = equation.invars[0].aval, equation.params["dimension_numbers"][0:2]
        seconds += _PRODUCT * sizes[-1] * math.prod(x.shape[axis] for axis in contracted[0])
    elif name in _DECOMPOSITIONS:
        seconds += _DECOMPOSED * largest**1.5
    return seconds


def _called(name: str, parameters):
    if name == "custom_linear_solve":
        return parameters["jaxprs"].solve
    return parameters.get(_CALLS.get(name, ""))


def _changes_nothing(equation) -> bool:
    name = equation.primitive.name
    if name == "convert_element_type":
        return equation.invars[0].aval.dtype == equation.outvars[0].aval.dtype
    return name in ("stop_gradient", "copy")


def _operation(equation) -> Callable[..., Sequence[np.ndarray]]:
    name, parameters = equation.primitive.name, equation.params
    if name in _LOOPS:
        return _LOOPS[name](**parameters)
    fallback = functools.partial(_by_jax, equation.primitive, parameters)
    function = OPERATIONS.get(name)
    if function is None:
        return fallback
    several = equation.primitive.multiple_results

    def operation(*arrays):
        try:
            found = function(*arrays, **parameters)
        except (NotOnHost, np.linalg.LinAlgError):
            return fallback(*arrays)
        return found if several else (found,)

    return operation


def _by_jax(primitive, parameters, *arrays):
    return by_jax(primitive, arrays, parameters)


def _while(*, cond_nconsts, cond_jaxpr, body_nconsts, body_jaxpr):
    goes_on, body = Program(cond_jaxpr), Program(body_jaxpr)

    def operation(*arrays):
        consts, rest = arrays[:cond_nconsts], arrays[cond_nconsts:]
        fixed, carry = rest[:body_nconsts], rest[body_nconsts:]
        while (going := np.asarray(goes_on(*consts, *carry)[0])).any():
            carry = _where(going, body(*fixed, *carry), carry)
            if PATIENCE.left < 0:
                raise TooLong
        return carry

    return operation


def _where(going: np.ndarray, after, before):
    """What a step of a loop leaves: of many side by side (`vmap`), those that go on are changed."""
    if going.all():
        return after
    axes = going.shape
    return [
        np.where(going.reshape(axes + (1,) * (old.ndim - len(axes))), new, old)
        for new, old in zip(after, map(np.asarray, before), strict=True)
    ]


def _cond(*, branches, **_):
    programs = [Program(branch) for branch in branches]

    def operation(index, *arrays):
        return programs[min(max(int(index), 0), len(programs) - 1)](*arrays)

    return operation


def _scan(*, jaxpr, length, reverse, num_consts, num_carry, **_):
    program = Program(jaxpr)
    shapes = [(var.aval.shape, var.aval.dtype) for var in jaxpr.jaxpr.outvars[num_carry:]]

    def operation(*arrays):
        fixed, rest = arrays[:num_consts], arrays[num_consts:]
        carry, stacked = list(rest[:num_carry]), rest[num_carry:]
        out = [np.zeros((length, *shape), dtype) for shape, dtype in shapes]
        for i in reversed(range(length)) if reverse else range(length):
            found = program(*fixed, *carry, *(array[i] for array in stacked))
            carry = found[:num_carry]
            for whole, part in zip(out, found[num_carry:], strict=True):
                whole[i] = part
        return [*carry, *out]

    return operation


_LOOPS = {"while": _while, "cond": _cond, "scan": _scan}
