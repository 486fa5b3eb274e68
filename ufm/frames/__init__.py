"""Configurations of vectors: what training collapses to, and codes on spheres for K > d."""

from ufm.frames.angles import coherence, levenshtein_bound, welch_bound
from ufm.frames.code import Code
from ufm.frames.collapsed import (
    centring_matrix,
    frame_distance,
    general_orthogonal_frame,
    gram_distance,
    nearest_etf,
    orthogonal_frame,
    random_orthonormal,
    simplex_etf,
)
from ufm.frames.equiangular import EquiangularBasis, equiangular_basis
from ufm.frames.margin import one_vs_rest_margin
from ufm.frames.sharp import (
    cell_24,
    derived_code,
    equiangular_552,
    gosset_polytope,
    half_cube,
    icosahedron,
    leech_4600,
    orthoplex,
    polygon,
    root_system_e8,
    schlaefli_polytope,
    sharp_codes,
    simplex,
)
from ufm.frames.sparse import SparseETF, difference_etf, haar_etf, sparse_etf

__all__ = [
    "Code",
    "EquiangularBasis",
    "SparseETF",
    "cell_24",
    "centring_matrix",
    "coherence",
    "derived_code",
    "difference_etf",
    "equiangular_552",
    "equiangular_basis",
    "frame_distance",
    "general_orthogonal_frame",
    "gosset_polytope",
    "gram_distance",
    "haar_etf",
    "half_cube",
    "icosahedron",
    "leech_4600",
    "levenshtein_bound",
    "nearest_etf",
    "one_vs_rest_margin",
    "orthogonal_frame",
    "orthoplex",
    "polygon",
    "random_orthonormal",
    "root_system_e8",
    "schlaefli_polytope",
    "sharp_codes",
    "simplex",
    "simplex_etf",
    "sparse_etf",
    "welch_bound",
]
