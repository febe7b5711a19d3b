"""The documents are true: names, tests, symbols, examples and commands in them are real."""

import ast
import importlib
import inspect
import re
import unicodedata
from dataclasses import fields, is_dataclass
from pathlib import Path

import counterfactuals
import estimation
import matching

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text(encoding="utf-8")
EQUATIONS = (DOCS / "equations.md").read_text(encoding="utf-8")
NOTATION = (DOCS / "notation.md").read_text(encoding="utf-8")

# What is public and no equation.
BUILDS = {
    "make_economy", "make_firms", "make_origin", "make_basis", "quantile_cells", "individual_cells",
    "given_cells",
}  # fmt: skip
NAMES = {"get_parameter", "with_parameter", "parameter_names", "measure_labels", "default_groups"}
COLLECTS = {
    "solve_batch",
    "solve_sharded",
    "statistics",
    "measures",
    "solve_measures",
    "max_residual",
    "potentials",
}
DESIGNS = {
    "check_design", "drawn", "economies_of", "grid", "listed", "part_of", "shocks_of_point",
    "single", "taken_from",
}  # fmt: skip
KERNELS = {"choose_kernel", "explain_kernel"}
NO_EQUATION = KERNELS | BUILDS | NAMES | COLLECTS | DESIGNS


# ---------------------------------------------------------------- tables and names


def table_rows(text):
    """The cells of every table row of a Markdown text, header and rule left out."""
    rows = [
        [cell.replace(r"\|", "|").strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in unicodedata.normalize("NFC", text).splitlines()
        if line.startswith("|")
    ]
    rules = [k for k, row in enumerate(rows) if all(set(cell) <= set("-:") for cell in row)]
    return [row for k, row in enumerate(rows) if k not in rules and k + 1 not in rules]


def quoted(cell):
    return re.findall(r"`([^`]+)`", cell)


def lookup(name):
    """Fail unless a dotted name is a module, or a function, class or field inside one."""
    parts = name.split(".")
    for split in range(len(parts), 0, -1):  # modules first: packages export namesakes of them
        try:
            value = importlib.import_module(".".join(parts[:split]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[split:]:
            known = {field.name for field in fields(value)} if is_dataclass(value) else ()
            value = None if attribute in known else getattr(value, attribute)
        return
    raise AssertionError(f"{name} does not exist")


def symbols(formula):
    """Words, and letters with bar, digit or subscript: ``log``, ``λ_x``, ``f̄``, ``f0``."""
    formula = formula.replace("Σ_", "Σ ")
    return re.findall(r"[A-Za-z]{2,}|[^\W\d_¹²][\u0300-\u036f]*(?:_\w+|\d+)?", formula)


def test_every_code_name_of_the_notation_exists():
    names = [name for row in table_rows(NOTATION) for name in quoted(row[1]) if "." in name]
    assert len(names) > 30
    for name in names:
        lookup(name)


def test_every_equation_names_functions_and_tests_that_exist():
    tests = {}
    for path in sorted((ROOT / "tests").glob("test_*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        tests[f"tests/{path.name}"] = {
            node.name for node in tree.body if isinstance(node, ast.FunctionDef)
        }
    rows = table_rows(EQUATIONS)
    assert len(rows) > 50
    for equation, _, functions, test in rows:
        assert quoted(functions), equation
        assert quoted(test), equation
        for name in quoted(functions):
            if name != "jax.grad":
                lookup(name)
        for name in quoted(test):
            file, function = name.split("::")
            assert function in tests[file], name


def test_every_public_function_is_an_equation_of_the_list_or_a_known_procedure():
    public = {
        f"{package.__name__}.{name}"
        for package in (matching, estimation, counterfactuals)
        for name in package.__all__
        if inspect.isfunction(inspect.unwrap(getattr(package, name)))
    }
    public |= {
        f"matching.statistics.{name}"
        for name, value in vars(importlib.import_module("matching.statistics")).items()
        if inspect.isfunction(value) and value.__module__ == "matching.statistics"
    }
    public |= {
        f"matching.{kind.__name__}.{name}"
        for kind in (matching.Equilibrium, matching.FixedMargins)
        for name, value in vars(kind).items()
        if isinstance(value, property)
    }
    wanted = {
        name
        for name in public
        if not (last := name.rsplit(".", 1)[1]).startswith("_") and last not in NO_EQUATION
    }
    listed = {name for row in table_rows(EQUATIONS) for name in quoted(row[2])}
    assert wanted - listed == set()


def test_every_symbol_of_an_equation_is_in_the_notation():
    known = {
        symbol
        for row in table_rows(NOTATION)
        for cell in quoted(row[0])
        for symbol in symbols(cell)
    }
    known |= {"N", "J"}  # of shapes, which the page explains in words
    for equation, formulas, *_ in table_rows(EQUATIONS):
        used = {symbol for formula in quoted(formulas) for symbol in symbols(formula)}
        assert used - known == set(), equation


def test_the_sections_of_the_equations_that_the_code_refers_to_exist():
    headings = {line[3:].lower() for line in EQUATIONS.splitlines() if line.startswith("## ")}
    referred = {
        section
        for package in ("matching", "estimation", "counterfactuals", "shorematch")
        for path in (ROOT / package).rglob("*.py")
        for section in re.findall(r"docs/equations\.md, ([\w ]+)\)", path.read_text("utf-8"))
    }
    assert referred
    assert referred <= headings
