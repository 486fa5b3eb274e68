"""Bounds on global minima: judged at any point, of any origin; no solver is asked."""

from ufm.certificates.bound import certify
from ufm.certificates.boxes import Interval
from ufm.certificates.codes import CodeBound, code_bound, linear_programming_bound, proved_intervals
from ufm.certificates.enclosure import Enclosure, prove
from ufm.certificates.random_norm import Randomised
from ufm.certificates.randomised import RandomisedCertificate

__all__ = [
    "CodeBound",
    "Enclosure",
    "Interval",
    "Randomised",
    "RandomisedCertificate",
    "certify",
    "code_bound",
    "linear_programming_bound",
    "prove",
    "proved_intervals",
]
