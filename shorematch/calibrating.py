"""``shorematch calibrate``: from types and published aggregates to an economy file."""

import math
from pathlib import Path
from typing import Annotated

import pandas as pd
from pydantic import Field

from estimation import Aggregates, Calibration, calibrate
from matching import InvalidInput, Status, get_parameter
from shorematch.console import console
from shorematch.files.defects import Defect, InputError
from shorematch.files.economy_file import (
    EconomyKeys,
    LoadedEconomy,
    OriginKeys,
    load_economy,
    note_table_defects,
    write_economy,
)
from shorematch.files.inputs import FileModel, read_toml
from shorematch.files.manifest import Run
from shorematch.files.run_folder import write_csv
from shorematch.files.tables import write_tables

# restriction → what it is
_HOME = {
    "unemployment_rate": "|f0|/|f̄| at home",
    "mean_wage_home": "E(w), the mean wage at home",
    "wage_share": "W/Y, the wage bill over value added",
}
_FOREIGN = {
    "offshoring_rate": "|f*|/|f|, foreign over home matches",
    "mean_wage_foreign": "E(w*), the mean wage abroad",
}


class _Aggregates(FileModel):
    unemployment_rate: float
    mean_wage_home: float
    wage_share: float
    offshoring_rate: float | None = None  # needed where there is a foreign origin
    mean_wage_foreign: float | None = None


class _RunFile(EconomyKeys):
    origin: Annotated[list[OriginKeys], Field(min_length=1)]
    aggregates: _Aggregates


def calibrate_file(run_path: Path, out: Path) -> int:
    """Calibrate the economy that a run file describes into ``out``; 0 certified, 2 not.

    Raises :class:`~matching.InvalidInput` with every defect before anything is written.
    """
    run = Run(["calibrate", run_path], out)
    file, loaded = _read_run(run_path)
    run.read(run_path.parent, loaded.files)
    run.lap("read")
    with run.folder() as folder:
        try:
            result = calibrate(loaded.economy, Aggregates(**file.aggregates.model_dump()))
        except InvalidInput as error:
            raise InvalidInput([f"{run_path.name}, {text}" for text in error.defects]) from error
        run.lap("calibrate")
        write_economy(result.economy, folder)
        write_csv(folder / "estimates.csv", _estimates(result))
        title = "Restrictions of the calibration"
        write_tables(folder, "restrictions", _restrictions(result), title=title)
        write_tables(
            folder, "parameters", _parameters(result), title="Calibrated, and what they rest on"
        )
        (folder / "run.toml").write_bytes(run_path.read_bytes())
        run.note(
            assumptions=_assumptions(loaded),
            max_gap=result.max_gap,
            status=Status(int(result.equilibrium.status)).name.lower(),
        )
    return _report(out, loaded, result)


def _read_run(path: Path) -> tuple[_RunFile, LoadedEconomy]:
    defects: list[Defect] = []
    run = read_toml(path, _RunFile, defects)
    if run is None:
        note_table_defects(path, defects)
        raise InputError([_explained(defect) for defect in defects])
    if len(run.origin) > 1:
        absent = [key for key in _FOREIGN if getattr(run.aggregates, key) is None]
        defects += [_missing(path.name, key) for key in absent]
    return run, load_economy(path, run, run.origin, defects)


def _explained(defect: Defect) -> Defect:
    """Of a missing aggregate, say what it is needed for."""
    key = (defect.key or "").removeprefix("aggregates.")
    return _missing(defect.file, key) if defect.problem == "is missing" and key in _HOME else defect


def _missing(file: str, key: str) -> Defect:
    meaning = (_HOME | _FOREIGN)[key]
    problem = (
        f"is missing, {meaning}: C, ν_x and ν_y of every origin need one restriction each "
        "(abroad, E(r*) = E(r) is one)"
    )
    return Defect(file, problem, f"Add {key} = ... under [aggregates]", key=f"aggregates.{key}")


def _estimates(result: Calibration) -> pd.DataFrame:
    """One row per parameter; what meets restrictions exactly has no standard error."""
    rows = [
        {
            "parameter": name,
            "group": "",
            "year": "",
            "estimate": float(get_parameter(result.economy, name)),
            "std_error": math.nan,
            "ci_low": math.nan,
            "ci_high": math.nan,
            "start": math.nan,
            "status": "exact",
        }
        for name in result.rests_on
    ]
    return pd.DataFrame(rows)


def _parameters(result: Calibration) -> pd.DataFrame:
    rows = [
        {
            "parameter": name,
            "value": float(get_parameter(result.economy, name)),
            "rests on": reason,
        }
        for name, reason in result.rests_on.items()
    ]
    return pd.DataFrame(rows)


def _restrictions(result: Calibration) -> pd.DataFrame:
    rows = [
        {"restriction": name, "data": data, "model": model, "gap": model - data}
        for name, (data, model) in result.restrictions.items()
    ]
    return pd.DataFrame(rows)


def _assumptions(loaded: LoadedEconomy) -> list[str]:
    """What the data do not choose, with the numbers that were assumed."""
    economy = loaded.economy
    firms, home = (float(side.mass.sum()) for side in (economy.firms, economy.home))
    assumed = [
        f"ν_y is relative to the assumed mass of firms, {firms:.6g} for {home:.6g} home workers; "
        "another mass moves ν_y and hardly moves C",
        f'intensities are per {economy.intensity_unit} (intensity_unit = "'
        f'{economy.intensity_unit}")',
    ]
    for origin in economy.origins[1:]:
        assumed += [
            f"C and ν_y of {origin.name} rest on E(r*) = E(r): hires abroad earn firms as much as "
            "hires at home",
            f"ν_x of {origin.name} is relative to the assumed mass of its workers, "
            f"{float(origin.mass.sum()):.6g}",
        ]
    return assumed


def _report(out: Path, loaded: LoadedEconomy, result: Calibration) -> int:
    say = console().print
    for stem in ("restrictions", "parameters"):
        say((out / f"{stem}.md").read_text(encoding="utf-8"))
    say("What rests on an assumption:")
    for text in _assumptions(loaded):
        say(f"- {text}")
    status = Status(int(result.equilibrium.status))
    certified = status is Status.CERTIFIED
    verdict = f"calibration: every restriction met to {result.max_gap:.1e}; {status.explanation}"
    say(verdict, style=None if certified else "bold red")
    say(f"The economy is {out / 'economy.toml'}, as shorematch solve takes it")
    return 0 if certified else 2
