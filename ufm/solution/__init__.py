"""What comes back: result codes, solutions, trajectories, certificates."""

from ufm.solution.certificates import AbstractCertificate, Certificate, relative_gap
from ufm.solution.results import Result
from ufm.solution.solutions import Solution, SolveFailed
from ufm.solution.trajectories import Trajectory

__all__ = [
    "AbstractCertificate",
    "Certificate",
    "Result",
    "Solution",
    "SolveFailed",
    "Trajectory",
    "relative_gap",
]
