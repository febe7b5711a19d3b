"""Bootstrap draws of an economy, or of estimates without one, as the file ``draws.parquet``."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

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


def write_draws(
    path: Path,
    parameters: Mapping[str, Any],
    failed: np.ndarray,
    covariances: np.ndarray | None = None,
) -> None:
    """Write draws: ``draw``, ``failed``, and a column per parameter, empty where failed.

    Values of ``parameters`` are ``(B, ...)``; arrays are lists, row by row. A last column
    ``covariance`` has that of the estimates of each draw, in the order of ``vcov.csv``, where
    draws have one.
    """
    columns = {"draw": pa.array(np.arange(len(failed))), "failed": pa.array(failed)}
    further = {} if covariances is None else {_COVARIANCE: covariances}
    for name, values in {**parameters, **further}.items():
        array = np.asarray(values)
        flat = list(array) if array.ndim == 1 else list(array.reshape(len(array), -1))
        columns[name] = pa.array([None if f else v for v, f in zip(flat, failed, strict=True)])
    parquet.write_table(pa.table(columns), path)


def parameters_of(economies: Economy) -> dict[str, Any]:
    """Every parameter of a stack of economies by name, ``(B, ...)``."""
    return {name: get_parameter(economies, name) for name in parameter_names(economies)}


def read_draws(path: Path, economy: Economy) -> Draws:
    """The draws in a file, for an economy with the same parameters in the same shapes.

    Raises :class:`~shorematch.defects.InputError` with every defect: parameters that are missing
    or unknown, arrays of another size, numbers that are missing in a draw that has not failed.
    """
    frame = _read(path)
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

    return Draws(jax.vmap(drawn)(arrays), failed, _covariances(frame))


def read_estimates(
    path: Path, names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Draws of named estimates: values ``(B, P)``, which have failed, and covariances, if any."""
    frame = _read(path)
    return frame[list(names)].to_numpy(float), frame["failed"].to_numpy(bool), _covariances(frame)


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


def _read(path: Path) -> pd.DataFrame:
    """The table in a file; raises :class:`~shorematch.defects.InputError` where there is none."""
    if not path.is_file():
        remedy = "Name the folder of an estimation that was run with a bootstrap"
        raise InputError([Defect(path.name, f"does not exist in {path.parent}", remedy)])
    try:
        frame = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        text = f"cannot be read ({error})"
        raise InputError([Defect(path.name, text, "Run the estimation again")]) from None
    return frame


def _covariances(frame: pd.DataFrame) -> np.ndarray | None:
    """The covariance of each draw, NaN where it has failed; None where draws have none."""
    if _COVARIANCE not in frame:
        return None
    failed = frame["failed"].to_numpy(bool)
    known = [np.asarray(cell) for cell in frame[_COVARIANCE][~failed]]
    if not known:
        return None
    size = round(np.sqrt(known[0].size))
    covariances = np.full((len(failed), size, size), np.nan)
    covariances[~failed] = np.reshape(known, (-1, size, size))
    return covariances


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
