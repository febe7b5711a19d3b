"""One economy on several devices and hosts: worker types are shared out, firms are everywhere.

A product over workers is a sum of parts, one a device, so that with the low-rank kernel an
iteration communicates a number for each feature, or product of two groups' features, whatever the
number of workers. The solver is that of a single device: the compiler splits it where its arrays
are split.
"""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from matching.economy import Economy, Origin
from matching.equilibrium import Equilibrium
from matching.kernel_choice import choose_kernel
from matching.scaled_kernel import Features, ScaledKernel
from matching.solve import solve_equilibrium

_AXIS = "workers"


def solve_sharded(
    economy: Economy, *, kernel: str = "auto", mesh: Mesh | None = None, throw: bool = True
) -> Equilibrium:
    """The equilibrium of an economy whose worker types are shared out among devices.

    ``mesh`` has one axis; by default it holds all devices of all processes. With several processes
    (``jax.distributed``) each calls this with the whole economy, and each gets the equilibrium:
    statistics and firms' arrays are whole everywhere, workers' arrays lie where their types do.
    Origins are filled up with types of zero mass, at the end of each, to equal shares.

    Raises as :func:`~matching.solve_equilibrium` does.

    >>> from matching import make_economy, make_firms, make_origin
    >>> workers = make_origin([0.0, 1.0], [0.5, 0.5], constant=2.0)
    >>> economy = make_economy([workers], make_firms([0.0], [1.0]), affinity=0.0,
    ...                        lambda_x=1.0, lambda_y=1.0)
    >>> equilibrium = solve_sharded(economy)
    >>> float(equilibrium.unmatched_firms[0].round(6))
    0.206431
    """
    if mesh is None:
        mesh = Mesh(np.array(jax.devices()), (_AXIS,))
    filled = _filled_up(economy, mesh.size)
    count = sum(len(origin.mass) for origin in filled.origins)
    chosen = choose_kernel(filled, kernel)
    if isinstance(chosen, ScaledKernel) and isinstance(chosen.table, Features):
        # devices take their types at once, as parts of theirs would have to be sent around
        most = max(count, len(filled.firms.mass))
        chosen = replace(chosen, table=replace(chosen.table.kept(), at_once=most))

    def place(value: Any, lengths: set[int]) -> jax.Array:
        """Split the axis that is as long as the workers; no other axis has that length."""
        split = [mesh.axis_names[0] if size in lengths else None for size in np.shape(value)]
        sharding = NamedSharding(mesh, PartitionSpec(*split))
        host = np.asarray(value)
        return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])

    def placed(tree: Any, *lengths: int) -> Any:
        return jax.tree.map(lambda value: place(value, set(lengths)), tree)

    origins = tuple(placed(origin, len(origin.mass)) for origin in filled.origins)
    on_mesh = replace(placed(filled), origins=origins)
    return solve_equilibrium(on_mesh, kernel=placed(chosen, count), throw=throw)


def _filled_up(economy: Economy, shares: int) -> Economy:
    """The economy with types of zero mass added, so that each origin has ``shares`` equal parts.

    Lengths that firms, skills or characteristics have are passed over.
    """
    taken = {len(economy.firms.mass), *economy.affinity.shape}

    def parts(count: int) -> int:
        filled = -(-count // shares) * shares
        return filled if filled not in taken else parts(filled + 1)

    home, *rest = economy.origins
    sizes = [parts(len(origin.mass)) for origin in (home, *rest)]
    while sum(sizes) in taken:
        sizes[0] = parts(sizes[0] + 1)

    def filled(origin: Origin, size: int) -> Origin:
        count = len(origin.mass)

        def longer(value: jax.Array, **mode: Any) -> jax.Array:
            if value.ndim == 0:
                return value
            return jnp.pad(value, ((0, size - count), *((0, 0),) * (value.ndim - 1)), **mode)

        # skills of types that nobody has stay within the range of the others
        return replace(jax.tree.map(longer, origin), skills=longer(origin.skills, mode="edge"))

    origins = tuple(map(filled, economy.origins, sizes))
    return replace(economy, origins=origins)
