"""``shorematch simulate``: a matched data set drawn from an economy's equilibrium."""

from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd

from estimation import SimulatedMatches, simulate_matches
from matching import Economy, solve_equilibrium
from shorematch.console import console
from shorematch.files.defects import Defect, InputError
from shorematch.files.economy_file import read_economy
from shorematch.files.run_folder import written_whole
from shorematch.solving import print_verdict

_KINDS = (".csv", ".parquet", ".dta")
_COLUMNS = ("worker", "firm", "origin", "matched", "wage", "firm_size")


def simulate_file(
    economy_path: Path, out: Path, workers: int, seed: int, wage_error: float = 0.0
) -> int:
    """Draw data from an economy file into the file ``out``; 0 where the equilibrium is certified.

    Raises :class:`~matching.InvalidInput` before anything is written.
    """
    loaded = read_economy(economy_path)
    defects = _defects(out, loaded.economy)
    if defects:
        raise InputError(defects)
    equilibrium = solve_equilibrium(loaded.economy)
    data = simulate_matches(equilibrium, workers, seed, wage_error=wage_error)
    frame = data_frame(loaded.economy, data)
    _write(out, frame)
    say = console().print
    matched = data.firm_type >= 0
    for k, origin in enumerate(loaded.economy.origins):
        here = data.origin == k
        say(f"{origin.name}: {here.sum()} workers, {(here & matched).sum()} matched")
    say(f"{data.firm.max() + 1} firms, the largest with {int(frame['firm_size'].max())} workers")
    say(f"The data are in {out}")
    return print_verdict(loaded.name, equilibrium)


def data_frame(economy: Economy, data: SimulatedMatches) -> pd.DataFrame:
    """One row per worker; firm, wage and characteristics are empty for the unmatched."""
    matched = data.firm_type >= 0
    frame = pd.DataFrame({
        "worker": np.arange(1, len(matched) + 1),
        "firm": pd.Series(data.firm + 1, dtype="Int64").where(matched),
        "origin": np.array([o.name for o in economy.origins], dtype=object)[data.origin],
        "matched": matched.astype(np.int8),
        "wage": data.wage,
    })  # fmt: skip
    for c, name in enumerate(economy.skill_names):
        by_origin = [np.asarray(o.skills)[:, c] for o in economy.origins]
        starts = np.cumsum([0, *map(len, by_origin)])[data.origin]
        frame[name] = np.concatenate(by_origin)[starts + data.worker_type]
    for c, name in enumerate(economy.characteristic_names):
        values = np.asarray(economy.firms.characteristics)[:, c]
        frame[name] = np.where(matched, values[data.firm_type], np.nan)
    sizes = np.bincount(data.firm[matched])
    frame["firm_size"] = pd.Series(sizes[data.firm], dtype="Int64").where(matched)
    return frame


def _defects(out: Path, economy: Economy) -> list[Defect]:
    defects = []
    if out.suffix.lower() not in _KINDS:
        problem = f"is a table of unknown kind ({out.suffix or 'no suffix'})"
        defects.append(Defect(out.name, problem, f"Choose a suffix among {', '.join(_KINDS)}"))
    if out.exists():
        defects.append(Defect(str(out), "exists", "Choose another --out, or remove it first"))
    if not out.absolute().parent.is_dir():
        defects.append(Defect(str(out), "its folder does not exist", "Make the folder first"))
    names = [*_COLUMNS, *economy.skill_names, *economy.characteristic_names]
    for name in sorted({name for name in names if names.count(name) > 1}):
        problem = f"two columns of the data would be named {name!r}"
        defects.append(Defect(out.name, problem, "Rename the skill or characteristic"))
    return defects


def _write(out: Path, frame: pd.DataFrame) -> None:
    kind = out.suffix.lower()
    with written_whole(out) as part:
        if kind == ".csv":
            frame.to_csv(part, index=False, lineterminator="\n")
        elif kind == ".parquet":
            frame.to_parquet(part, index=False)
        else:
            # the time of writing would make equal data differ
            frame.to_stata(part, write_index=False, version=118, time_stamp=datetime(2000, 1, 1))
