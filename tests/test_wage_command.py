"""``shorematch estimate`` with wages: the run folder, its numbers, and what it refuses."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from estimation import estimate_with_wages, make_basis
from matching import InvalidInput
from shorematch.estimates.checking import check_file
from shorematch.estimates.estimating import estimate_file

RUN = """\
estimator = "wages"
[data]
matches = "jobs.csv"
worker_columns = ["education", "female"]
firm_columns = ["risk", "public"]
standardise = "ddof0"
standardised_columns = ["education", "risk"]
wage = "wage"
firm = "firm"
[wages]
amenities = ["risk", "public"]
productivity = ["education", "female", "education*risk", "female*public"]
profile = true
[inference]
starts = 2
draws = 10
"""


def write_example(folder, **changed):
    """The run file and 200 matches in 40 firms for it."""
    rng = np.random.default_rng(0)
    education, noise = rng.normal(14.0, 3.0, 200), rng.normal(size=200)
    frame = pd.DataFrame({
        "worker": [f"secret{k}" for k in range(200)],
        "firm": [f"hidden{k % 40}" for k in range(200)],
        "education": education, "female": rng.integers(0, 2, 200),
        "risk": 0.2 * education + noise, "public": rng.integers(0, 2, 200),
    })  # fmt: skip
    x, y = (frame[c] / frame[c].std() for c in ("education", "risk"))
    frame["wage"] = np.exp(2 + 0.1 * x + 0.05 * x**2 - 0.05 * y**2 + 0.2 * rng.normal(size=200))
    frame = frame.assign(**changed)
    frame.to_csv(folder / "jobs.csv", index=False)
    (folder / "run.toml").write_text(RUN, encoding="utf-8")
    return frame, folder / "run.toml"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Data, run folder and exit code."""
    folder = tmp_path_factory.mktemp("wages")
    frame, path = write_example(folder)
    code = estimate_file(path, folder / "out")
    return frame, folder / "out", code


def test_the_run_folder_holds_the_librarys_estimates(run):
    frame, out, code = run
    basis = make_basis(
        ["risk", "public"], ["education", "female", "education*risk", "female*public"],
        workers=["education", "female"], jobs=["risk", "public"],
    )  # fmt: skip
    standard = frame[["education", "risk"]]
    standard = (standard - standard.mean()) / standard.std(ddof=0)
    direct = estimate_with_wages(
        np.log(frame["wage"]),
        {"education": standard["education"], "female": frame["female"]},
        {"risk": standard["risk"], "public": frame["public"]},
        basis,
        clusters=frame["firm"],
    )
    written = pd.read_csv(out / "estimates.csv")
    assert tuple(written["parameter"]) == direct.names
    np.testing.assert_allclose(written["estimate"], direct.values, rtol=1e-7)
    np.testing.assert_allclose(written["std_error"], direct.std_errors(), rtol=1e-7)
    certificate = json.loads((out / "certificate.json").read_text(encoding="utf-8"))
    assert code == (0 if certificate["verdict"] == "CERTIFIED" else 2)
    assert len(certificate["minima"]) == 2
    assert certificate["verdict"] == direct.certificate.verdict


def test_a_sound_run_has_no_finding_and_a_forecast_with_its_draws(run, capsys):
    _, out, _ = run
    assert check_file(out.parent / "run.toml") == 0
    assert re.search(r"Forecast: \d+ s and \d\.\d GB", capsys.readouterr().out)


def test_what_is_left_is_aggregates_alone(run):
    _, out, _ = run
    files = [path for path in out.rglob("*") if path.is_file()]
    assert {path.name for path in files} == {
        "estimates.csv", "vcov.csv", "fit.csv", "certificate.json", "run.toml", "manifest.json",
        "wages.csv", "wages.tex", "wages.md", "coefficients.pdf", "coefficients.png",
        "wage_fit.pdf", "wage_fit.png", "draws.parquet", "bootstrap.pdf", "bootstrap.png",
    }  # fmt: skip
    for path in files:
        assert b"secret" not in path.read_bytes()
        assert b"hidden" not in path.read_bytes()
    fit = pd.read_csv(out / "fit.csv").set_index("moment")
    groups = fit[fit.index.str.startswith("wage.group_")]
    # least squares has a constant: the mean of residuals is zero over all groups of ten
    assert len(groups) == 20
    assert groups["difference"].mean() == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"female*public"', '"femal*public"', "did you mean 'female'"),
        ('amenities = ["risk"', 'amenities = ["education"', "education is the worker's alone"),
        ('standardised_columns = ["education"', 'standardised_columns = ["edu"', "names 'edu'"),
        ("profile = true", "profiles = true", "did you mean 'profile'"),
        ('estimator = "wages"', 'estimator = "affinity"', "belongs to estimator"),
        ('wage = "wage"', 'wage = "education"', "names 'education' twice"),
    ],
)
def test_a_defective_run_file_is_explained(tmp_path, old, new, message):
    _, path = write_example(tmp_path)
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(InvalidInput, match=message):
        estimate_file(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_wages_without_a_logarithm_and_firms_without_a_label_are_located(tmp_path):
    wage = np.exp(np.random.default_rng(1).normal(size=200))
    wage[[4, 9]] = [0.0, -3.0]
    _, path = write_example(tmp_path, wage=wage)
    with pytest.raises(InvalidInput) as caught:
        estimate_file(path, tmp_path / "out")
    assert "jobs.csv, row 6, column wage: is 0.0" in str(caught.value)
    assert "jobs.csv, row 11, column wage: is -3.0" in str(caught.value)
    _, path = write_example(tmp_path, firm=["", *["a"] * 199])
    with pytest.raises(InvalidInput, match=r"row 2, column firm: the cell is empty"):
        estimate_file(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
