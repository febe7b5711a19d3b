"""The plan of a sweep: its points, named by content, in blocks that are solved as one."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]
from pydantic import Field

from counterfactuals import (
    Change,
    Design,
    economies_of,
    measure_labels,
    part_of,
    solve_measures,
)
from matching import Economy, InvalidInput, get_parameter, parameter_names
from matching.memory import host_bytes
from shorematch.files.defects import Defect, InputError
from shorematch.files.economy_file import LoadedEconomy, read_economy
from shorematch.files.inputs import FileModel, read_toml
from shorematch.files.manifest import versions
from shorematch.scenarios.shock_files import (
    POINTS_WITHOUT_ASKING,
    DesignEntry,
    ShockEntry,
    read_scenario_entries,
    sound_part,
)

_BYTES_PER_POINT = 400  # of a plan in memory, mostly the names of its points
FAILED = -1.0  # the status of a point whose solving ended the process, or raised, three times
_EXTRA = (("status", ""), ("wage_error_bound", ""))  # follow the measures of every point


class _SweepFile(FileModel):
    economy: Annotated[str, Field(min_length=1)]
    block: Annotated[int, Field(ge=1, le=100_000)] = 100
    shock: tuple[ShockEntry, ...] = ()
    design: tuple[DesignEntry, ...] = ()


@dataclass(frozen=True)
class Block:
    """Points ``first`` to ``last`` (not included) of a plan; ``key`` is the hash of all input."""

    key: str
    first: int
    last: int

    def __len__(self) -> int:
        """Number of points."""
        return self.last - self.first


@dataclass(frozen=True)
class Plan:
    """All points of a sweep in order, and the blocks that they are solved in."""

    loaded: LoadedEconomy
    designs: tuple[Design, ...]
    points: tuple[str, ...]  # hash of each point's complete input
    blocks: tuple[Block, ...]
    block_size: int
    files: dict[str, str]  # path from the folder of the sweep file → SHA-256

    @property
    def configuration(self) -> dict[str, Any]:
        """What a results folder belongs to: two plans share one where these are equal."""
        keys = "".join(block.key for block in self.blocks)
        return {
            "points": len(self.points),
            "points per block": self.block_size,
            "scenarios": {design.name: len(design) for design in self.designs},
            "content": hashlib.sha256(keys.encode()).hexdigest(),
            "files": self.files,
            "versions": versions(),
        }


def read_plan(path: Path, *, yes: bool = False) -> Plan:
    """The plan of a sweep file; ``yes`` allows more than a million points, if memory does.

    Raises :class:`~shorematch.defects.InputError` with every defect of the file.
    """
    defects: list[Defect] = []
    file = read_toml(path, _SweepFile, defects) or sound_part(path, _SweepFile)
    if file is None:
        raise InputError(defects)
    if not (file.shock or file.design or defects):
        remedy = "Add a [[shock]] or a [[design]]"
        raise InputError([Defect(path.name, "asks for no points", remedy)])
    try:
        loaded = read_economy(path.parent / file.economy)
    except InvalidInput as error:
        raise InputError([*defects, *error.defects]) from None
    most = host_bytes() / _BYTES_PER_POINT if yes else POINTS_WITHOUT_ASKING
    read = read_scenario_entries(
        path, loaded, file.shock, file.design, most=most, noted=defects
    )  # fmt: skip
    points = tuple(_names(loaded.economy, read.designs))
    # results made by other software are other results: they never share a key
    made_by = _digest(*(f"{k} {v}" for k, v in versions().items()), str(file.block))
    blocks = []
    for first in range(0, len(points), file.block):
        last = min(first + file.block, len(points))
        key = _digest(made_by, *points[first:last])[:32]
        blocks.append(Block(key, first, last))
    folder = Path(file.economy).parent
    files = {(folder / name).as_posix(): sha for name, sha in loaded.files.items()} | read.files
    return Plan(loaded, read.designs, points, tuple(blocks), file.block, files)


def work_of(plan: Plan, block: Block) -> tuple[Design, ...]:
    """A block's points and nothing else of the plan: what has to be sent to have it solved."""
    return tuple(part_of(design, draws) for design, draws in _parts(plan, block))


def solve_points(economy: Economy, work: tuple[Design, ...], size: int) -> np.ndarray:
    """All measures, the status and the bound of the wages' error (money) of each point, ``(P, S)``.

    Points are padded to ``size``, the plan's block size, so that one compiled program solves all
    blocks and a point's numbers depend on its block alone.
    """
    batches = [economies_of(economy, design, np.arange(len(design))) for design in work]
    points = sum(map(len, work))

    def join(*leaves: jax.Array) -> np.ndarray:
        whole = np.concatenate(leaves)
        return np.concatenate([whole, np.repeat(whole[-1:], size - points, axis=0)])

    measured, status, bound = solve_measures(jax.tree.map(join, *batches))
    values = np.column_stack([measured, status, bound])
    return values[:points]


