"""``shorematch estimate`` and ``shorematch calibrate``: files in, a run folder or one message."""

import json
import os
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest

from estimation import estimate_affinity, estimate_penalised_affinity
from matching import InvalidInput, solve_equilibrium, statistics
from shorematch.calibrating import calibrate_file
from shorematch.denmark import economy_path
from shorematch.estimates.estimating import estimate_file
from shorematch.estimates.stored_estimates import load_run
from shorematch.files.economy_file import read_economy, write_economy

DATA = Path(os.environ.get("SHOREMATCH_DATA", Path(__file__).parents[2] / "shared" / "data"))
COUPLES = DATA / "dupuy_galichon_2014_personality" / "BDG_w2040_27jun13.csv"

RUN = """\
estimator = "affinity"
[data]
matches = "matches.csv"
worker_columns = ["skill", "age"]
firm_columns = ["size"]
weight = "w"
"""


def write_matches(folder, **changed):
    """60 matches in a file with more columns than are read; a run file beside it."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({
        "id": [f"secret{k}" for k in range(60)], "skill": rng.normal(size=60),
        "age": rng.uniform(20, 60, 60), "size": rng.normal(size=60),
        "w": rng.uniform(1, 2, 60), "note": "x",
    })  # fmt: skip
    frame["size"] += frame["skill"]
    frame = frame.assign(**changed)
    frame.to_csv(folder / "matches.csv", index=False)
    (folder / "run.toml").write_text(RUN)
    return frame


def test_estimates_in_the_run_folder_are_those_of_the_library(tmp_path):
    frame = write_matches(tmp_path)
    assert estimate_file(tmp_path / "run.toml", tmp_path / "out") == 0
    written = pd.read_csv(tmp_path / "out" / "estimates.csv")
    assert list(written.columns) == [
        "parameter", "group", "year", "estimate", "std_error", "ci_low", "ci_high", "start",
        "status", "unit", "verdict",
    ]  # fmt: skip
    assert list(written["parameter"]) == ["affinity.skill.size", "affinity.age.size"]
    assert set(written["status"]) == {"free"}
    assert set(written["verdict"]) == {"CERTIFIED"}
    raw = estimate_affinity(frame[["skill", "age"]], frame["size"], frame["w"])
    t = raw.values / raw.std_errors()
    np.testing.assert_allclose(written["estimate"] / written["std_error"], t, rtol=1e-8)
    fit = pd.read_csv(tmp_path / "out" / "fit.csv")
    np.testing.assert_allclose(fit["model"], fit["data"], atol=1e-9)
    shares = pd.read_csv(tmp_path / "out" / "saliency.csv")["share"]
    assert shares.sum() == pytest.approx(1.0, abs=1e-12)
    for stem in ("affinity.tex", "affinity.md", "figures/affinity.pdf", "figures/saliency.png"):
        assert (tmp_path / "out" / stem).stat().st_size > 0
    assert "only Φ/λ" in (tmp_path / "out" / "affinity.md").read_text(encoding="utf-8")


def test_no_identifier_of_a_row_reaches_the_run_folder(tmp_path):
    write_matches(tmp_path)
    estimate_file(tmp_path / "run.toml", tmp_path / "out")
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(files) > 10
    assert not [path for path in files if b"secret" in path.read_bytes()]


def test_the_resolved_run_file_gives_the_same_estimates_byte_for_byte(tmp_path):
    write_matches(tmp_path)
    estimate_file(tmp_path / "run.toml", tmp_path / "first")
    (tmp_path / "again.toml").write_bytes((tmp_path / "first" / "run.toml").read_bytes())
    estimate_file(tmp_path / "again.toml", tmp_path / "second")
    first, second = (tmp_path / run / "estimates.csv" for run in ("first", "second"))
    assert first.read_bytes() == second.read_bytes()


def test_missing_values_are_an_error_or_counted_never_silently_dropped(tmp_path):
    skill = np.random.default_rng(0).normal(size=60)
    skill[[3, 7]] = np.nan
    frame = write_matches(tmp_path, skill=skill)
    with pytest.raises(InvalidInput) as caught:
        estimate_file(tmp_path / "run.toml", tmp_path / "out")
    assert "row 5, column skill" in str(caught.value)
    assert "row 9, column skill" in str(caught.value)
    assert not (tmp_path / "out").exists()
    (tmp_path / "run.toml").write_text(RUN + 'missing = "drop"\n')
    assert estimate_file(tmp_path / "run.toml", tmp_path / "out") == 0
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["rows"] == {"read": 60, "dropped_missing": 2, "used": 58}
    used = frame.dropna()
    raw = estimate_affinity(used[["skill", "age"]], used["size"], used["w"])
    written = pd.read_csv(tmp_path / "out" / "estimates.csv")
    t = raw.values / raw.std_errors()
    np.testing.assert_allclose(written["estimate"] / written["std_error"], t, rtol=1e-8)


def test_every_defect_of_the_data_is_in_one_message_and_nothing_is_written(tmp_path):
    write_matches(tmp_path, w=np.r_[0.0, -1.0, np.ones(58)], size=["big", *["1.0"] * 59])
    with pytest.raises(InvalidInput) as caught:
        estimate_file(tmp_path / "run.toml", tmp_path / "out")
    for place in ("row 2, column size: 'big' is text", "row 2, column w", "row 3, column w"):
        assert place in str(caught.value)
    write_matches(tmp_path, w=np.r_[0.0, -1.0, np.ones(58)], age=[None, *[30.0] * 59])
    with pytest.raises(InvalidInput) as caught:
        estimate_file(tmp_path / "run.toml", tmp_path / "out")
    for place in ("row 2, column w", "row 3, column w", "row 2, column age"):
        assert place in str(caught.value)
    write_matches(tmp_path, age=30.0)
    with pytest.raises(InvalidInput, match=r"matches\.csv, column age: is constant"):
        estimate_file(tmp_path / "run.toml", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('estimator = "affinity"', 'estimator = "affinty"', "estimator"),
        ("worker_columns", "worker_colums", "did you mean 'worker_columns'"),
        ('["size"]', '["sise"]', "did you mean 'size'"),
        ('["size"]', '["skill"]', "names 'skill' twice"),
        ('["size"]', "[]", "firm_columns"),
        ("matches.csv", "matched.csv", "did you mean 'matches.csv'"),
    ],
)
def test_a_defective_run_file_is_explained(tmp_path, old, new, message):
    write_matches(tmp_path)
    assert old in RUN
    (tmp_path / "run.toml").write_text(RUN.replace(old, new))
    with pytest.raises(InvalidInput, match=message):
        estimate_file(tmp_path / "run.toml", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_sample_sorted_without_exception_is_written_and_reported_as_failed(tmp_path, capsys):
    line = np.linspace(-1.0, 1.0, 12)
    pd.DataFrame({"skill": line, "size": line}).to_csv(tmp_path / "matches.csv", index=False)
    run = RUN.replace('["skill", "age"]', '["skill"]').replace('weight = "w"\n', "")
    (tmp_path / "run.toml").write_text(run)
    assert estimate_file(tmp_path / "run.toml", tmp_path / "out") == 2
    assert "FAILED" in capsys.readouterr().out
    assert set(pd.read_csv(tmp_path / "out" / "estimates.csv")["verdict"]) == {"FAILED"}


def test_a_penalised_matrix_has_no_errors_and_its_path_is_a_table(tmp_path, capsys):
    frame = write_matches(tmp_path)
    penalty = '[affinity]\npenalty = "nuclear"\nstrengths = 4\nfolds = 3\n'
    (tmp_path / "run.toml").write_text(RUN + penalty)
    assert estimate_file(tmp_path / "run.toml", tmp_path / "out") == 0
    written = pd.read_csv(tmp_path / "out" / "estimates.csv")
    assert written["std_error"].isna().all()
    assert "no standard errors" in capsys.readouterr().out
    path = pd.read_csv(tmp_path / "out" / "penalty.csv")
    assert path["size"].iloc[0] == 0
    assert (path["chosen"] == "chosen").sum() == 1
    (part,) = load_run(tmp_path / "out")
    direct = estimate_penalised_affinity(
        frame[["skill", "age"]],
        frame["size"],
        frame["w"],
        strength=part.estimates.penalty.strength,
    )
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    units = {
        name: column["standard_deviation"]
        for name, column in manifest["standardised"]["columns"].items()
    }
    scale = units["size"] * np.array([units["skill"], units["age"]])
    np.testing.assert_allclose(part.estimates.values, direct.values * scale, rtol=1e-7)
    assert {p.stem for p in (tmp_path / "out" / "figures").iterdir()} == {
        "affinity", "saliency", "covariances", "penalty",
    }  # fmt: skip


def test_keys_of_another_estimator_are_refused(tmp_path):
    write_matches(tmp_path)
    penalised = '[affinity]\npenalty = "l1"\n[inference]\ndraws = 10\n'
    for extra, reason in (
        ("[inference]\nstarts = 3\n", "minimum distance"), (penalised, "has no errors"),
    ):  # fmt: skip
        (tmp_path / "run.toml").write_text(RUN + extra)
        with pytest.raises(InvalidInput, match=reason):
            estimate_file(tmp_path / "run.toml", tmp_path / "out")


def test_draws_of_a_run_without_an_economy_are_read_back_with_their_intervals(tmp_path, capsys):
    write_matches(tmp_path)
    (tmp_path / "run.toml").write_text(RUN + "[inference]\ndraws = 30\nstudentised = true\n")
    assert estimate_file(tmp_path / "run.toml", tmp_path / "out") == 0
    assert "30 bootstrap draws, 0 failed" in capsys.readouterr().out
    assert (tmp_path / "out" / "figures" / "bootstrap.pdf").is_file()
    written = pd.read_csv(tmp_path / "out" / "estimates.csv")
    draws = pd.read_parquet(tmp_path / "out" / "draws.parquet")
    assert list(draws) == ["draw", "failed", *written["parameter"], "covariance"]
    (part,) = load_run(tmp_path / "out")
    found = part.estimates
    np.testing.assert_allclose(found.confint(), written[["ci_low", "ci_high"]], rtol=1e-9)
    np.testing.assert_allclose(
        found.std_errors("bootstrap"), draws[list(found.names)].std(), rtol=1e-9
    )  # fmt: skip
    for name, low, high in written[["parameter", "ci_low", "ci_high"]].to_numpy():
        assert low < draws[name].median() < high


@pytest.mark.skipif(not COUPLES.is_file(), reason=f"no data at {COUPLES}")
def test_semicolons_and_decimal_commas_are_read_as_told(tmp_path):
    """The couples' file as it is distributed; education .56, height .18 (Table 3)."""
    (tmp_path / "run.toml").write_text(f"""\
estimator = "affinity"
[data]
matches = "{COUPLES}"
delimiter = ";"
decimal = ","
worker_columns = ["educm", "heightm"]
firm_columns = ["educv", "heightv"]
""")
    assert estimate_file(tmp_path / "run.toml", tmp_path / "out") == 0
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    means = manifest["standardised"]["columns"]
    raw = pd.read_csv(COUPLES, sep=";", decimal=",")
    for name in ("educm", "heightm", "educv", "heightv"):
        assert means[name]["mean"] == pytest.approx(raw[name].mean(), rel=1e-12)


