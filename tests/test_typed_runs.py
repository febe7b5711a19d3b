"""Runs of the three steps: simulated files in, an economy that solves out, and no microdata."""

import json
import shutil
from dataclasses import replace

import jax
import numpy as np
import pandas as pd
import pytest

from estimation import Aggregates, calibrate
from matching import InvalidInput, get_parameter, parameter_names, solve_equilibrium, statistics
from shorematch.estimates.checking import check_file
from shorematch.estimates.estimating import estimate_file
from shorematch.estimates.match_files import read_sample
from shorematch.estimates.run_file import read_run
from shorematch.estimates.stored_estimates import load_run
from shorematch.estimates.typed_estimation import estimate_types
from shorematch.estimates.typed_samples import typed_samples
from shorematch.files.draw_files import read_draws
from shorematch.files.economy_file import read_economy, write_economy
from shorematch.simulating import simulate_file

RUN = """\
estimator = "three steps"
[data]
matches = "data.csv"
worker_columns = ["skill"]
firm_columns = ["productivity"]
worker = "worker"
firm = "firm"
wage = "wage"
origin = "origin"
home = "denmark"
unmatched_rows = true
[home]
name = "denmark"
outside_option = 45.276
wage_share = 0.6786
[foreign]
name = "china"
outside_option = 25.825
[inference]
clustered = false
draws = 50
studentised = true
"""


@pytest.fixture(scope="module")
def truth(danish_2006):
    """Denmark 2006 with E(r*) = E(r), on which the constant abroad rests."""
    return calibrate(danish_2006, Aggregates(0.0391, 147.42, 0.6786, 0.0155, 56.513)).economy


