"""One valid call of every public name, argument by argument.

A word after the name tells several apart.

`tests/test_slips.py` puts everything in `wrong.py` in the place of each argument in turn.
"""

from __future__ import annotations

import jax
import numpy as np

import ufm
from tests.slips.kinds import (
    Argument,
    array,
    flag,
    key,
    number,
    observed,
    only,
    optional,
    real,
    weight,
)
from tests.slips.valid import (
    AGREEMENT,
    BASIS,
    CLASSIFIER,
    COUNTS,
    FEATURES,
    FILE,
    FIXED,
    GRAM,
    INDEX,
    KEY,
    LABELS,
    OPTIMUM,
    PARAMS,
    PROBLEM,
    RECTIFIED,
    RECTIFIED_PARAMS,
    SOLUTION,
    STORE,
    STREAM,
)

# What the library fills in itself and hands out; nobody else has a reason to make one.
RECORDS = (
    "Certificate",
    "Comparison",
    "Enclosure",
    "NoClosedForm",
    "Optimum",
    "Result",
    "Solution",
    "SolveFailed",
    "Trajectory",
    "analysis.BestKnown",
    "analysis.Channels",
    "analysis.Classification",
    "analysis.FittedDecay",
    "analysis.HessianSpectrum",
    "analysis.LoadedFeatures",
    "analysis.Projection",
    "analysis.Reliability",
    "certificates.CodeBound",
    "certificates.Interval",
    "certificates.RandomisedCertificate",
    "forms.AbstractForm",
    "forms.Facts",
    "forms.Hypothesis",
    "frames.Code",
    "frames.SparseETF",
    "frames.EquiangularBasis",
    "labels.MixedPairs",
    "labels.NextTokens",
    "laws.DeepCandidate",
    "laws.EtfBranch",
    "laws.FocalScale",
    "laws.FocalThresholds",
    "laws.MergedMinority",
    "laws.MixupOptimum",
    "laws.NextTokenSVM",
    "laws.RectifiedScale",
    "laws.RectifiedStructure",
    "laws.SELI",
    "losses.LossReport",
    "domains.DomainReport",
    "metrics.Agreement",
    "metrics.Angles",
    "metrics.Metrics",
    "metrics.Stream",
    "metrics.StreamMetrics",
    "optima.Spectrum",
    "perturbation.Gains",
)
CODES = (
    "cell_24",
    "equiangular_552",
    "gosset_polytope",
    "half_cube",
    "icosahedron",
    "leech_4600",
    "root_system_e8",
    "schlaefli_polytope",
)
# Names without arguments, or whose arguments are looked at where they are used.
WITHOUT_ARGUMENTS = (
    "labels.AbstractLabels",
    "labels.AbstractSparseLabels",
    "losses.AbstractLoss",
    "CrossEntropy",
    "MeanSquaredError",
    "domains.AbstractDomain",
    "maps.AbstractMap",
    "maps.Product",
    "domains.Nonnegative",
    "domains.Real",
    "forms.known",
    *(f"frames.{name}" for name in CODES),
)
CHECKED_LATER = {
    "Params": "`params`, `start` and the like say what fits the problem at hand",
    "losses.per_class": "inside a loss, whose constructor and caller have checked both",
    "maps.AbstractGram": "a base class: its maps check what they are given",
    "forms.product_optimum": "numbers that a form has worked out from the facts of a problem",
}
OBSERVABLES = (
    "alignment",
    "cdnv",
    "classifier_spectrum",
    "factor_spectra",
    "gradient_norm",
    "imbalance_norm",
    "logits_spectrum",
    "loss",
    "nc1_pinv",
    "nc1_trace_ratio",
    "nc2_etf",
    "nc2_orthogonal",
    "nc3_self_duality",
    "nc4_agreement",
    "penalty",
)
NAMESPACES = (
    "analysis",
    "batch",
    "certificates",
    "channels",
    "domains",
    "flows",
    "forms",
    "frames",
    "labels",
    "laws",
    "losses",
    "maps",
    "metrics",
    "model",
    "observables",
    "optima",
    "perturbation",
    "solvers",
    "sweeping",
)

SPARSE = ufm.one_hot(COUNTS, collapsed=True, sparse=True)

