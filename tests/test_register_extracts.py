"""What real register extracts bring: read as it is meant, or refused with its place."""

import numpy as np
import pandas as pd
import pytest

from estimation import individual_cells, quantile_cells
from matching import InvalidInput
from shorematch.estimates.checking import check_file
from shorematch.estimates.estimating import estimate_file
from shorematch.estimates.match_files import MatchData, read_sample
from shorematch.files.table_files import CsvForm, read_table

KEYS = {"matches": "data.csv", "worker_columns": ["skill"], "firm_columns": ["size"]}


def frame_of(rows=40):
    rng = np.random.default_rng(0)
    return pd.DataFrame({
        "worker": np.arange(rows), "firm": np.arange(rows) // 2,
        "skill": rng.normal(size=rows).round(6), "size": rng.normal(size=rows).round(6),
        "wage": rng.uniform(100, 200, rows).round(2), "country": "NA",
        "sector": np.where(np.arange(rows) % 2, "Bygge og anlæg", "Øvrig"),
    })  # fmt: skip


def sample_of(folder, **keys):
    (folder / "run.toml").write_text("", encoding="utf-8")
    return read_sample(folder / "run.toml", MatchData(**KEYS | keys))


@pytest.mark.parametrize(("encoding", "codec"), [("latin-1", "latin-1"), ("utf-16", "utf-16")])
def test_other_encodings_are_refused_with_the_remedy_and_read_where_announced(
    tmp_path, encoding, codec
):
    frame = frame_of()
    frame.to_csv(tmp_path / "data.csv", index=False, encoding=codec)
    with pytest.raises(InvalidInput, match='say encoding = "latin-1" or "utf-16"'):
        sample_of(tmp_path, group="sector")
    sample = sample_of(tmp_path, group="sector", encoding=encoding, standardise="none")
    assert [group for group, _ in sample.groups()] == ["Bygge og anlæg", "Øvrig"]
    np.testing.assert_array_equal(sample.matched["skill"], frame["skill"])


def test_the_country_code_na_is_text_and_an_empty_number_is_none(tmp_path):
    frame = frame_of()
    frame.loc[3, "skill"] = np.nan
    frame.to_csv(tmp_path / "data.csv", index=False)
    sample = sample_of(tmp_path, group="country", missing="drop")
    assert sample.flow == {"read": 40, "dropped_missing": 1, "used": 39}
    assert [group for group, _ in sample.groups()] == ["NA"]
    assert sample.empty == {"skill": 1}


def test_value_labels_of_stata_name_groups_and_its_missing_codes_are_counted(tmp_path):
    frame = frame_of().astype({"sector": "category"})
    frame.loc[[1, 2], "wage"] = np.nan
    frame.to_stata(tmp_path / "data.dta", write_index=False)
    keys = {"matches": "data.dta", "group": "sector", "wage": "wage"}
    with pytest.raises(InvalidInput, match="row 3, column wage: the cell is empty"):
        sample_of(tmp_path, **keys)
    sample = sample_of(tmp_path, missing="drop", **keys)
    assert [group for group, _ in sample.groups()] == ["Bygge og anlæg", "Øvrig"]
    assert sample.flow["dropped_missing"] == 2


def test_all_defects_of_an_extract_are_named_together_without_an_identifier(tmp_path):
    frame = frame_of().astype({"worker": str, "firm": str})
    frame["worker"] = "secret" + frame["worker"]
    frame.loc[5, "worker"] = frame.loc[4, "worker"]
    frame["weight"] = 1.0
    frame.loc[7, "weight"] = 0.0
    frame.loc[9, "size"] = np.nan
    frame.to_csv(tmp_path / "data.csv", index=False)
    with pytest.raises(InvalidInput) as caught:
        sample_of(tmp_path, worker="worker", firm="firm", weight="weight")
    text = str(caught.value)
    assert "row 7, column worker: this worker stands in row 6 already" in text
    assert "row 9, column weight: is 0.0" in text
    assert "row 11, column size: the cell is empty, so this firm has no characteristics" in text
    assert "secret" not in text


def test_a_worker_may_stand_in_every_year_once(tmp_path):
    frame = pd.concat([frame_of().assign(year=1996), frame_of().assign(year=2006)])
    frame.to_csv(tmp_path / "data.csv", index=False)
    years = sample_of(tmp_path, worker="worker", year="year").years()
    assert [(year, len(part.matched)) for year, part in years] == [("1996", 40), ("2006", 40)]
    with pytest.raises(InvalidInput, match="stands in row 2 already"):
        sample_of(tmp_path, worker="worker")


