"""The field's theorems as checks: prediction, measurement and certificate side by side.

`python -m theory_checks` runs them; `theory_checks.problem_of_row` makes the problem of a row of a
report again.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from theory_checks.engine.rebuild import problem_of_row

__all__ = ["problem_of_row"]


def __getattr__(name: str):
    # imported when it is asked for: the command line prints its help without JAX
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from theory_checks.engine.rebuild import problem_of_row

    return problem_of_row