# arguments that several calls share
words = Argument("of any kind", {"words": "any will do", "empty string": "none will do"})
problem = Argument(PROBLEM, {"problem": "it is one"})
params = Argument(PARAMS, {"params": "they are"})
labels = Argument(LABELS, {"labels": "they are"})
solution = Argument(SOLUTION, {"solution": "it is one"})
loss = only(ufm.CrossEntropy())
dtype = optional(only("float64"))
progress = optional(flag(False))
classes, count, budget = only(3), only(2), only(10)
counts = only(COUNTS) | {"shorter": "two classes"}
alpha = weight(1.0) | {"infinite": "λ = 1/2 always"}
decay = {"lambda_W": number(1e-2), "lambda_H": number(1e-2)}
# Problem takes λ = 0, for flows
decay_or_none = {"lambda_W": weight(1e-2), "lambda_H": weight(1e-2)}
smoothing = only(0.1) | {"zero": "no smoothing"}
observables = optional(only({"loss": ufm.observables.loss}) | {"empty dict": "none"})
rates = optional(only({"weights": 1.0}) | {"empty dict": "all at rate 1"})
tolerances = {"tolerance": optional(weight(1e-8)), "rcond": optional(weight(1e-8))}
of_metrics = {
    "features": observed(FEATURES) | {"shorter": "another dimension"},
    "labels": only(INDEX),
    "num_classes": classes,
}
with_classifier = {
    "features": observed(FEATURES),
    "labels": only(INDEX),
    "classifier": observed(CLASSIFIER),
}
of_gram = {"gram": observed(GRAM)}
of_point = {"problem": problem, "params": params}
frame = {"dim": optional(only(4)), "key": optional(key()), "dtype": dtype}
square = array(np.eye(3))
times = only((0.0, 0.5, 1.0)) | {"shorter": "fewer times"}
anywhen = array(np.ones(3)) | dict.fromkeys(
    ("zero", "negative", "fraction", "shorter", "deeper", "cube"), "any times"
)
flowing = {
    "ts": only((0.5, 1.0)) | {"shorter": "one time"},
    "path": only("gradient"),
    "observables": observables,
    "integration": optional(only(ufm.flows.Integration())),
}
FLOW = ufm.flows.Flow((0.5, 1.0))
absent = optional(only(None))
nodes = {"nodes": only(8)}
trust_region = {
    "max_steps": budget,
    "max_cg": budget,
    "first": number(0.1),
    "poor": only(0.25),
    "good": only(0.75),
    "shrink": only(0.25),
    "grow": number(2.0),
    "accept": only(1e-4) | {"zero": "any descent"},
    "noise": weight(100.0),
    "patience": budget,
    "forcing": only((1e-2, 0.5)),
}
minimising = {"throw": flag(False), "progress": progress}