@pytest.mark.parametrize("missing", [True, False])
def test_the_fast_reader_of_csv_reads_what_the_exact_one_reads(tmp_path, missing):
    """An unusual quote sends the whole file to the exact reader, cell for cell the same."""
    frame = frame_of(500)
    frame["skill"] *= 10.0 ** np.random.default_rng(1).integers(-300, 300, 500)
    if missing:
        frame.loc[::7, "wage"] = np.nan
    frame.to_csv(tmp_path / "fast.csv", index=False)
    text = (tmp_path / "fast.csv").read_text(encoding="utf-8")
    (tmp_path / "exact.csv").write_text(text.replace(",Øvrig", ',"Øv""rig"'), encoding="utf-8")
    numbers = ["skill", "size", "wage"]
    fast, exact = (
        read_table(tmp_path / name, [], columns=[*numbers, "sector", "country"], numeric=numbers,
                   form=CsvForm(announced=True), missing=missing)
        for name in ("fast.csv", "exact.csv")
    )  # fmt: skip
    for name in (*numbers, "country"):
        np.testing.assert_array_equal(fast[name], exact[name])
    assert set(exact["sector"]) == {"Bygge og anlæg", 'Øv"rig'}


@pytest.mark.parametrize(
    "damage",
    [
        lambda lines: [*lines[:3], lines[3] + ",1", *lines[4:]],
        lambda lines: [*lines[:3], lines[3].rpartition(",")[0], *lines[4:]],
        lambda lines: [*lines[:3], "", *lines[3:]],
        lambda lines: [*lines[:3], lines[3].replace(",NA", ',"NA'), *lines[4:]],
    ],
)
def test_damaged_lines_are_located_never_read_around(tmp_path, damage):
    frame_of().to_csv(tmp_path / "data.csv", index=False)
    lines = (tmp_path / "data.csv").read_text(encoding="utf-8").splitlines()
    (tmp_path / "data.csv").write_text("\n".join(damage(lines)) + "\n", encoding="utf-8")
    with pytest.raises(InvalidInput, match=r"data\.csv, row"):
        sample_of(tmp_path)


def test_occupations_are_estimated_one_by_one_and_stand_side_by_side(tmp_path):
    frame_of(200).to_csv(tmp_path / "data.csv", index=False)
    (tmp_path / "run.toml").write_text(
        'estimator = "affinity"\n[data]\nmatches = "data.csv"\nworker_columns = ["skill"]\n'
        'firm_columns = ["size"]\ngroup = "sector"\n',
        encoding="utf-8",
    )
    assert estimate_file(tmp_path / "run.toml", tmp_path / "out") == 0
    written = pd.read_csv(tmp_path / "out" / "estimates.csv")
    assert list(written["group"]) == ["Bygge og anlæg", "Øvrig"]
    printed = (tmp_path / "out" / "affinity.md").read_text(encoding="utf-8")
    assert "| parameter" in printed
    assert "Bygge og anlæg" in printed
    assert len(list((tmp_path / "out").glob("*.*"))) <= 15


def test_check_finds_thin_types_and_collinear_columns_and_writes_nothing(tmp_path, capsys):
    frame = frame_of(40)
    frame["twice"] = 2.0 * frame["skill"]
    frame.to_csv(tmp_path / "data.csv", index=False)
    (tmp_path / "run.toml").write_text(
        'estimator = "three steps"\n[data]\nmatches = "data.csv"\n'
        'worker_columns = ["skill", "twice"]\nfirm_columns = ["size"]\nwage = "wage"\n'
        "[home]\noutside_option = 50.0\nwage_share = 0.6\nunemployment_rate = 0.05\n",
        encoding="utf-8",
    )
    before = sorted(tmp_path.iterdir())
    assert check_file(tmp_path / "run.toml") == 1
    shown = capsys.readouterr().out
    assert "columns skill, twice are collinear" in shown
    assert "10 worker types have fewer than 5 matches" in shown
    assert "10 firm types have fewer than 5 matches" in shown
    assert sorted(tmp_path.iterdir()) == before


def test_types_are_equal_shares_and_equal_values_are_never_split():
    values = np.random.default_rng(0).normal(size=(10_000, 2))
    cells = quantile_cells(values, count=10)
    deciles = np.quantile(values, np.arange(0.1, 0.95, 0.1), axis=0)
    for column in range(2):
        ours = np.searchsorted(cells.cuts[column], values[:, column])
        np.testing.assert_array_equal(ours, np.searchsorted(deciles[:, column], values[:, column]))
    assert len(cells.count) == 100
    np.testing.assert_array_equal(cells.join(values), cells.of_row)
    ties = np.repeat([1.0, 2.0, 3.0], [500, 300, 200])
    tied = quantile_cells(ties, count=10)
    np.testing.assert_array_equal(tied.values[:, 0], [1.0, 2.0, 3.0])
    np.testing.assert_array_equal(tied.mass, [500, 300, 200])
    np.testing.assert_array_equal(individual_cells(ties).count, [500, 300, 200])
    weighted = quantile_cells([0.0, 1.0, 2.0, 3.0], [3.0, 1.0, 1.0, 3.0], 2)
    np.testing.assert_allclose(weighted.values[:, 0], [0.25, 2.75], rtol=1e-15)
