r"""Theorems A and B of ours: sharp codes minimise cross-entropy on the sphere, where a condition on
β holds.

K > d unit classifier rows w and unit features h, one a class, inverse temperature β (radii over
temperature). Where the condition fails nothing is claimed, and the code is no more than the best
known point. Simplices (K <= d + 1) are not here: the duality gap closes at them.
"""

from theory_checks.engine.registry import paper

paper("ours_codes", "Sharp codes proved, ours")
