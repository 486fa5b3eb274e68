"""A sweep over eight virtual devices, over two processes, and over threads.

The numbers of one device.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import ufm
from tests.sweeping.test_sweep_store import OVER, make
from ufm.sweeping.sweeps import sweep

ROOT = Path(__file__).resolve().parents[2]

# one program is compared with itself on other devices; all of them, and those of other processes,
# are optimised less
pytestmark = pytest.mark.thorough

NAMES = ("value", "lower_bound", "num_steps", "code")
FLOW = ufm.flows.Flow(
    (1.0, 10.0), integration=ufm.flows.Integration(rtol=1e-6, atol=1e-9, integrator="dopri5")
)
VALUES = ufm.sweeping.Report(metrics=())

DEVICES = """
import sys
import jax
jax.config.update("jax_enable_x64", True)
import numpy as np
import ufm
from tests.sweeping.test_sweep_devices import FLOW, NAMES, VALUES, fixed
from tests.sweeping.test_sweep_store import OVER, make
from ufm.sweeping.sweeps import sweep
assert jax.local_device_count() == 8
data = sweep(make, OVER, key=jax.random.key(0), report=VALUES)
assert data.attrs["devices"] == 8
np.save(sys.argv[1], np.stack([data[name].values for name in NAMES]))
flows = sweep(make, OVER, key=jax.random.key(0), method=FLOW, report=VALUES)
assert flows.attrs["devices"] == 8
np.save(sys.argv[1] + "-flows", flows["trajectory"].values)
execution = ufm.batch.Execution(devices=jax.local_devices(), chunk=5)
fit = ufm.solvers.fit_features(fixed(), execution=execution)
np.save(sys.argv[1] + "-features", fit.params.features)
"""

PROCESSES = """
import sys
import jax
jax.config.update("jax_enable_x64", True)
rank = int(sys.argv[2])
jax.distributed.initialize(f"127.0.0.1:{sys.argv[3]}", num_processes=2, process_id=rank)
import numpy as np
import ufm
from tests.sweeping.test_sweep_devices import NAMES, VALUES
from tests.sweeping.test_sweep_store import OVER, make
from ufm.sweeping.sweeps import sweep
assert jax.process_count() == 2
execution = ufm.batch.Execution(chunk=5, threads=1)
data = sweep(make, OVER, key=jax.random.key(0), report=VALUES, execution=execution)
assert data.attrs["complete"] == 1
np.save(sys.argv[1] + str(rank), np.stack([data[name].values for name in NAMES]))
"""


def fixed() -> ufm.Problem:
    """Columns for more blocks than there are devices."""
    rng = np.random.default_rng(0)
    return ufm.Problem(
        ufm.soft(rng.dirichlet(np.ones(4), size=52).T),
        loss=ufm.CrossEntropy(),
        widths=(3,),
        lambda_W=0.1,
        lambda_H=1e-3,
        fixed_weights=(rng.standard_normal((4, 3)),),
    )


def start(script: str, *arguments: str, **environment: str) -> subprocess.Popen:
    settings = {
        "PYTHONPATH": str(ROOT),
        "JAX_PLATFORMS": "cpu",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    }
    env = os.environ | settings | environment
    return subprocess.Popen([sys.executable, "-c", script, *arguments], cwd=ROOT, env=env)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Exit status and file of every process, with what one device finds.

    They compile at the same time.
    """
    folder = tmp_path_factory.mktemp("devices")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    eight = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    started = {
        "eight-devices": start(DEVICES, str(folder / "eight-devices.npy"), XLA_FLAGS=eight),
        "process-0": start(PROCESSES, str(folder / "process-"), "0", port),
        "process-1": start(PROCESSES, str(folder / "process-"), "1", port),
    }
    try:
        data = sweep(
            make,
            OVER,
            key=jax.random.key(0),
            report=VALUES,
            execution=ufm.batch.Execution(threads=1),
        )
        single = np.stack([data[name].values for name in NAMES])
        flows = sweep(
            make,
            OVER,
            key=jax.random.key(0),
            method=FLOW,
            report=VALUES,
            execution=ufm.batch.Execution(threads=1),
        )["trajectory"].values
        return (
            single,
            flows,
            {
                name: (run.wait(timeout=300), folder / f"{name}.npy")
                for name, run in started.items()
            },
        )
    finally:
        for run in started.values():
            run.kill()
            run.wait()


@pytest.mark.parametrize("name", ["eight-devices", "process-0", "process-1"])
def test_every_process_finds_what_one_device_finds(name, runs):
    single, _, ended = runs
    status, file = ended[name]
    assert status == 0
    np.testing.assert_allclose(np.load(file), single, rtol=1e-12, atol=0)


def test_flows_are_shared_out_too(runs):
    _, flows, ended = runs
    status, file = ended["eight-devices"]
    assert status == 0
    assert np.all(np.isfinite(flows))
    np.testing.assert_allclose(np.load(f"{file}-flows.npy"), flows, rtol=1e-12, atol=0)


def test_columns_are_shared_out_too(runs):
    status, file = runs[2]["eight-devices"]
    assert status == 0
    whole = ufm.solvers.fit_features(fixed()).params.features
    np.testing.assert_allclose(np.load(f"{file}-features.npy"), whole, rtol=0, atol=1e-12)