# ---------------------------------------------------------------- calibrate


def write_calibration(folder, **replaced):
    """The Danish types of 2006 and the aggregates of a run file; a key with None is left out."""
    write_economy(read_economy(economy_path(2006)).economy, folder, "types")
    aggregates = {
        "unemployment_rate": 0.0391, "mean_wage_home": 147.42, "wage_share": 0.6786,
        "offshoring_rate": 0.0155, "mean_wage_foreign": 56.513,
    } | replaced  # fmt: skip
    lines = [f"{key} = {value}" for key, value in aggregates.items() if value is not None]
    text = (folder / "types.toml").read_text()
    kept = [x for x in text.splitlines() if not x.startswith(("constant", "nu_x", "nu_y"))]
    (folder / "run.toml").write_text("\n".join([*kept, "[aggregates]", *lines, ""]))
    return folder / "run.toml"


def test_the_calibrated_economy_file_solves_to_the_aggregates(tmp_path):
    assert calibrate_file(write_calibration(tmp_path), tmp_path / "out") == 0
    economy = read_economy(tmp_path / "out" / "economy.toml").economy
    table = jax.jit(statistics)(solve_equilibrium(economy))
    restrictions = pd.read_csv(tmp_path / "out" / "restrictions.csv").set_index("restriction")
    assert len(restrictions) == 6
    for key, data in restrictions["data"].items():
        assert float(table[key]) == pytest.approx(data, rel=1e-9), key
    written = pd.read_csv(tmp_path / "out" / "estimates.csv").set_index("parameter")["estimate"]
    assert written["origin.denmark.constant"] == float(economy.home.constant)


