"""Long runs: fuzz, Monte Carlo and timings; their results are in ``benchmarks/results``."""

import jax

jax.config.update("jax_enable_x64", True)
