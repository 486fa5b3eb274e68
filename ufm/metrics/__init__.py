"""Neural-collapse metrics, of a solution or of anybody's features, labels and classifier.

Of features that do not fit into memory, `stream` has them in one pass.
"""

from ufm.metrics.agreement import Agreement
from ufm.metrics.covariances import (
    between_class_cov,
    class_gram,
    class_means,
    global_mean,
    within_class_cov,
)
from ufm.metrics.duality import nc3_product, nc3_self_duality, nc4_agreement
from ufm.metrics.geometry import (
    Angles,
    equiangularity,
    equinorm,
    nc2_etf,
    nc2_gof,
    nc2_orthogonal,
)
from ufm.metrics.geometry import (
    vector_norms as vector_norms,
)
from ufm.metrics.stream_metrics import StreamMetrics
from ufm.metrics.streams import Stream, load_stream, stream
from ufm.metrics.summary import Metrics, measure, measure_features, measure_params
from ufm.metrics.variability import cdnv, nc1_pinv, nc1_trace_ratio

__all__ = [
    "Agreement",
    "Angles",
    "Metrics",
    "Stream",
    "StreamMetrics",
    "between_class_cov",
    "cdnv",
    "class_gram",
    "class_means",
    "equiangularity",
    "equinorm",
    "global_mean",
    "load_stream",
    "measure",
    "measure_features",
    "measure_params",
    "nc1_pinv",
    "nc1_trace_ratio",
    "nc2_etf",
    "nc2_gof",
    "nc2_orthogonal",
    "nc3_product",
    "nc3_self_duality",
    "nc4_agreement",
    "stream",
    "within_class_cov",
]
