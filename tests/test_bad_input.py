"""Bad input: every defect in one message, with its place and remedy, and nothing written."""

import re
from pathlib import Path

import pandas as pd
import pytest

from matching import InvalidInput
from shorematch.files.defects import InputError
from shorematch.files.run_folder import new_run, safe_names
from shorematch.files.table_files import read_table
from shorematch.solving import SolveOptions, solve_file
from tests.danish import FILES, edited, write_danish

TOML = FILES["economy.toml"]
WORKERS = FILES["workers.csv"]

CASES = {
    # name: (what replaces a file, the parts that the message must hold)
    "misspelt key": (
        {"economy": edited("economy.toml", "lambda_x", "lamda_x")},
        ["economy.toml, key tastes.lamda_x", "did you mean 'lambda_x'"],
    ),
    "missing key": (
        {"economy": edited("economy.toml", "nu_x = -4.51\n", "")},
        ["economy.toml, key origin #1.nu_x", "is missing"],
    ),
    "unknown key": (
        {"economy": edited("economy.toml", "[firms]", "[firms]\ncolour = 1")},
        ["economy.toml, key firms.colour", "is unknown", "types, outside_option"],
    ),
    "no economy in the file": (
        {"economy": "title = 1\n"},
        ["key title: is unknown", "key firms: is missing", "key origin: is missing"],
    ),
    "text for a number": (
        {"economy": edited("economy.toml", "constant = 119.94", 'constant = "119.94"')},
        ["key origin #2.constant", "valid number", "'119.94'"],
    ),
    "a scale of zero": (
        {"economy": edited("economy.toml", "lambda_y = 18.78", "lambda_y = 0.0")},
        ["key tastes.lambda_y", "greater than 0"],
    ),
    "a constant that is not finite": (
        {"economy": edited("economy.toml", "207.90", "inf")},
        ["key origin #1.constant", "finite"],
    ),
    "an unknown unit": (
        {"economy": edited("economy.toml", '"cell"', '"cells"')},
        ["key technology.intensity_unit", "'cell' or 'density'", "'cells'"],
    ),
    "broken TOML": (
        {"economy": edited("economy.toml", "207.90", "207,90")},
        ["economy.toml, row 13", "not valid TOML", "decimal point"],
    ),
    "a key given twice": (
        {"economy": edited("economy.toml", "lambda_y", "lambda_x")},
        ["economy.toml", "not valid TOML"],
    ),
    "too few rows of the affinity": (
        {"workers": "mass,a,b\n1,2,3\n", "foreign": "mass,a,b\n1,2,3\n"},
        ["key technology.affinity", "has 1 rows for skills a, b"],
    ),
    "ragged affinity": (
        {"economy": edited("economy.toml", "[[75.55]]", "[[75.55], [1.0, 2.0]]")},
        ["key technology.affinity", "rows have 1, 2 numbers", "has 2 rows", "1 or 2 columns"],
    ),
    "two origins of one name": (
        {"economy": edited("economy.toml", '"china"', '"denmark"')},
        ["key origin.name", "2 origins bear the name 'denmark'"],
    ),
    "another skill abroad": (
        {"foreign": "mass,talent\n1,2\n"},
        ["foreign.csv, row 1", "skills are talent; home's are skill"],
    ),
    "missing column": (
        {"workers": "weight,skill\n1,2\n"},
        ["workers.csv, row 1, column mass", "is missing", "weight, skill"],
    ),
    "misspelt column": (
        {"workers": "Mass,skill\n1,2\n"},
        ["workers.csv, row 1, column mass", "did you mean 'Mass'"],
    ),
    "no characteristics": (
        {"firms": "mass\n1\n"},
        ["firms.csv, row 1", "no characteristic"],
    ),
    "a column of the results as a skill": (
        {"workers": "mass,skill,worker\n1,2,3\n"},
        ["workers.csv, row 1, column worker", "Rename"],
    ),
    "cells that are no numbers": (
        {"workers": 'mass,skill\nnan,0.1\n0.25,inf\n,0.6\nlots,"0,9"\n1_000,1\n'},
        [
            "workers.csv, row 2, column mass: nan is not a finite number",
            "workers.csv, row 3, column skill: inf is not a finite number",
            "workers.csv, row 4, column mass: the cell is empty",
            "workers.csv, row 5, column mass: 'lots' is text",
            "workers.csv, row 5, column skill: '0,9' has a decimal comma",
            "workers.csv, row 6, column mass: '1_000' is text",
        ],
    ),
    "negative mass": (
        {"workers": "mass,skill\n1,2\n-0.5,2\ninf,2\n"},
        ["workers.csv, row 3, column mass: is negative (-0.5)", "row 4, column mass: inf"],
    ),
    "keys and tables at once": (
        {"economy": edited("economy.toml", "lambda_x", "lamda_x"), "firms": "mas,a\n1,x\n"},
        ["key tastes.lamda_x", "firms.csv, row 1, column mass: is missing; did you mean 'mas'",
         "firms.csv, row 2, column a: 'x' is text"],
    ),
    "nobody on one side": (
        {"firms": "mass,productivity\n0,1\n0,2\n"},
        ["firms.csv, column mass", "all masses are zero"],
    ),
    "empty file": ({"firms": ""}, ["firms.csv: is empty"]),
    "only a header": ({"firms": "mass,productivity\n"}, ["firms.csv", "no rows"]),
    "thousands with a comma": (
        {"workers": 'mass,skill\n1,2\n"1,000",2\n'},
        ["workers.csv, row 3, column mass: '1,000' has a comma, of decimals or of thousands"],
    ),
    "semicolons and decimal commas": (
        {"workers": WORKERS.replace(",", ";").replace(".", ",")},
        ["workers.csv, row 1", "semicolons", "decimal comma"],
    ),
    "tabs": ({"workers": WORKERS.replace(",", "\t")}, ["workers.csv", "tabs"]),
    "decimal commas between commas": (
        {"workers": WORKERS.replace("0.25", "0,25")},
        ["workers.csv, row 2", "3 fields where the header has 2"],
    ),
    "a short row and a bad cell": (
        {"workers": "mass,skill\n0.5\n0.5,x\n"},
        ["row 2: has 1 fields", "row 3, column skill: 'x' is text"],
    ),
    "a blank row inside": ({"workers": "mass,skill\n1,2\n\n1,3\n"}, ["row 3", "is blank"]),
    "an open quotation": ({"workers": 'mass,skill\n1,"2\n1,3\n'}, ["workers.csv", "quotation"]),
    "UTF-16": ({"workers": WORKERS.encode("utf-16")}, ["workers.csv", "UTF-16", "UTF-8"]),
    "UTF-16 without a mark": ({"workers": WORKERS.encode("utf-16-le")}, ["UTF-16"]),
    "UTF-16 in the economy file": ({"economy": TOML.encode("utf-16")}, ["economy.toml", "UTF-16"]),
    "Latin-1": (
        {"workers": "mass,skill\n1,2\n1,é\n".encode("latin-1")},
        ["workers.csv, row 3", "not encoded as UTF-8"],
    ),
    "columns without sensible names": (
        {"workers": "mass,skill,skill, brawn,\n1,2,3,4,5\n"},
        ["column skill: 2 columns", "column ' brawn'", "column 5 has no name"],
    ),
    "a folder for a file": (
        {"economy": edited("economy.toml", '"firms.csv"', '"."')},
        ["is a table of unknown kind"],
    ),
    "a file that is not there": (
        {"economy": edited("economy.toml", "firms.csv", "frims.csv")},
        ["frims.csv", "does not exist", "did you mean 'firms.csv'"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda name: name.replace(" ", "-"))
def test_each_defect_is_named_with_its_place_and_nothing_is_written(tmp_path, case):
    replaced, parts = CASES[case]
    path = write_danish(tmp_path, **replaced)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InputError) as caught:
        solve_file(path, tmp_path / "out")
    for part in parts:
        assert part in str(caught.value)
    assert sorted(tmp_path.iterdir()) == before


def test_the_defects_of_all_tables_come_in_one_message(tmp_path):
    path = write_danish(
        tmp_path,
        economy=edited("economy.toml", '"china"', '"denmark"'),
        firms="mass,productivity\n-1,1\n",
        workers="mass,skill\nnan,1\n",
        foreign="",
    )
    with pytest.raises(InputError) as caught:
        solve_file(path, tmp_path / "out")
    assert len(caught.value.defects) == 4
    for place in ("economy.toml", "firms.csv, row 2", "workers.csv, row 2", "foreign.csv"):
        assert place in str(caught.value)


def test_a_thousand_bad_rows_or_keys_are_counted_not_listed(tmp_path):
    keys = "".join(f"key_{k} = 1\n" for k in range(1000))
    for replaced, said in (
        ({"workers": "mass,skill\n" + "x,1\n" * 1000}, "995 more rows"),
        ({"economy": keys + FILES["economy.toml"]}, "995 more keys"),
    ):
        path = write_danish(tmp_path, **replaced)
        with pytest.raises(InputError, match=said) as caught:
            solve_file(path, tmp_path / "out")
        assert len(caught.value.defects) == 6


def test_rows_are_counted_as_a_spreadsheet_does_where_a_cell_holds_a_line_break(tmp_path):
    path = write_danish(tmp_path, workers='mass,"two\nlines"\n1,2\n"0.5\n",2\n-1,2\n')
    with pytest.raises(InputError, match=re.escape("workers.csv, row 4, column mass")):
        solve_file(path, tmp_path / "out")


@pytest.mark.parametrize("suffix", [".parquet", ".dta"])
def test_other_formats_name_the_row_and_column_too(tmp_path, suffix):
    path = tmp_path / f"table{suffix}"
    frame = pd.DataFrame({"mass": [1.0, None], "skill": [1.0, 2.0], "job": ["a", "b"]})
    frame.to_parquet(path) if suffix == ".parquet" else frame.to_stata(path, write_index=False)
    defects = []
    assert read_table(path, defects) is None
    assert [(d.row, d.column) for d in defects] == [(3, "mass"), (2, "job"), (3, "job")]
    good = read_table(path, [], columns=["skill"])
    assert good is not None
    assert good["skill"].tolist() == [1.0, 2.0]
    path.write_bytes(b"neither")
    assert read_table(path, defects) is None
    assert "cannot be read as" in str(defects[-1])


def test_text_columns_stay_text_and_only_named_columns_are_read(tmp_path):
    path = tmp_path / "matches.csv"
    path.write_text("firm,wage,junk\n007,1.5,x\n8,2,y\n")
    frame = read_table(path, [], columns=["firm", "wage"], numeric=["wage"])
    assert frame is not None
    assert frame.to_dict("list") == {"firm": ["007", "8"], "wage": [1.5, 2.0]}


@pytest.mark.parametrize("obstacle", ["run", "file", "above", "full", "link"])
def test_what_stands_at_the_output_is_left_alone(tmp_path, obstacle):
    path = write_danish(tmp_path)
    out = tmp_path / "out"
    if obstacle in ("file", "above"):
        out.write_text("mine")
        out = out / "deeper" if obstacle == "above" else out
    elif obstacle == "link":
        out.symlink_to(tmp_path / "gone")
    else:
        out.mkdir()
        (out / ("summary.json" if obstacle == "run" else "thesis.tex")).write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match="another --out"):
        solve_file(path, out)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_run_that_breaks_off_leaves_nothing_behind(tmp_path):
    def broken():
        with new_run(tmp_path / "a" / "b" / "out") as folder:
            (folder / "half").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken()
    assert not list(tmp_path.iterdir())