ROWS: dict[str, dict[str, Argument]] = {
    # labels, problems, losses
    "Labels": {
        "targets": array(LABELS.targets) | {"shorter": "two classes"},
        "masses": only(LABELS.masses),
        "weights": optional(only(LABELS.masses)),
    },
    "one_hot": {
        "class_counts": only(COUNTS),
        "class_weights": optional(only((1.0, 2.0, 3.0))),
        "collapsed": flag(True),
        "sparse": optional(flag(False)),
        "dtype": dtype,
    },
    "labels.smoothed": {
        "class_counts": only(COUNTS),
        "smoothing": smoothing,
        "class_weights": optional(only((1.0, 2.0, 3.0))),
        "collapsed": flag(True),
        "sparse": optional(flag(False)),
        "dtype": dtype,
    },
    "soft": {
        "targets": array(np.full((3, 4), 1 / 3)) | {"shorter": "two classes"},
        "masses": optional(only(np.ones(4))),
        "weights": optional(only(np.ones(4))),
        "dtype": dtype,
    },
    "labels.contrastive": {"class_counts": counts, "dtype": dtype},
    "labels.pick_all": {
        "label_sets": only(((0,), (0, 1), (2,))),
        "counts": optional(only((2, 1, 3))),
        "num_classes": classes,
        "collapsed": flag(True),
        "dtype": dtype,
    },
    "labels.step_counts": {
        "num_majority": count | {"zero": "one group"},
        "num_minority": count | {"zero": "one group"},
        "majority": only(10),
        "minority": only(5),
    },
    "labels.exponential_counts": {
        "num_classes": classes,
        "largest": only(100),
        "ratio": number(10.0),
    },
    "labels.collapse": {
        "labels": labels,
        "columns": observed(np.ones((2, 3))) | {"shorter": "another dimension"},
    },
    "analysis.drawn_labels": {"labels": labels, "key": key(), "draws": count},
    "labels.SparseLabels": {
        "index": only(SPARSE.index),
        "entries": array(SPARSE.entries),
        "background": array(SPARSE.background),
        "masses": only(SPARSE.masses),
        "num_classes": classes,
        "weights": optional(only(SPARSE.masses)),
        "at_once": optional(count),
    },
    "labels.PairLabels": {
        "first": only(SPARSE.index[0]),
        "second": only(SPARSE.index[0]),
        "share": only(SPARSE.entries[0]),
        "masses": only(SPARSE.masses),
        "num_classes": classes,
        "weights": optional(only(SPARSE.masses)),
        "at_once": optional(count),
    },
    "labels.sparse_soft": {
        "index": only(np.arange(3)[None]),
        "entries": array(np.ones((1, 3))),
        "masses": optional(only(np.ones(3))),
        "num_classes": classes,
        "background": real(0.0),
        "weights": optional(only(np.ones(3))),
        "dtype": dtype,
    },
    "labels.federated": {
        "client_counts": only(np.array([[2.0, 1.0, 0.0], [1.0, 0.0, 3.0]]))
        | {"shorter": "one client"},
        "weighting": only("samples"),
        "balanced": flag(False),
        "dtype": dtype,
    },
    "labels.OffsetLabels": {"labels": labels, "offsets": array(np.ones((3, 3)))},
    "labels.with_offsets": {"labels": labels, "offsets": array(np.ones((3, 3)))},
    "labels.written_out": {"labels": labels},
    "labels.next_token": {
        "contexts": array(np.array([5, 7, 5])),
        "tokens": only(np.array([0, 1, 1])),
        "weights": optional(only(np.array([1, 2, 3]))),
        "per": only("occurrence"),
        "num_classes": optional(classes),
        "dtype": dtype,
    },
    "labels.text_contexts": {
        "tokens": only(np.array([0, 1, 1, 0])) | {"shorter": "a shorter text"},
        "length": count,
    },
    "Problem": {
        "labels": labels,
        "loss": loss,
        "widths": only((3, 3)),
        **{name: optional(value) for name, value in decay_or_none.items()},
        "bias": optional(number(0.1)),
        "anchor": square,
        "beta": number(1.0),
        "fixed_weights": optional(only((np.ones((3, 3)),) * 2)),
        "features": only(ufm.domains.Real()),
        "classifier": only(ufm.domains.Real()),
        "activation": optional(only("relu")),
        "map": only(ufm.maps.Product()),
    },
    "check_loss": {
        "loss": loss,
        "num_classes": classes,
        "key": key(),
        "targets": optional(array(np.full((3, 4), 1 / 3))),
    },
    "domains.check_domain": {
        "domain": only(ufm.domains.Real()),
        "dim": only(3),
        "num_vectors": only(3),
        "key": key(),
    },
    "losses.AdjustedCrossEntropy": {
        "multiplicative": optional(only(np.ones(3))),
        "additive": optional(array(np.ones(3))),
    },
    "losses.Focal": {"gamma": weight(2.0)},
    "domains.Ball": {"radius": number(2.0)},
    "maps.Activated": {"activation": only("leaky_relu"), "parameter": optional(weight(0.1))},
    "maps.Tied": {"temperature": number(0.5), "nonnegative": flag(False)},
    "domains.Sphere": {"radius": number(2.0)},
    "domains.Budget": {
        "energy": number(2.0),
        "weights": optional(only((1.0, 2.0))) | {"shorter": "another number of vectors"},
    },
    "losses.RescaledSquaredError": {"length": number(1.0), "weight": number(1.0)},
    "losses.Sum": {
        "losses": only((ufm.CrossEntropy(), ufm.MeanSquaredError())),
        "weights": optional(only((1.0, 0.5))),
    },
    "model.objective": of_point,
    "enable_compilation_cache": {
        "folder": optional(only("programs")) | {"words": "a new folder"},
    },
    "load_features": {
        "path": only(FILE) | {"words": "no such file, which open() says"},
        "features": only("features"),
        "labels": only("labels"),
        "num_classes": optional(classes),
        "dtype": dtype,
    },
    # mixup
    "mixup": {
        "num_classes": classes,
        "alpha": alpha,
        **nodes,
        "class_counts": optional(only(COUNTS)),
        "dtype": dtype,
    },
    "labels.sampled_mixup": {
        "class_counts": counts,
        "alpha": alpha,
        "draws": count,
        "key": key(),
        "dtype": dtype,
    },
    "labels.beta_quadrature": {"alpha": number(1.0) | {"infinite": "one node, 1/2"}, **nodes},
    "labels.mixing_moment": {"alpha": alpha},
    "labels.mixed_pairs": {"labels": labels},
    "laws.mixup_optimum": {"num_classes": classes, "alpha": alpha, **decay, **nodes},
    "laws.mixup_quadrature_error": {"num_classes": classes, "alpha": alpha, **nodes, **decay},
    "laws.next_token_svm": {
        "supports": array(np.eye(3)),
        "masses": optional(only(np.ones(3))),
        "tolerance": weight(1e-9),
        "max_steps": budget,
    },
    "laws.balanced_softmax_logits": {
        "class_counts": only(np.array([5, 3, 0, 2]))
        | {name: "other clients" for name in ("shorter", "deeper", "cube")},
        "strength": number(0.1),
        "length": optional(only(None)),
    },
    "laws.mixup_threshold": {"num_classes": classes, "alpha": alpha},
    "laws.manifold_mixup_optimum": {"num_classes": classes, "alpha": alpha, **decay, **nodes},
    "laws.squared_error_mixup_spectrum": {"num_classes": classes, "alpha": alpha, **decay},
    "analysis.channel_coordinates": {"logits": square, "labels": labels},
    "analysis.three_class_projection": {
        "classifier": observed(np.eye(3)),
        "classes": only((0, 1, 2)),
        "tolerance": number(1e-5),
    },
    # frames and metrics
    "frames.centring_matrix": {"num_classes": classes, "dtype": dtype},
    "simplex_etf": {"num_classes": classes, "multiplier": number(1.0), **frame},
    "frames.orthogonal_frame": {"num_classes": classes, "multiplier": number(1.0), **frame},
    "frames.general_orthogonal_frame": {
        "lengths": only((1.0, 2.0, 3.0)) | {"shorter": "two vectors"},
        **frame,
    },
    "frames.gram_distance": {"gram": observed(GRAM), "target": observed(np.eye(3))},
    "frames.frame_distance": {
        "vectors": observed(FEATURES) | {"shorter": "another dimension"},
        "frame": observed(np.eye(2, 6)) | {"shorter": "another dimension"},
    },
    "frames.sparse_etf": {
        "num_classes": classes,
        "dim": count,
        "density": only(0.8),
        "key": key(),
        "draws": count,
    },
    "frames.haar_etf": {"num_classes": only(4)},
    "frames.difference_etf": {"num_classes": classes},
    "frames.nearest_etf": {"vectors": observed(np.eye(3)) | {"shorter": "another dimension"}},
    "certificates.code_bound": {
        "code": only(ufm.frames.polygon(4)),
        "beta": weight(1.0),
        "theorem": only("A"),
    },
    "certificates.proved_intervals": {
        "code": only(ufm.frames.polygon(4)),
        "theorem": only("A"),
        "upto": number(2.0),
        "width": number(0.1),
    },
    "certificates.linear_programming_bound": {
        "num_vectors": only(4),
        "dim": only(2),
        "beta": weight(1.0),
    },
    "frames.one_vs_rest_margin": {
        "classifier": array(np.eye(3)) | {"shorter": "two rows"},
    },
    "frames.equiangular_basis": {
        "num_vectors": only(5),
        "dim": only(3),
        "key": key(),
        "steps": only(2),
        "dtype": dtype,
        "checkpoint": optional(only(BASIS)) | {"words": "a new file"},
        "progress": progress,
    },
    "frames.coherence": {"vectors": array(np.eye(3)) | {"shorter": "two rows"}},
    "frames.welch_bound": {"num_vectors": only(5), "dim": only(3)},
    "frames.levenshtein_bound": {"num_vectors": only(5), "dim": only(3)},
    "frames.polygon": {"num_vectors": only(5)},
    "frames.simplex": {"dim": only(3)},
    "frames.orthoplex": {"dim": only(3)},
    "frames.derived_code": {
        "code": only(ufm.frames.root_system_e8()),
        "product": only(0.5) | {"zero": "other vectors have it"},
        "name": optional(words),
    },
    "frames.random_orthonormal": {
        "rows": only(3),
        "columns": only(2),
        "key": key(),
        "dtype": dtype,
    },
    "metrics.class_means": of_metrics,
    "metrics.global_mean": of_metrics,
    "metrics.within_class_cov": of_metrics,
    "metrics.between_class_cov": of_metrics,
    "metrics.class_gram": {**of_metrics, "centre": flag(False)},
    "metrics.cdnv": of_metrics,
    "metrics.nc1_pinv": {**of_metrics, "rcond": optional(weight(1e-8))},
    "metrics.nc1_trace_ratio": of_metrics,
    "metrics.nc2_etf": of_gram,
    "metrics.nc2_gof": {**of_gram, "lengths": optional(only((1.0, 2.0, 3.0)))},
    "metrics.nc2_orthogonal": of_gram,
    "metrics.equinorm": of_gram,
    "metrics.equiangularity": {**of_gram, "floor": weight(0.0)},
    "metrics.nc3_product": {
        **with_classifier,
        "target": observed(np.eye(3)),
        "num_classes": optional(classes),
        "centre": flag(False),
    },
    "metrics.nc3_self_duality": {
        **with_classifier,
        "num_classes": optional(classes),
        "centre": flag(False),
        "ratios": optional(only((1.0, 2.0, 3.0))),
    },
    "metrics.nc4_agreement": {
        **with_classifier,
        "bias": optional(observed(np.zeros(3)) | {"NaN array": "NaN in, NaN out"}),
        "num_classes": optional(classes),
        "tolerance": weight(0.0),
    },
    "metrics.stream": {"num_classes": classes, "dim": count},
    "metrics.load_stream": {"path": only(STREAM) | {"words": "no such file, which open() says"}},
    "Stream.update": {"features": array(FEATURES), "labels": only(INDEX)},
    "Stream.merge": {"other": only(ufm.metrics.stream(3, 2))},
    "Stream.finish": {
        "classifier": optional(array(CLASSIFIER)),
        "least": count,
        "global_mean": only("samples"),
    },
    "Stream.agreement": {
        "classifier": array(CLASSIFIER),
        "bias": optional(array(np.zeros(3))),
        "least": count,
    },
    "Stream.save": {"path": only(STREAM) | {"words": "a new file"}},
    "Agreement.update": {"features": array(FEATURES), "labels": only(INDEX)},
    "Agreement.merge": {"other": only(AGREEMENT)},
    "measure": {"solution": solution, **tolerances},
    "metrics.measure_params": {**of_point, **tolerances},
    "metrics.measure_features": {
        **with_classifier,
        "bias": optional(observed(np.zeros(3)) | {"NaN array": "NaN in, NaN out"}),
        "num_classes": optional(classes),
        "rcond": optional(weight(1e-8)),
        "feature_floor": weight(0.0),
        "classifier_floor": weight(0.0),
        "tolerance": weight(0.0),
    },
    "analysis.reliability": {
        "probabilities": only(np.full((3, 3), 1 / 3)),
        "labels": labels,
        "bins": only(5),
    },
    "fit_decay": {
        "features": only(np.asarray(PARAMS.features)),
        "labels": labels,
        "classifier": only(np.asarray(PARAMS.classifier)),
        "bias": optional(array(np.zeros(3))),
        "loss": loss,
    },
    # predictions
    "closed_form": {"problem": problem},
    "theory": {"problem": problem},
    "thresholds": {"problem": problem, "rtol": only(1e-6), "progress": progress},
    "forms.register": {"form": only(ufm.forms.known()[0])},
    "forms.forget": {"form": only(ufm.forms.known()[0])},
    "laws.deep_candidates": {"problem": problem},
    "laws.etf_branch": {"problem": problem},
    "laws.zero_strength": {"class_counts": counts, "bias": optional(only("free"))},
    "laws.focal_scale": {"num_classes": classes, "strength": number(0.01), "gamma": weight(2.0)},
    "laws.focal_thresholds": {"num_classes": classes, "gamma": weight(2.0)},
    "laws.minority_collapse_ratio": {
        "num_majority": count,
        "num_minority": count,
        "weight_energy": number(1.0),
        "feature_energy": number(1.0),
    },
    "laws.merged_minority": {"num_majority": count, "num_minority": count, "ratio": number(4.0)},
    "laws.minority_strength": {"class_counts": counts},
    "laws.vanishing_strength": {
        "class_counts": only((5, 5, 3, 3)) | {"shorter": "one minority class"}
    },
    "laws.rectified_scale": {
        "complexity": number(3.0),
        "strength": number(0.01),
        "depth": count,
    },
    "laws.least_complexity": {"num_classes": classes, "depth": count},
    "laws.triple_complexity": {"depth": only(4)},
    "laws.code_complexity": {
        "num_classes": only(6),
        "depth": count,
        "rank": only(3),
        "largest": only(0.0) | {"zero": "it is 0", "negative": "as that of two opposite ones"},
        "smallest": only(-1.0) | {"negative": "opposite vectors"},
    },
    "laws.rectified_structures": {"num_classes": classes, "depth": count},
    "laws.rectified_point": {
        "structure": only(ufm.laws.rectified_structures(3, 4)[0]),
        "lambda_W": only(1e-3),
        "lambda_H": number(1e-3),
        "samples_per_class": number(4.0),
        "width": optional(only(3)),
    },
    "laws.seli": {"class_counts": counts},
    "laws.seli_distance": {"class_logits": square},
    # judging
    "certify": of_point,
    "prove": of_point | {"bits": only(106)},
    "certify with_random_vectors": of_point
    | {"randomised": optional(only(ufm.certificates.Randomised(steps=3, block=2)))},
    "certificates.Randomised": {
        "key": optional(key()),
        "steps": only(3),
        "block": count,
        "failure_probability": only(1e-3),
        "progress": progress,
    },
    "compare": {"solution": solution, "optimum": Argument(OPTIMUM, {"optimum": "it is one"})},
    "classify": of_point,
    "analysis.hessian_spectrum": of_point,
    # solving
    "solvers.spectral_start": {"problem": problem},
    "solvers.exchangeable_start": {
        "problem": problem,
        "key": key(),
        "tolerance": optional(only(1e-8)),
        "progress": progress,
    },
    "solvers.random_start": {"problem": problem, "key": key(), "std": optional(number(0.1))},
    "flows.start_from_features": {"problem": problem, "features": square, "key": key()},
    "analysis.start_from_logits": {
        "problem": problem,
        "logits": square,
        "key": key(),
        "noise": weight(1e-3),
    },
    "solvers.Newton": {**trust_region, "single_from": budget},
    "solvers.ProjectedNewton": {
        **trust_region,
        "faces": budget,
        "decrease": only(1e-2),
        "cut": only(0.3),
        "max_cuts": budget,
    },
    "solvers.LBFGS": {"max_steps": budget, "memory_size": classes},
    "solvers.GradientDescent": {"step_size": number(0.1), "max_steps": budget},
    "solvers.Momentum": {
        "step_size": number(0.1),
        "momentum": only(0.9) | {"zero": "none"},
        "max_steps": budget,
    },
    "solvers.Smoothing": {
        "max_steps": budget,
        "memory_size": classes,
        "accuracy": only(0.1),
        "near": flag(False),
    },
    "solvers.Adam": {"step_size": number(0.1), "max_steps": budget},
    "minimise": {
        "problem": problem,
        "key": key(),
        "solver": optional(only(ufm.solvers.Newton())),
        "starts": only(1),
        "start": absent,
        "resume": absent,
        "tolerance": optional(only(1e-8)),
        "gap": optional(only(1e-3)),
        **minimising,
    },
    "minimise from_a_start": {"problem": problem, "start": params, **minimising},
    "minimise going_on": {"problem": problem, "resume": solution, **minimising},
    "solvers.minimise_rectified": {
        "problem": only(RECTIFIED),
        "key": key(),
        "start": absent,
        "starts": only(1),
        "progress": progress,
    },
    "solvers.minimise_rectified from_a_start": {
        "problem": only(RECTIFIED),
        "start": only(RECTIFIED_PARAMS),
    },
    "solvers.fit_features": {
        "problem": only(FIXED),
        "bias": array(np.zeros(3)),
        "max_steps": budget,
        "execution": optional(only(ufm.batch.Execution(threads=1))),
        "progress": progress,
    },
    "search": {
        "problem": problem,
        "key": key(),
        "starts": only(1),
        "logits": optional(only({"mine": np.eye(3)}) | {"empty dict": "none"}),
        "directions": flag(True),
        "resume": absent,
        "execution": optional(only(ufm.batch.Execution(threads=1))),
        "progress": progress,
    },
    "solvers.descend": {
        "problem": problem,
        "solver": only(ufm.solvers.GradientDescent(0.1)),
        "steps": only((1, 2)) | {"shorter": "one step"},
        "key": key(),
        "start": absent,
        "observables": observables,
        "keep_params": flag(False),
        "progress": progress,
    },
    "solvers.descend from_a_start": {
        "problem": problem,
        "solver": only(ufm.solvers.GradientDescent(0.1)),
        "steps": only((1, 2)) | {"shorter": "one step"},
        "start": params,
    },
    "flow": {
        "problem": problem,
        "key": key(),
        "start": absent,
        **flowing,
        "progress": progress,
    },
    "flow from_a_start": {"problem": problem, "ts": flowing["ts"], "start": params},
    "flows.Integration": {
        "rtol": optional(number(1e-6)),
        "atol": optional(number(1e-6)),
        "step": optional(number(0.1)),
        "steady": optional(weight(1e-6)),
        "polish": flag(False),
        "integrator": only("dopri8"),
        "max_steps": budget,
    },
    "flows.Path": {
        "name": only("gradient"),
        "rates": optional(only({"weights": 1.0}) | {"empty dict": "all at rate 1"}),
    },
    "flows.Record": {"observables": observables, "keep_params": flag(True)},
    "flows.Flow": flowing,
    "flows.flow_batch": {
        "problems": problem,
        "flow": only(FLOW),
        "keys": only(jax.random.split(KEY, 2)),
        "starts": absent,
        "execution": optional(only(ufm.batch.Execution(threads=1))),
        "progress": progress,
    },
    "flows.flow_batch from_starts": {
        "problems": problem,
        "flow": only(FLOW),
        "starts": only([PARAMS, PARAMS]),
    },
    "batch.Execution": {
        "threads": optional(only(1)),
        "devices": optional(only(jax.local_devices()[:1])),
        "memory": only(2**20),
        "chunk": optional(count),
    },
    "sweeping.Minimisation": {
        "solver": optional(only(ufm.solvers.Newton())),
        "tolerance": optional(only(1e-8)),
    },
    "sweeping.Report": {
        "certificates": optional(flag(True)),
        "metrics": only(("nc1_trace_ratio",)) | {"empty list": "none"},
        "keep": only(("logits",)) | {"empty list": "nothing"},
    },
    "sweep": {
        "make": problem,
        "over": only({"lambda_W": [1e-2, 2e-2]}),
        "key": key(),
        "method": optional(only(ufm.solvers.Newton())),
        "report": optional(only(ufm.sweeping.Report())),
        "store": absent | {"words": "a folder that is made"},
        "execution": optional(only(ufm.batch.Execution(threads=1))),
        "progress": progress,
    },
    "open_sweep": {"path": only(STORE), "partial": flag(False)},
    # what is handed out and called
    "Certificate.closes": {"tolerance": weight(1e-9)},
    "Projection.__call__": {"columns": observed(np.ones((3, 4)))},
    "Trajectory.run": {"index": only(1) | {"zero": "the first"}},
}