def test_the_output_states_which_numbers_rest_on_an_assumption(tmp_path, capsys):
    calibrate_file(write_calibration(tmp_path), tmp_path / "out")
    shown = capsys.readouterr().out
    assert "rest on E(r*) = E(r)" in shown
    assert "ν_y is relative to the assumed mass of firms, 1.0155" in shown


def test_a_missing_restriction_is_asked_for(tmp_path):
    """1996's mean wage is not published: nothing is guessed."""
    run = write_calibration(tmp_path, mean_wage_home=None)
    with pytest.raises(InvalidInput, match=r"mean_wage_home: is missing, E\(w\).*Add mean_wage"):
        calibrate_file(run, tmp_path / "out")
    run = write_calibration(tmp_path, offshoring_rate=None, mean_wage_foreign=None)
    with pytest.raises(InvalidInput) as caught:
        calibrate_file(run, tmp_path / "out")
    assert len(caught.value.defects) == 2
    assert not (tmp_path / "out").exists()


def test_aggregates_in_percent_are_refused(tmp_path):
    run = write_calibration(tmp_path, unemployment_rate=3.91, wage_share=67.86)
    with pytest.raises(InvalidInput) as caught:
        calibrate_file(run, tmp_path / "out")
    assert len(caught.value.defects) == 2
    assert not (tmp_path / "out").exists()


def test_a_constant_in_a_calibration_is_an_unknown_key(tmp_path):
    run = write_calibration(tmp_path)
    run.write_text(run.read_text().replace("[[origin]]", "[[origin]]\nconstant = 1.0", 1))
    with pytest.raises(InvalidInput, match="constant: is unknown"):
        calibrate_file(run, tmp_path / "out")
