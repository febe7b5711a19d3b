"""Several runs side by side: the numbers that they have in common, scenario by scenario."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from shorematch.files.manifest import damage_named


def compare_runs(runs: Mapping[str, Path]) -> dict[str, pd.DataFrame]:
    """By title, one row per number that at least two runs hold, and a column per run.

    Numbers are the statistics of ``solve`` and of the scenarios of ``counterfactual`` (of which
    the baseline is what ``solve`` finds), what each group of parameters contributes in
    ``decompose``, and the estimates of ``estimate`` and ``calibrate``. Two runs get a column for
    the difference, second less first. No run bears the name of the columns ``number`` and
    ``difference``. Raises :class:`~shorematch.defects.InputError` where a file of a run is damaged.
    """
    found = {}
    for name, folder in runs.items():
        with damage_named(folder):
            found[name] = _numbers(folder)
    titles = dict.fromkeys(title for parts in found.values() for title in parts)
    frames = {}
    for title in titles:
        having = {name: parts[title] for name, parts in found.items() if title in parts}
        if len(having) > 1:
            frame = pd.DataFrame(having).rename_axis("number")
            frame = frame[frame.notna().sum(axis=1) > 1]
            if len(having) == 2:
                first, second = having
                frame["difference"] = frame[second] - frame[first]
            frames[title] = frame.reset_index()
    return {title: frame for title, frame in frames.items() if len(frame)}


def _numbers(folder: Path) -> dict[str, pd.Series]:
    """The numbers of a run by title: a scenario, a group of parameters, or the estimates."""
    parts: dict[str, pd.Series] = {}
    if (folder / "statistics.csv").exists():
        parts["baseline"] = pd.read_csv(folder / "statistics.csv", index_col=0)["value"]
    if (folder / "table.csv").exists():
        frame = pd.read_csv(folder / "table.csv", index_col=0)
        if frame.index.name in ("scenario", "statistic"):
            parts |= {str(name): frame.loc[name] for name in frame.index}
    if (folder / "estimates.csv").exists():
        estimates = pd.read_csv(folder / "estimates.csv", dtype={"group": str, "year": str})
        names = estimates["parameter"]
        for key in ("group", "year"):  # empty where a run has one group or year
            if key in estimates:
                names = (names + " " + estimates[key].fillna("")).str.strip()
        parts["estimates"] = pd.Series(estimates["estimate"].to_numpy(), names)
    return parts
