"""`jax.jit` for programs that are small, or that compile for long."""

from __future__ import annotations

from ufm._quick_jit.jit import QuickJit, compiles_quickly, one_program, quick_jit
from ufm._quick_jit.tiers import compiled_beside

__all__ = ["QuickJit", "compiled_beside", "compiles_quickly", "one_program", "quick_jit"]
