"""``shorematch sweep``: plans of points solved in blocks, on one machine, SLURM or Dask."""
