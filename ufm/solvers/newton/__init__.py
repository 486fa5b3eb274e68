"""Newton's method in a trust region: one set of rules, and the forms that obey it."""

from ufm.solvers.newton.projected import ProjectedNewton
from ufm.solvers.newton.single import Newton

__all__ = ["Newton", "ProjectedNewton"]
