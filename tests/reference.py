"""The equilibrium to 50 digits, from the equations in unmatched masses, with mpmath alone."""

import mpmath as mp
import numpy as np

from matching import Equilibrium

# Where matches are sure the unmatched share drops below 1e-50, so more digits are carried.
mp.mp.dps = 150


def reference_equilibrium(eq: Equilibrium) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``log π`` stacked over origins, ``log f0``, ``log g0``, each right to 50 digits and more.

    Newton on the three kinds of margins in the unknowns ``log f0, log g0``; it starts from a
    double-precision solution, but the equations have one root only, and the residual is checked.
    """
    economy = eq.economy
    lam_x, lam_y = _number(economy.lambda_x), _number(economy.lambda_y)
    lam = lam_x + lam_y
    theta = lam_x / lam
    density = economy.intensity_unit == "density"
    firms = economy.firms
    g_bar = [_number(v) for v in firms.mass]
    f_bar, log_k = [], []
    for o in economy.origins:
        mass = [_number(v) for v in o.mass]
        for i, f_i in enumerate(mass):
            row = []
            for j, g_j in enumerate(g_bar):
                q = _number(o.constant) + mp.fsum(
                    _number(o.skills[i, k])
                    * _number(economy.affinity[k, c])
                    * _number(firms.characteristics[j, c])
                    for k in range(economy.affinity.shape[0])
                    for c in range(economy.affinity.shape[1])
                )
                net = q - _entry(o.outside_option, i) - _entry(firms.outside_option, j)
                net += lam_x * _number(o.nu_x) + lam_y * _number(o.nu_y)
                k_ij = net / lam
                if density:
                    k_ij += (1 - theta) * mp.log(f_i / mp.fsum(mass))
                    k_ij += theta * mp.log(g_j / mp.fsum(g_bar))
                row.append(k_ij)
            log_k.append(row)
        f_bar += mass
    n, count = len(f_bar), len(g_bar)

    def matches(z: mp.matrix) -> list[list[mp.mpf]]:
        return [
            [mp.exp(log_k[i][j] + theta * z[i] + (1 - theta) * z[n + j]) for j in range(count)]
            for i in range(n)
        ]

    def residual(z: mp.matrix) -> mp.matrix:
        pi = matches(z)
        worker = [(mp.exp(z[i]) + mp.fsum(pi[i])) / f_bar[i] - 1 for i in range(n)]
        firm = [
            (mp.exp(z[n + j]) + mp.fsum(pi[i][j] for i in range(n))) / g_bar[j] - 1
            for j in range(count)
        ]
        return mp.matrix(worker + firm)

    def jacobian(z: mp.matrix) -> mp.matrix:
        pi = matches(z)
        jac = mp.zeros(n + count, n + count)
        for i in range(n):
            jac[i, i] = (mp.exp(z[i]) + theta * mp.fsum(pi[i])) / f_bar[i]
            for j in range(count):
                jac[i, n + j] = (1 - theta) * pi[i][j] / f_bar[i]
                jac[n + j, i] = theta * pi[i][j] / g_bar[j]
        for j in range(count):
            total = mp.fsum(pi[i][j] for i in range(n))
            jac[n + j, n + j] = (mp.exp(z[n + j]) + (1 - theta) * total) / g_bar[j]
        return jac

    z = mp.matrix(
        [_number(v) for v in (*np.concatenate(eq.log_unmatched), *eq.log_unmatched_firms)]
    )
    for _ in range(400):
        r = residual(z)
        if mp.norm(r, mp.inf) < mp.mpf(10) ** -130:
            break
        step = mp.lu_solve(jacobian(z), -r)
        d = mp.norm(step, mp.inf)
        z += step * (mp.log(1 + d) / d)
    else:
        raise AssertionError("the 50-digit reference did not converge")
    pi = matches(z)
    log_pi = np.array([[float(mp.log(pi[i][j])) for j in range(count)] for i in range(n)])
    return log_pi, _floats(z[:n]), _floats(z[n:])


def _number(value) -> mp.mpf:
    return mp.mpf(float(value))


def _entry(value, index: int) -> mp.mpf:
    return _number(value if value.ndim == 0 else value[index])


def _floats(values) -> np.ndarray:
    return np.array([float(v) for v in values])