def test_an_empty_folder_may_take_a_run(tmp_path):
    (tmp_path / "out").mkdir()
    with new_run(tmp_path / "out") as folder:
        (folder / "summary.json").write_text("{}")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["summary.json"]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_an_output_that_is_a_link_fills_the_folder_that_it_leads_to(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    with new_run(tmp_path / "out") as folder:
        (folder / "summary.json").write_text("{}")
    assert (tmp_path / "out").is_symlink()
    assert [p.name for p in (tmp_path / "disk").iterdir()] == ["summary.json"]


def test_unknown_orders_are_refused_together(tmp_path):
    options = SolveOptions(order_skill="skil", order_characteristic="size")
    with pytest.raises(
        InvalidInput, match=r"(?s)did you mean 'skill'.*--order-characteristic 'size'"
    ):
        solve_file(write_danish(tmp_path), tmp_path / "out", options)


def test_folder_names_are_distinct_and_stay_inside(tmp_path):
    names = [
        "..",
        ".",
        "",
        "/etc/passwd",
        "a/b",
        "a\\b",
        "A/B",
        "nul",
        "x" * 300,
        "x" * 301,
        "é",
        "e\u0301",
    ]
    safe = safe_names(names)
    assert len({name.casefold() for name in safe}) == len(names)
    for name in safe:
        (tmp_path / name).mkdir()
        assert (tmp_path / name).parent.resolve() == Path(tmp_path).resolve()


def test_a_folder_is_not_the_file_that_was_meant(tmp_path):
    (tmp_path / "economies").mkdir()
    with pytest.raises(InputError, match=r"economy\.toml: does not exist") as caught:
        solve_file(tmp_path / "economy.toml", tmp_path / "out")
    assert "did you mean" not in str(caught.value)
