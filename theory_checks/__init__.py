"""The field's theorems as checks: prediction, measurement and certificate side by side.

`python -m theory_checks` runs them; `theory_checks.problem_of_row` makes the problem of a row of a
report again.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, submod_attrs={"engine.rebuild": ["problem_of_row"]}
)
