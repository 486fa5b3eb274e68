"""Lower bounds on global minima: judged at any point, of any origin; no solver is asked."""

from ufm.certificates.bound import certify

__all__ = ["certify"]
