"""A Danish-like economy as files, for the tests of the application."""

from pathlib import Path

FILES = {
    "economy.toml": """\
[firms]
types = "firms.csv"
outside_option = 0.0
[tastes]
lambda_x = 18.78
lambda_y = 18.78
[technology]
affinity = [[75.55]]
intensity_unit = "cell"
[[origin]]
name = "denmark"
types = "workers.csv"
constant = 207.90
outside_option = 45.276
nu_x = -4.51
nu_y = -2.79
[[origin]]
name = "china"
types = "foreign.csv"
constant = 119.94
outside_option = 25.825
nu_x = -7.57
nu_y = -6.99
""",
    "firms.csv": "mass,productivity\n0.4,0.05\n0.3,0.2\n0.3155,0.45\n",
    "workers.csv": "mass,skill\n0.25,0.1\n0.25,0.4\n0.25,0.6\n0.25,0.9\n",
    "foreign.csv": "mass,skill\n0.4,0.2\n0.2325,0.7\n",
}


def write_danish(folder: Path, **replaced: str | bytes) -> Path:
    """Write the files, each ``old -> new`` text or whole content replaced; the economy's path.

    A keyword names a file without its suffix and gives its whole content.
    """
    for name, content in FILES.items():
        new = replaced.get(name.split(".")[0], content)
        (folder / name).write_bytes(new if isinstance(new, bytes) else new.encode())
    return folder / "economy.toml"


def edited(name: str, old: str, new: str) -> str:
    """One of the files with a passage replaced, which must be there."""
    assert old in FILES[name]
    return FILES[name].replace(old, new, 1)
