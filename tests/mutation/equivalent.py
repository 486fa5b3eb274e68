"""Mutants that no test can kill, each with the reason.

(file, function, kind, old, new, which of those that read alike, why)
"""

from __future__ import annotations

_BRACKET = "a bracket may be any that holds the root: bisection ends at the same number"
_ZERO = "it divides a zero, or scales a vector of zeros"
_THRESHOLD = "a mean is taken away or counted in what is left: the bound is true with any threshold"
_GRAM = "both Grams have the same eigenvalues but for zeros; one is cheaper"
_PATH = "a rule for steps: the way to a minimum, not the minimum"
_NEVER = "two floats that are equal only by accident, or all zero"
_NOISE = "a random direction's squares are one on average, and so is what replaces them"
_BOUND = "ufm/certificates/bound.py"
_DUAL = "ufm/certificates/dual_bound.py"
_SPECTRAL = "ufm/certificates/spectral.py"
_HIDES = "8 * jnp.abs(mean) <= hidden_by_rounding(problem, jnp.abs(dual))"
_APART = "np.diff(masses[order]) < -_SAME * masses.max()"
_EITHER = "scaled @ scaled.T if rows <= columns else scaled.T @ scaled"

EQUIVALENT: tuple[tuple[str, str, str, str, str, int, str], ...] = (
    (
        "ufm/optima/two_clusters.py",
        "vanishing_strength",
        "const×1.01",
        "0.0",
        "(0.01)",
        2,
        _BRACKET,
    ),
    ("ufm/optima/two_clusters.py", "vanishing_strength", "const×100", "0.0", "(1.0)", 2, _BRACKET),
    (_BOUND, "_certify", "const+1", "1", "(2)", 1, _ZERO),
    (
        _BOUND,
        "_certify",
        "edge-compare",
        _HIDES,
        f"(({_HIDES.replace(' <= ', ') < (')}))",
        1,
        _NEVER,
    ),
    (_BOUND, "_certify", "drop-factor", "8 * jnp.abs(mean)", "(jnp.abs(mean))", 1, _THRESHOLD),
    (_BOUND, "_certify", "const+1", "8", "(9)", 1, _THRESHOLD),
    (
        _DUAL,
        "judged",
        "edge-compare",
        "contradiction > 1",
        "((contradiction) >= (1))",
        1,
        _NEVER,
    ),
    (_DUAL, "dual_bound", "const+1", "1", "(2)", 3, _ZERO),
    (_DUAL, "dual_bound", "const→0", "1", "(0)", 3, _ZERO),
    (
        _DUAL,
        "dual_bound",
        "const+1",
        "0",
        "(1)",
        1,
        "JAX takes the last entry for one beyond the end, and there is one",
    ),
    (_DUAL, "dual_bound", "const+1", "0", "(1)", 2, _ZERO),
    (
        _DUAL,
        "_at",
        "const+1",
        "0",
        "(1)",
        1,
        "the largest entry is the largest of the rows' and of the columns'",
    ),
    (_SPECTRAL, "spectral_norm", "const+1", "1", "(2)", 1, _ZERO),
    (
        _SPECTRAL,
        "spectral_norm",
        "flip-condition",
        _EITHER,
        "((scaled.T @ scaled) if (rows <= columns) else (scaled @ scaled.T))",
        1,
        _GRAM,
    ),
    (
        _SPECTRAL,
        "spectral_norm",
        "edge-compare",
        "rows <= columns",
        "((rows) < (columns))",
        1,
        _GRAM,
    ),
    (
        _SPECTRAL,
        "spectral_norm",
        "flip-compare",
        "rows <= columns",
        "((rows) > (columns))",
        1,
        _GRAM,
    ),
    (
        "ufm/losses/focal.py",
        "Focal.__call__",
        "const+1",
        "2",
        "(3)",
        1,
        "a floor far below the rounding of 1 - p, for the second derivative alone",
    ),
    (
        "ufm/optima/two_cluster_problem.py",
        "_Reduced.newton",
        "const×100",
        "1e-4",
        "(0.01)",
        1,
        _PATH,
    ),
    ("ufm/losses/shares.py", "_LENGTHS", "const×100", "0.1", "(10.0)", 1, _PATH),
    ("ufm/losses/shares.py", "newton.step_of", "const+1", "2", "(3)", 3, _PATH),
    (
        "ufm/certificates/boxes.py",
        "enclosed",
        "const+1",
        "1",
        "(2)",
        3,
        "one more coefficient of a power series, which nobody reads",
    ),
    (
        "ufm/optima/statements/cross_entropy_decay.py",
        "groups",
        "edge-compare",
        _APART,
        "((np.diff(masses[order])) <= (-_SAME * masses.max()))",
        1,
        _NEVER,
    ),
    (
        "ufm/optima/cross_entropy_dynamics.py",
        "fixed_etf_gap",
        "const×1.01",
        "1e-12",
        "(1.01e-12)",
        1,
        _BRACKET,
    ),
    (
        "ufm/optima/focal.py",
        "focal_scale",
        "edge-compare",
        "peak > 0",
        "((peak) >= (0))",
        1,
        "where the slope is steepest at 0, the excess there is what was found negative at the peak",
    ),
    ("ufm/optima/forms/mixture.py", "_quantities", "const×1.01", "1.0", "(1.01)", 1, _ZERO),
    ("ufm/losses/questions.py", "_gradient", "const→0", "2", "(0)", 2, _NOISE),
)

REASONS = {entry[:6]: entry[6] for entry in EQUIVALENT}