def block_table(plan: Plan, block: Block, values: np.ndarray) -> pa.Table:
    """The long table of a block's results: scenario, draw, statistic, group, value."""
    parts = list(_parts(plan, block))
    sizes = [len(draws) for _, draws in parts]
    labels = (*measure_labels(plan.loaded.economy), *_EXTRA)
    statistics, groups = zip(*labels, strict=True)
    return pa.table(
        {
            "scenario": _text([d.name for d, _ in parts], np.repeat(np.arange(len(parts)), sizes),
                              each=len(labels)),
            "draw": np.repeat(np.concatenate([draws for _, draws in parts]), len(labels)),
            "statistic": _text(statistics, np.arange(len(labels)), times=len(values)),
            "group": _text(groups, np.arange(len(labels)), times=len(values)),
            "value": values.ravel(),
        },
        schema=SCHEMA,
    )  # fmt: skip


def verdicts(table: pa.Table) -> np.ndarray:
    """The status of every point in a table of results."""
    return np.asarray(table["value"].filter(pc.equal(table["statistic"], "status")))


TEXT = ("scenario", "statistic", "group")  # columns with few different values
SCHEMA = pa.schema(
    [("scenario", pa.string()), ("draw", pa.int64()), ("statistic", pa.string()),
     ("group", pa.string()), ("value", pa.float64())]
)  # fmt: skip


def points_table(plan: Plan) -> pa.Table:
    """One row per point: scenario, draw, point (its hash), block, and the values that it takes.

    A column ``add origin.china.constant`` holds what a design adds there, empty for points of
    others; values that are arrays are left out.
    """
    sizes = [len(design) for design in plan.designs]
    starts = np.cumsum([0, *sizes])
    columns: dict[str, np.ndarray] = {}
    for start, design in zip(starts, plan.designs, strict=False):
        for k, axis in enumerate(design.axes):
            if axis.values.ndim == 1:
                column = columns.setdefault(
                    f"{axis.kind} {axis.parameter}", np.full(len(plan.points), np.nan)
                )
                column[start : start + len(design)] = axis.values[design.index[:, k]]
    return pa.table(
        {
            "scenario": np.repeat(np.array([d.name for d in plan.designs], object), sizes),
            "draw": np.concatenate([np.arange(size) for size in sizes]),
            "point": np.array(plan.points, object),
            "block": np.repeat(
                np.array([b.key for b in plan.blocks], object),
                [len(block) for block in plan.blocks],
            ),
            **{name: pa.array(column, from_pandas=True) for name, column in columns.items()},
        }
    )


def _text(texts: Sequence[str], index: np.ndarray, *, each: int = 1, times: int = 1) -> pa.Array:
    """``texts[index]``, each ``each`` times, the whole ``times`` times."""
    return pa.array(texts, pa.string()).take(pa.array(np.tile(np.repeat(index, each), times)))


def _parts(plan: Plan, block: Block) -> Iterator[tuple[Design, np.ndarray]]:
    """The designs that a block's points belong to, with the points' numbers in each."""
    start = 0
    for design in plan.designs:
        draws = np.arange(max(block.first - start, 0), min(block.last - start, len(design)))
        if len(draws):
            yield design, draws
        start += len(design)


def _names(economy: Economy, designs: tuple[Design, ...]) -> Iterator[str]:
    """The hash of every point's input: the economy, and each change with its value."""
    base = _digest(
        *economy.skill_names, *economy.characteristic_names, economy.intensity_unit,
        *(part for name in parameter_names(economy)
          for part in (name, np.asarray(get_parameter(economy, name)))),
    )  # fmt: skip
    for design in designs:
        stack = [part for shock in design.after for part in _parts_of(shock.changes)]
        prefix = _digest(base, "after", *stack, "fixed", *_parts_of(design.fixed))
        axes = [
            [_digest(axis.parameter, axis.kind, value).encode() for value in axis.values]
            for axis in design.axes
        ]
        for row in design.index.tolist():
            text = prefix.encode() + b"".join(axes[k][v] for k, v in enumerate(row))
            yield hashlib.sha256(text).hexdigest()[:32]


def _parts_of(changes: tuple[Change, ...]) -> Iterator[Any]:
    for change in changes:
        value = change.value
        yield from (change.parameter, change.kind)
        yield value if isinstance(value, str) else np.asarray(value, np.float64)


def _digest(*parts: str | np.ndarray) -> str:
    """SHA-256 of texts and arrays, each with its kind and length, so that no two lists collide."""
    sha = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else np.ascontiguousarray(part).tobytes()
        shape = "text" if isinstance(part, str) else str(part.shape)
        sha.update(f"{shape} {len(data)}:".encode() + data)
    return sha.hexdigest()
