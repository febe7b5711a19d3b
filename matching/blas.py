"""BLAS on one thread, so that its threads do not contend with XLA's.

After a call OpenBLAS's threads spin for tens of milliseconds, on the processors that XLA's need:
small problems were solved six times slower for it.
"""

from contextlib import AbstractContextManager
from functools import cache

from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]


def one_blas_thread() -> AbstractContextManager[object]:
    """Keep NumPy's and SciPy's linear algebra to the calling thread inside a ``with`` block."""
    return _pools().limit(limits=1, user_api="blas")


@cache
def _pools() -> ThreadpoolController:
    return ThreadpoolController()