@pytest.fixture(scope="module")
def folder(tmp_path_factory, truth):
    """The economy file and 100,000 workers drawn from it."""
    folder = tmp_path_factory.mktemp("typed")
    write_economy(truth, folder)
    simulate_file(folder / "economy.toml", folder / "data.csv", 100_000, seed=3, wage_error=3.0)
    (folder / "run.toml").write_text(RUN, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def out(folder):
    assert estimate_file(folder / "run.toml", folder / "out") == 0
    return folder / "out"


def test_the_simulated_economy_is_estimated_within_three_standard_errors(out, truth):
    written = pd.read_csv(out / "estimates.csv").set_index("parameter")
    known = {"affinity.skill.productivity": float(truth.affinity[0, 0])}
    scalars = [name for name in written.index if name.startswith(("tastes.", "origin."))]
    assert len(scalars) == 8
    known |= {name: float(get_parameter(truth, name)) for name in scalars}
    known["cost_of_offshoring"] = float(truth.home.constant - truth.origins[1].constant)
    assert list(written.index) == list(known)
    for name, value in known.items():
        assert abs(written.loc[name, "estimate"] - value) < 3 * written.loc[name, "std_error"]
        assert written.loc[name, "ci_low"] < written.loc[name, "estimate"]
        assert written.loc[name, "ci_high"] > written.loc[name, "estimate"]


def test_the_economy_that_is_left_solves_to_what_was_counted_and_given(out, folder):
    economy = read_economy(out / "economy.toml").economy
    table = jax.jit(statistics)(solve_equilibrium(economy))
    data = pd.read_csv(folder / "data.csv")
    home, abroad = (data[data["origin"] == name] for name in ("denmark", "china"))
    counted = {
        "unemployment_rate": 1.0 - home["matched"].mean(),
        "offshoring_rate": abroad["matched"].sum() / home["matched"].sum(),
        "mean_wage_home": home["wage"].mean(),
        "mean_wage_foreign": abroad["wage"].mean(),
        "wage_share": 0.6786,
    }
    for name, value in counted.items():
        assert float(table[name]) == pytest.approx(value, rel=1e-9), name
    assert float(table["mean_profit_home"]) == pytest.approx(
        float(table["mean_profit_foreign"]), rel=1e-9
    )


def test_draws_belong_to_the_economy_and_spread_as_the_standard_errors_say(out):
    economy = read_economy(out / "economy.toml").economy
    draws = read_draws(out / "draws.parquet", economy)
    assert not draws.failed.any()
    written = pd.read_csv(out / "estimates.csv").set_index("parameter")
    for name in set(parameter_names(economy)) & set(written.index):
        spread = np.std(np.asarray(get_parameter(draws.economies, name)))
        # 50 draws leave 10 % of error
        assert spread / written.loc[name, "std_error"] == pytest.approx(1.0, abs=0.35), name


def test_a_stored_run_is_read_back_as_it_was_with_its_data_gone(out, folder, tmp_path):
    elsewhere = shutil.copytree(out, tmp_path / "elsewhere")  # without data and run file beside it
    (part,) = load_run(elsewhere)
    estimates = part.estimates
    file = read_run(folder / "run.toml")
    sample = read_sample(folder / "run.toml", file.data)
    (typed,) = typed_samples(folder / "run.toml", file, sample)[0]
    fresh = estimate_types(folder / "run.toml", file, typed)
    pd.testing.assert_frame_equal(
        pd.DataFrame(estimates.tidy()), pd.DataFrame(fresh.tidy()), rtol=1e-12
    )
    for kind in ("sandwich", "bootstrap"):
        np.testing.assert_array_equal(estimates.vcov(kind), fresh.vcov(kind))
    np.testing.assert_array_equal(estimates.confint(0.9), fresh.confint(0.9))
    np.testing.assert_array_equal(estimates.fit.data, fresh.fit.data)
    np.testing.assert_array_equal(estimates.affinity(), fresh.affinity())
    assert estimates.certificate == fresh.certificate
    assert estimates.identification.rank == fresh.identification.rank
    assert float(jax.jit(statistics)(solve_equilibrium(estimates.economy))["welfare"]) == float(
        jax.jit(statistics)(solve_equilibrium(fresh.economy))["welfare"]
    )


def test_a_folder_of_another_kind_is_not_read_as_a_run(tmp_path):
    with pytest.raises(InvalidInput) as caught:
        load_run(tmp_path)
    assert len(caught.value.defects) == 4


MINIMUM_DISTANCE = RUN.replace('"three steps"', '"minimum distance"').replace(
    "draws = 50\nstudentised = true",
    """\
starts = 2
draws = 40
[types]
workers = "deciles"
[parameters]
tied = { "tastes.lambda_y" = "tastes.lambda_x" }
bounds = { "tastes.lambda_x" = [5.0, 60.0] }
""",
)


def test_minimum_distance_starts_from_the_three_steps_and_fits_moments_of_rows(
    folder, truth, capsys
):
    (folder / "distance.toml").write_text(MINIMUM_DISTANCE, encoding="utf-8")
    assert estimate_file(folder / "distance.toml", folder / "distance") == 0
    written = pd.read_csv(folder / "distance" / "estimates.csv").set_index("parameter")
    for name in ("tastes.lambda_x", "origin.denmark.constant", "origin.china.nu_x"):
        value = float(get_parameter(truth, name))
        assert abs(written.loc[name, "estimate"] - value) < 3 * written.loc[name, "std_error"]
    assert written.loc["tastes.lambda_y", "status"] == "tied"
    assert written.loc["origin.denmark.outside_option", "status"] == "fixed"
    (part,) = load_run(folder / "distance")
    found = part.estimates
    assert found.over_identification[1] == 51 + 6 - 2 - 1 - (8 + 20)
    assert len(found.minima) == 2
    assert found.sensitivity.shape == (len(found.names), len(found.fit.names))
    assert "cost of offshoring" in capsys.readouterr().out
    files = [path for path in (folder / "distance").iterdir() if path.is_file()]
    assert len(files) <= 15
    assert solve_equilibrium(found.economy).status == 0
    assert not found.bootstrap.failed.any()
    np.testing.assert_allclose(found.confint(), written[["ci_low", "ci_high"]], rtol=1e-9)
    # 40 draws leave 11 % of error
    free = [
        name for name, status in zip(found.names, found.status, strict=True) if status == "free"
    ]
    spread = dict(zip(found.names, found.std_errors("bootstrap"), strict=True))
    for name in free:
        assert spread[name] / written.loc[name, "std_error"] == pytest.approx(1.0, abs=0.4), name


def test_what_minimum_distance_cannot_do_is_said_at_once(folder, tmp_path):
    data = json.dumps(str(folder / "data.csv"))
    text = (
        MINIMUM_DISTANCE.replace('"data.csv"', data)
        + """\
fixed = { "tastes.lambda_z" = 1.0 }
free = ["technology.affinity", "tastes.lambda_x"]
[moments]
sampled = ["cross_moment"]
aggregates = ["wage_shares"]
"""
    )
    (tmp_path / "run.toml").write_text(text, encoding="utf-8")
    with pytest.raises(InvalidInput) as caught:
        estimate_file(tmp_path / "run.toml", tmp_path / "out")
    said = str(caught.value)
    assert "did you mean 'cross_moments'" in said
    assert "did you mean 'wage_share'" in said
    assert "'tastes.lambda_z' is no number of the economy" in said
    assert "run.toml: [parameters] origin.china.nu_y: is neither free, fixed nor tied" in said
    assert not (tmp_path / "out").exists()


def test_at_most_fifteen_files_are_left_and_no_pickle(out):
    files = [path for path in out.iterdir() if path.is_file()]
    assert len(files) <= 15
    assert {path.suffix for path in files} <= {".csv", ".json", ".toml", ".parquet", ".tex", ".md"}
    assert {path.stem for path in (out / "figures").iterdir()} == {"matches", "wages", "bootstrap"}


def test_the_economy_of_types_that_stand_for_few_rows_is_not_written(tmp_path, truth, capsys):
    """Identifiers and wages of single workers, planted in the data, are in no file."""
    write_economy(truth, tmp_path)
    simulate_file(tmp_path / "economy.toml", tmp_path / "data.csv", 2_000, seed=1, wage_error=3.0)
    frame = pd.read_csv(tmp_path / "data.csv")
    rng = np.random.default_rng(0)
    frame["skill"] += 1e-3 * rng.uniform(size=len(frame))
    matched = frame["matched"] == 1
    frame["worker"] = [f"secret{k}" for k in range(len(frame))]
    frame["firm"] = np.where(matched, "hidden" + frame["firm"].astype(str), "")
    frame.to_csv(tmp_path / "data.csv", index=False)
    home = frame[(frame["origin"] == "denmark") & matched]
    deciles = np.searchsorted(np.sort(truth.home.skills[:, 0]), frame["skill"])
    top = frame["skill"] >= home["skill"].nlargest(3).min()
    # the three most skilled are a type, the two lowest deciles another: ten types
    frame["cell"] = np.where(top, 99, np.maximum(deciles, 2))
    frame.to_csv(tmp_path / "data.csv", index=False)
    text = RUN.replace("draws = 50", "draws = 0")
    (tmp_path / "run.toml").write_text(text + '[types]\nworkers = { cells = "cell" }\n', "utf-8")
    estimate_file(tmp_path / "run.toml", tmp_path / "out")
    assert "no economy and no draws of it are written: 1 worker types" in capsys.readouterr().out
    planted = [
        *(f"{value!r}".encode() for value in home["skill"].nlargest(3)),
        *(f"{value!r}".encode() for value in home["wage"].nlargest(50)),
        b"secret", b"hidden",
    ]  # fmt: skip
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert {"types.csv", "fit.csv", "estimates.csv"} <= {path.name for path in files}
    assert not [path.name for path in files if path.name.startswith("economy")]
    for path in files:
        content = path.read_bytes()
        assert not [text for text in planted if text in content], path.name
    types = pd.read_csv(tmp_path / "out" / "types.csv")
    assert types["skill"].isna().sum() == 1 + 10  # the one thin type; firm types have none


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("outside_option = 45.276\n", "", "home.outside_option: is missing"),
        ("wage_share = 0.6786", "wage_shar = 0.6786", "did you mean 'wage_share'"),
        ('name = "china"', 'name = "chile"', "no row is of origin 'chile'"),
        ('home = "denmark"', 'home = "danmark"', "no row is of origin 'danmark'"),
        ('wage = "wage"\n', "", "needs the key wage"),
        ("wage_share = 0.6786", "wage_share = { 2006 = 0.6786 }", "has no number for the year"),
        ("[inference]", "[wages]\namenities = []\nproductivity = []\n[inference]", "belongs to"),
        ('origin = "origin"\nhome = "denmark"\n', "", "neither types nor rows"),
    ],
)
def test_a_defective_run_file_is_explained(folder, tmp_path, old, new, message):
    assert old in RUN
    data = json.dumps(str(folder / "data.csv"))
    text = RUN.replace(old, new).replace('"data.csv"', data)
    if "origin" not in new and "origin" in old:
        text = text.replace("unmatched_rows = true", 'unmatched_rows = true\nmissing = "drop"')
    (tmp_path / "run.toml").write_text(text, encoding="utf-8")
    with pytest.raises(InvalidInput, match=message):
        estimate_file(tmp_path / "run.toml", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_rows_of_unused_origins_and_wages_of_zero_or_less_are_said_and_kept_in_the_manifest(
    folder, tmp_path, capsys
):
    frame = pd.read_csv(folder / "data.csv")
    abroad = frame.index[frame["origin"] == "china"]
    frame.loc[abroad[::2], "origin"] = "india"
    matched = frame.index[(frame["matched"] == 1) & (frame["origin"] == "denmark")]
    frame.loc[matched[:20], "wage"] = -9.0
    frame.to_csv(tmp_path / "data.csv", index=False)
    (tmp_path / "run.toml").write_text(RUN.replace("draws = 50", "draws = 0"), encoding="utf-8")
    estimate_file(tmp_path / "run.toml", tmp_path / "out")
    left_out, wages = json.loads((tmp_path / "out/manifest.json").read_text("utf-8"))["doubts"]
    assert f"'china'): 'india' ({len(abroad[::2])})" in left_out
    assert "20 wages are zero or negative, down to -9" in wages
    said = " ".join(capsys.readouterr().out.split())
    assert left_out in said
    assert wages in said
    assert check_file(tmp_path / "run.toml") == 1
    assert left_out in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("suffix", ["dta", "parquet"])
def test_origins_may_be_numbers_as_statistical_programs_code_them(folder, tmp_path, suffix):
    frame = pd.read_csv(folder / "data.csv").assign(year=2006.0)
    frame["origin"] = frame["origin"].map({"denmark": 1.0, "china": 2.0})
    path = tmp_path / f"data.{suffix}"
    frame.to_stata(path) if suffix == "dta" else frame.to_parquet(path)
    frame.to_csv(tmp_path / "data.csv", index=False)  # 1.0 and 2006.0 as text
    text = RUN.replace('"denmark"', '"1"').replace('"china"', '"2"')
    text = text.replace("wage_share = 0.6786", "wage_share = { 2006 = 0.6786 }")
    text = text.replace("[home]", 'year = "year"\n[home]').replace("draws = 50", "draws = 0")
    found = []
    for name in ("data.csv", path.name):
        (tmp_path / "run.toml").write_text(text.replace("data.csv", name), encoding="utf-8")
        assert estimate_file(tmp_path / "run.toml", tmp_path / f"of_{name}") == 0
        found.append(pd.read_csv(tmp_path / f"of_{name}" / "estimates.csv"))
    pd.testing.assert_frame_equal(*found)


def test_a_column_of_origins_without_any_is_explained(folder, tmp_path):
    frame = pd.read_csv(folder / "data.csv").astype({"origin": object}).assign(origin=None)
    frame.to_parquet(tmp_path / "data.parquet")
    text = RUN.replace("data.csv", "data.parquet")
    text = text.replace("unmatched_rows = true", 'unmatched_rows = true\nmissing = "drop"')
    (tmp_path / "run.toml").write_text(text, encoding="utf-8")
    with pytest.raises(InvalidInput, match="every row has an empty cell"):
        estimate_file(tmp_path / "run.toml", tmp_path / "out")


def test_years_share_types_and_the_change_of_the_cost_of_offshoring_is_reported(
    tmp_path, truth, capsys
):
    """The later year differs in the cost of offshoring alone: cheaper by 8 kroner."""
    cheaper = replace(truth.origins[1], constant=truth.origins[1].constant + 8.0)
    frames = []
    for year, economy in ((1996, truth), (2006, replace(truth, origins=(truth.home, cheaper)))):
        place = tmp_path / str(year)
        place.mkdir()
        write_economy(economy, place)
        simulate_file(place / "economy.toml", place / "data.csv", 50_000, year, wage_error=3.0)
        frames.append(pd.read_csv(place / "data.csv").assign(year=year))
    pd.concat(frames).to_parquet(tmp_path / "data.parquet")
    share = {
        year: float(jax.jit(statistics)(solve_equilibrium(e))["wage_share"])
        for year, e in ((1996, truth), (2006, replace(truth, origins=(truth.home, cheaper))))
    }
    yearly = f"wage_share = {{ 1996 = {share[1996]}, 2006 = {share[2006]} }}"
    text = RUN.replace("data.csv", "data.parquet").replace("draws = 50", "draws = 0")
    text = text.replace("wage_share = 0.6786", yearly).replace("[home]", 'year = "year"\n[home]')
    (tmp_path / "run.toml").write_text(text, encoding="utf-8")
    assert estimate_file(tmp_path / "run.toml", tmp_path / "out") == 0
    written = pd.read_csv(tmp_path / "out" / "estimates.csv")
    change = written[written["parameter"] == "cost_of_offshoring.change_at_held_intensities"]
    assert list(change["year"]) == ["1996 to 2006"]
    assert abs(change["estimate"] + 8.0).item() < 3 * change["std_error"].item()
    parts = load_run(tmp_path / "out")
    assert [part.year for part in parts] == ["1996", "2006"]
    for part in parts:
        row = written[
            (written["parameter"] == "cost_of_offshoring") & (written["year"] == part.year)
        ]
        assert part.estimates["cost_of_offshoring"] == row["estimate"].item()
        assert solve_equilibrium(part.estimates.economy).status == 0
    types = pd.read_csv(tmp_path / "out" / "types.csv")
    first, second = (types[types["year"] == year]["skill"].to_numpy() for year in (1996, 2006))
    np.testing.assert_array_equal(first, second)
    for year in (1996, 2006):
        assert (tmp_path / "out" / "economies" / str(year) / "economy.toml").is_file()
    assert "cost_of_offshoring.change, 1996 to 2006" in capsys.readouterr().out
