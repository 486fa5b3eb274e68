"""Functions of JAX done by NumPy, operation by operation, so that nothing is compiled."""

from ufm._host.choice import small_on_host

__all__ = ["small_on_host"]