samples = number(4.0)
mode = {"ts": times, "target": weight(1.0), "start": weight(0.1)}
several = {"cube": "an array of them"}
ROWS |= {
    "channels.strength": {
        "num_classes": classes,
        "multiplier": number(1.0) | several,
        "decay": number(0.1) | several,
    },
    "channels.same_class_gap": {"num_classes": classes, "strength": number(0.1) | several},
    "channels.channel": {
        "num_classes": classes,
        "lam": only(0.3) | several | {"zero": "the other class"},
        "strength": number(0.1) | several,
    },
    "laws.sum_time": {"ts": anywhen, "num_samples": samples},
    "laws.library_time": {"ts": anywhen, "num_samples": samples},
    "laws.sum_decay": {"decay": weight(0.1) | several, "num_samples": samples},
    "laws.imbalance": {
        "initial": array(np.eye(2)) | {"shorter": "no square"},
        "ts": times,
        "decay": weight(0.1),
    },
    "laws.saxe_mode": {**mode, "decay": weight(0.1)},
    "laws.saxe_mode_unbalanced": {
        "ts": times,
        "target": weight(1.0),
        "start": real(0.1),
        "imbalance": real(0.1),
    },
    "laws.deep_mode": {
        "ts": times,
        "target": number(1.0),
        "start": weight(0.1),
        "depth": count,
        "decay": weight(0.1),
    },
    "laws.small_start": {
        "classifier": square,
        "class_means": square,
        "ts": times,
        "samples_per_class": samples,
    },
    "laws.balanced_gram": {"initial": only(np.eye(3)), "ts": times, "samples_per_class": samples},
    "laws.renormalised_spectrum": {
        "start": only((1.0, 2.0)) | {"shorter": "two classes", "fraction": "two classes"},
        "ts": times,
        "samples_per_class": samples,
    },
    "laws.cross_entropy_gap": {
        "ts": times,
        "start": weight(0.1),
        "num_classes": classes,
        "samples_per_class": samples,
        "depth": count,
        "decay": weight(0.1),
    },
    "laws.fixed_etf_gap": {
        "ts": times,
        "num_classes": classes,
        "squared_scale": number(1.0),
        "start": real(0.0),
    },
    "laws.max_margin": {"num_classes": classes, "samples_per_class": samples},
}

