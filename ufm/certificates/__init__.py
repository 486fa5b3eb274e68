"""Bounds on global minima: judged at any point, of any origin; no solver is asked."""

from ufm.certificates.bound import certify
from ufm.certificates.enclosure import Enclosure, prove

__all__ = ["Enclosure", "certify", "prove"]
