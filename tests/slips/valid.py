"""Small valid arguments, made once: three classes, one layer, and files of each kind."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

import jax
import numpy as np

import ufm

KEY = jax.random.key(0)
COUNTS = (5, 5, 5)
LABELS = ufm.one_hot(COUNTS, collapsed=True)
DECAY = {"lambda_W": 1e-2, "lambda_H": 1e-2}
PROBLEM = ufm.Problem(LABELS, loss=ufm.CrossEntropy(), widths=(3,), **DECAY)
SOLUTION = ufm.minimise(PROBLEM, key=KEY, progress=False)
PARAMS = SOLUTION.params
OPTIMUM = ufm.closed_form(PROBLEM)
# a bias that is learnt elsewhere, and weights that are given
FIXED = ufm.Problem(
    LABELS, loss=ufm.CrossEntropy(), widths=(3,), fixed_weights=(np.eye(3),), bias="free", **DECAY
)
RECTIFIED = ufm.Problem(
    LABELS, loss=ufm.MeanSquaredError(), widths=(3, 3), activation="relu", **DECAY
)
RECTIFIED_PARAMS = ufm.solvers.random_start(RECTIFIED, key=KEY)

# six samples of three classes in two dimensions
FEATURES = np.random.default_rng(0).normal(size=(2, 6))
INDEX = np.arange(6) % 3
CLASSIFIER = np.random.default_rng(1).normal(size=(3, 2))
GRAM = CLASSIFIER @ CLASSIFIER.T

FOLDER = tempfile.mkdtemp()
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)
FILE = os.path.join(FOLDER, "features.npz")
np.savez(FILE, features=FEATURES.T, labels=INDEX)
# filled where it is asked for: a sweep takes as long as all else here
STORE = os.path.join(FOLDER, "store")
BASIS = os.path.join(FOLDER, "basis.npz")
STREAM = os.path.join(FOLDER, "seen.npz")
_SEEN = ufm.metrics.stream(3, 2)
_SEEN.update(FEATURES, INDEX)
_SEEN.save(STREAM)
AGREEMENT = _SEEN.agreement(CLASSIFIER)


def fill_store():
    """A sweep of two problems in `STORE`."""
    ufm.sweep(
        PROBLEM,
        {"lambda_W": [1e-2, 2e-2]},
        key=KEY,
        store=STORE,
        progress=False,
        execution=ufm.batch.Execution(threads=1),
    )
