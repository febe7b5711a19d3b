"""The Danish economies of 1996 and 2006: published numbers, recovered types, economy files."""

from pathlib import Path

FOLDER = Path(__file__).parent
YEARS = (1996, 2006)


def economy_path(year: int) -> Path:
    """The shipped economy file of a year."""
    return FOLDER / f"{year}.toml"


SHOCKS_PATH = FOLDER / "shocks.toml"
CALIBRATION_PATH = FOLDER / "calibrate_2006.toml"
