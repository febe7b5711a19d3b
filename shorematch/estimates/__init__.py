"""``shorematch estimate`` and ``check``: run files, matches, samples on types, each estimator."""
