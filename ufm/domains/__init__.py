"""Where the vectors of a factor may lie.

`features=` takes one for the columns of H, `classifier=` one for the rows of W_M.
"""

from ufm.domains.ball import Ball as Ball
from ufm.domains.base import AbstractDomain as AbstractDomain
from ufm.domains.budget import Budget as Budget
from ufm.domains.inspection import DomainReport as DomainReport
from ufm.domains.inspection import check_domain as check_domain
from ufm.domains.nonnegative import Nonnegative as Nonnegative
from ufm.domains.real import Real as Real
from ufm.domains.sphere import Sphere as Sphere

__all__ = [
    "AbstractDomain",
    "Ball",
    "Budget",
    "DomainReport",
    "Nonnegative",
    "Real",
    "Sphere",
    "check_domain",
]
