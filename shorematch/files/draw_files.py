"""Bootstrap draws of an economy's parameters, as the file ``draws.parquet`` of an estimation."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pyarrow as pa  # type: ignore[import-untyped]
from pyarrow import parquet

from matching import Economy, get_parameter, parameter_names, with_parameter
from matching.errors import did_you_mean
from shorematch.files.defects import Defect, InputError, shorten
from shorematch.files.economy_file import LoadedEconomy, read_economy

DRAWS = "draws.parquet"
_COVARIANCE = "covariance"


@dataclass(frozen=True)
class Draws:
    """``B`` draws of an economy; what a failed one holds means nothing."""

    economies: Economy  # arrays have a leading axis B
    failed: np.ndarray  # (B,)
    covariances: np.ndarray | None = None  # of the estimates of each draw, (B, P, P)


def write_draws(path: Path, draws: Draws) -> None:
    """Write draws: ``draw``, ``failed``, and a column per parameter, empty where failed.

    Arrays are lists, row by row; a last column ``covariance`` has that of the estimates of each
    draw, in the order of ``vcov.csv``, where draws have one.
    """
    kept = ~draws.failed
    columns = {"draw": pa.array(np.arange(len(kept))), "failed": pa.array(draws.failed)}
    for name in parameter_names(draws.economies):
        values = np.asarray(get_parameter(draws.economies, name))
        flat = list(values) if values.ndim == 1 else list(values.reshape(len(values), -1))
        columns[name] = pa.array([v if k else None for v, k in zip(flat, kept, strict=True)])
    if draws.covariances is not None:
        flat = list(draws.covariances.reshape(len(kept), -1))
        columns[_COVARIANCE] = pa.array([v if k else None for v, k in zip(flat, kept, strict=True)])
    parquet.write_table(pa.table(columns), path)


def read_draws(path: Path, economy: Economy) -> Draws:
    """The draws in a file, for an economy with the same parameters in the same shapes.

    Raises :class:`~shorematch.defects.InputError` with every defect: parameters that are missing
    or unknown, arrays of another size, numbers that are missing in a draw that has not failed.
    """
    if not path.is_file():
        remedy = "Name the folder of an estimation that was run with a bootstrap"
        raise InputError([Defect(path.name, f"does not exist in {path.parent}", remedy)])
    try:
        frame = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        text = f"cannot be read ({error})"
        raise InputError([Defect(path.name, text, "Run the estimation again")]) from None
    defects = list(_column_defects(path.name, frame, economy))
    if defects:
        raise InputError(defects)
    failed = frame["failed"].to_numpy(bool)
    if failed.all():
        raise InputError([Defect(path.name, f"all of its {len(failed)} draws have failed",
                                 "See the estimation's certificate for why")])  # fmt: skip
    arrays = {
        name: _values(path.name, frame, name, get_parameter(economy, name), defects)
        for name in parameter_names(economy)
    }
    if defects:
        raise InputError(defects)

    def drawn(values: dict[str, jax.Array]) -> Economy:
        return reduce(lambda e, item: with_parameter(e, *item), values.items(), economy)

    covariances = None
    if _COVARIANCE in frame:
        known = [np.asarray(cell) for cell, lost in zip(frame[_COVARIANCE], failed, strict=True)
                 if not lost]  # fmt: skip
        size = round(np.sqrt(known[0].size))
        covariances = np.full((len(failed), size, size), np.nan)
        covariances[~failed] = np.stack(known).reshape(-1, size, size)
    return Draws(jax.vmap(drawn)(arrays), failed, covariances)


def estimated_draws(folder: Path, loaded: LoadedEconomy) -> Draws:
    """The draws in the folder of an estimation, of this economy and no other.

    Raises :class:`~shorematch.defects.InputError` as :func:`read_draws` does, and where the
    folder's own economy is another one.
    """
    draws = read_draws(folder / DRAWS, loaded.economy)
    estimate = folder / "economy.toml"
    if estimate.exists():
        other = read_economy(estimate).economy
        different = [
            name
            for name in parameter_names(loaded.economy)
            if not np.array_equal(get_parameter(other, name), get_parameter(loaded.economy, name))
        ]
        if different:
            problem = f"is the estimate of these draws and differs in {', '.join(different)}"
            remedy = f"Take the economy that was estimated, {estimate}"
            raise InputError([Defect(str(estimate), problem, remedy)])
    return draws


# ---------------------------------------------------------------- helpers


def _column_defects(file: str, frame: pd.DataFrame, economy: Economy) -> Iterator[Defect]:
    names = ["draw", "failed", *parameter_names(economy)]
    for name in names:
        if name not in frame:
            unknown = [str(column) for column in frame if column not in names]
            hint = did_you_mean(name, unknown)
            yield Defect(file, f"has no column {name}{hint}",
                         "These draws are of another economy, or of an older version")  # fmt: skip
    for name in map(str, frame):
        if name not in (*names, _COVARIANCE):
            yield Defect(file, f"has a column {name}, which is no parameter of the economy",
                         "Take the draws and the economy of the same estimation")  # fmt: skip


def _values(
    file: str, frame: pd.DataFrame, name: str, like: jax.Array, defects: list[Defect]
) -> jax.Array:
    """The draws of one parameter, ``(B, ...)``; the economy's own where a draw has failed."""
    column, wrong = frame[name], []
    values = np.empty((len(frame), like.size))
    for row, (cell, failed) in enumerate(zip(column, frame["failed"], strict=True)):
        value = np.ravel(np.asarray(like if failed else cell, dtype=float))
        if value.size == like.size and np.isfinite(value).all():
            values[row] = value
        else:
            text = f"holds {cell!r} where {like.size} finite numbers are needed"
            wrong.append(Defect(file, text, "Take the draws of this economy", row + 1, name))
    defects += shorten(wrong)
    return jnp.asarray(values.reshape(len(frame), *like.shape))
