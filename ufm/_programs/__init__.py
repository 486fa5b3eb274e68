"""How functions become programs: `jax.jit` for those that are small or compile for long, programs
kept between processes, and verbs that cannot become a part of one."""
