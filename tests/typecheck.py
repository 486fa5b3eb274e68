"""`pytest --typecheck`: every annotation of `ufm` is checked when it is called, shapes too.

A wrong argument is then refused by its annotation, before the library's own words, so that tests of
refusals are left out, as are files that count compilations or interpret what JAX traces.
"""

from __future__ import annotations

import functools
import re

import pytest

# What a test of a refusal is named after.
_REFUSALS = re.compile(r"bad|refus|wrong|named|invalid|slip|needs|must|traced|unknown")


@functools.cache
def _beartype():
    import numpy as np
    from beartype import BeartypeConf, FrozenDict, beartype
    from numpy.typing import NDArray

    # arithmetic makes scalars of NumPy's arrays without axes
    floats = NDArray[np.float64]
    scalars = FrozenDict({floats: floats | np.float64})
    # a whole number is a float to everybody but `isinstance`
    return beartype(conf=BeartypeConf(is_pep484_tower=True, hint_overrides=scalars))


def checker(function):
    """The function, checked at every call.

    `Params` is left out: it also holds coordinates and rates, of other shapes.
    """
    if function.__qualname__.startswith("Params."):
        return function
    # (beartype knows the `Self` of whole classes alone)
    function.__annotations__ = {
        name: hint for name, hint in function.__annotations__.items() if "Self" not in str(hint)
    }
    return _beartype()(function)


def install() -> None:
    """Check everything of `ufm` that is imported from now on."""
    import jax
    import jaxtyping
    import numpy as np

    # wherever an array of JAX is asked for, one of NumPy will do, and so will what has no numbers
    # but a shape and a dtype, of which alone some questions are
    jaxtyping.Array = jax.Array | np.ndarray | jax.ShapeDtypeStruct
    jaxtyping.install_import_hook("ufm", "tests.typecheck.checker")


def leave_out_refusals(items: list[pytest.Item]) -> list[pytest.Item]:
    """The tests whose judge is a refusal."""
    return [item for item in items if _REFUSALS.search(item.name)]