beta = number(1.0)
sizes = {"num_classes": classes, "samples_per_class": only(4), "feature_dim": only(5)}
translated = {
    "num_classes": classes,
    "samples_per_class": number(4.0),
    "lambda_W": weight(1e-2) | several,
    "lambda_H": weight(1e-2) | several,
    "beta": optional(weight(1.0) | several),
}
matrices = {
    "features": square | {"shorter": "another dimension"},
    "targets": square | {"shorter": "two classes"},
}
ROWS |= {
    "perturbation.library_parameters": translated,
    "perturbation.paper_parameters": translated,
    "perturbation.collapsed_minimiser": {"frame": only(np.eye(3)), **decay},
    "perturbation.curvatures": {**sizes, **decay},
    "perturbation.gains": {**sizes, **decay, "beta": beta},
    "perturbation.diagonal_block_gains": {**sizes, **decay, "beta": beta},
    "perturbation.cross_talk": {**decay, "beta": beta},
    "perturbation.leading_order": {**decay, "beta": beta},
    "perturbation.scatter_attenuation": {
        "num_classes": classes,
        "feature_dim": only(5),
        **decay,
        "beta": beta,
    },
    "perturbation.response": {
        "classifier": square,
        "features": square,
        "targets": square,
        "lambda_W": number(1e-2),
        "lambda_H": weight(1e-2),
        "beta": beta,
    },
    "perturbation.reduced_loss": {**matrices, "lambda_W": number(1e-2), "lambda_H": weight(1e-2)},
    "perturbation.reduced_velocity": {
        **matrices,
        "lambda_W": number(1e-2),
        "lambda_H": weight(1e-2),
    },
}

ROWS |= {f"observables.{name}": of_point for name in OBSERVABLES}
ROWS["observables.imbalance"] = {**of_point, "rates": rates}
