"""What holds of the source: who imports whom, what libraries never do, float64 or nothing."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
IMPORTS = {
    "matching": set(),
    "estimation": {"matching"},
    "counterfactuals": {"matching"},
    "shorematch": {"matching", "estimation", "counterfactuals"},
}
OURS = set(IMPORTS) | {"tests", "benchmarks"}
LIBRARIES = ("matching", "estimation", "counterfactuals")
# Calls that speak, ask, end the process, touch files or set global flags, under any prefix.
FORBIDDEN = {
    "print", "input", "open", "exit", "_exit", "quit", "breakpoint", "read_text", "write_text",
    "read_bytes", "write_bytes", "read_csv", "to_csv", "savetxt", "loadtxt", "savefig",
}  # fmt: skip


def parsed(package):
    paths = sorted((ROOT / package).rglob("*.py"))
    assert paths, package
    return {str(path.relative_to(ROOT)): ast.parse(path.read_text("utf-8")) for path in paths}


def imported(tree):
    """Top-level names of everything a module imports, at whatever depth it does so."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module.split(".")[0]


def called(tree):
    """Last names of everything a module calls: ``exit`` for ``sys.exit(1)``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield getattr(node.func, "attr", getattr(node.func, "id", None))


@pytest.mark.parametrize("package", IMPORTS)
def test_imports_run_one_way_and_nothing_needs_what_is_unmaintained(package):
    for path, tree in parsed(package).items():
        names = set(imported(tree))
        assert names & OURS <= IMPORTS[package] | {package}, path
        assert "jaxopt" not in names, path


@pytest.mark.parametrize("package", LIBRARIES)
def test_libraries_print_nothing_read_nothing_and_never_exit(package):
    for path, tree in parsed(package).items():
        assert not set(called(tree)) & FORBIDDEN, path
        assert not {"sys", "os", "pathlib", "warnings"} & set(imported(tree)), path


def test_only_the_application_sets_flags_of_jax():
    setters = {
        path
        for package in IMPORTS
        for path, tree in parsed(package).items()
        if "jax_enable_x64" in {getattr(n, "value", None) for n in ast.walk(tree)
                                if isinstance(n, ast.Constant)}
        and "update" in called(tree)
    }  # fmt: skip
    assert setters == {"shorematch/runtime.py"}


def test_in_float32_everything_that_computes_refuses():
    code = """
import jax
import matching
from matching import PrecisionError

def economy():
    workers = matching.make_origin([0.0], [1.0], constant=2.0)
    firms = matching.make_firms([0.0], [1.0])
    return matching.make_economy([workers], firms, affinity=0.0, lambda_x=1.0, lambda_y=1.0)

with jax.enable_x64(True):
    sound = economy()
refused = []
for compute in (
    economy,
    lambda: matching.solve_equilibrium(sound),
    lambda: matching.solve_fixed_margins([[0.0]], [1.0], [1.0]),
):
    try:
        compute()
    except PrecisionError as error:
        refused.append("JAX_ENABLE_X64=1" in str(error))
print(refused)
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"JAX_ENABLE_X64": "0", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)},
    )
    assert done.stdout.strip() == str([True] * 3)
