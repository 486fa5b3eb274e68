"""A sweep over eight virtual devices, over two processes, and over threads: the numbers of one device."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from tests.test_sweep_store import OVER, make
from ufm.sweeps import sweep

ROOT = Path(__file__).resolve().parents[1]

DEVICES = """
import sys
import jax
jax.config.update("jax_enable_x64", True)
import numpy as np
from tests.test_sweep_store import OVER, make
from ufm.sweeps import sweep
assert jax.local_device_count() == 8
data = sweep(make, OVER, key=jax.random.key(0))
assert data.attrs["devices"] == 8
np.save(sys.argv[1], np.stack([data[name].values for name in ("value", "lower_bound", "num_steps", "code")]))
"""

PROCESSES = """
import sys
import jax
jax.config.update("jax_enable_x64", True)
rank = int(sys.argv[2])
jax.distributed.initialize(f"127.0.0.1:{sys.argv[3]}", num_processes=2, process_id=rank)
import numpy as np
from tests.test_sweep_store import OVER, make
from ufm.sweeps import sweep
assert jax.process_count() == 2
data = sweep(make, OVER, key=jax.random.key(0), chunk=5, threads=1)
assert data.attrs["complete"] == 1
np.save(sys.argv[1] + str(rank), np.stack([data[name].values for name in ("value", "lower_bound", "num_steps", "code")]))
"""


@pytest.fixture(scope="module")
def single():
    data = sweep(make, OVER, key=jax.random.key(0), threads=1)
    return np.stack([data[name].values for name in ("value", "lower_bound", "num_steps", "code")])


def start(script: str, *arguments: str, **environment: str) -> subprocess.Popen:
    # eight devices run eight programs at a time, and each needs three threads of XLA's pool
    env = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", "NPROC": "32"} | environment
    return subprocess.Popen([sys.executable, "-c", script, *arguments], cwd=ROOT, env=env)


def test_eight_virtual_devices_find_what_one_finds(tmp_path, single):
    with start(DEVICES, str(tmp_path / "out.npy"), XLA_FLAGS="--xla_force_host_platform_device_count=8") as run:
        assert run.wait(timeout=300) == 0
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), single, rtol=1e-12, atol=0)


def test_two_processes_find_what_one_finds(tmp_path, single):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    with start(PROCESSES, str(tmp_path / "out"), "0", port) as one, start(PROCESSES, str(tmp_path / "out"), "1", port) as two:
        assert (one.wait(timeout=300), two.wait(timeout=300)) == (0, 0)
    for rank in (0, 1):
        np.testing.assert_allclose(np.load(tmp_path / f"out{rank}.npy"), single, rtol=1e-12, atol=0)
