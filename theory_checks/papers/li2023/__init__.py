r"""Li, Shang, He, Lin & Wu 2023, federated learning with a fixed simplex ETF (FedETF).

Recalled from their code: unit columns V, unit features, logits $\beta V^\top h$ with a learned β,
loss $\mathrm{CE}(\beta V^\top h + \log n, y)$ with the counts n of the client, a class without
samples at $-\infty$. In `ufm` that is $W = \beta V^\top$ fixed, features on the unit sphere and
labels from `ufm.labels.federated(counts, balanced=True)`; "decay" has $\tfrac\mu2\|h\|^2$ a sample
in place of the sphere, $\mu = N\lambda_H$. All optima are derived here.
"""

from theory_checks.engine.registry import paper

paper(
    "li2023",
    "Li, Shang, He, Lin & Wu 2023, No Fear of Classifier Biases (FedETF)",
    arxiv="2303.10058",
)
