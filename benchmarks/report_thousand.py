"""A counterfactual of 1,000 scenarios, and the seconds and megabytes of its report.

python -m benchmarks.report_thousand
"""

import tempfile
import time
from pathlib import Path

import pandas as pd

from shorematch import runtime

RESULTS = Path(__file__).parent / "results" / "report_thousand.csv"
SCENARIOS = 1_000
LIMIT = 20.0  # seconds


def main() -> None:
    """Solve, report, and write the result."""
    runtime.start()
    from shorematch.denmark import economy_path
    from shorematch.report.reporting import report_runs
    from shorematch.scenarios.counterfactual import counterfactual_file

    shocks = "".join(
        f'[[shock]]\nname = "c_F {k / 10:+}"\norigin.china.constant = {{ add = {k / 10} }}\n'
        for k in range(1, SCENARIOS)
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "shocks.toml").write_text(shocks, encoding="utf-8")
        start = time.perf_counter()
        code = counterfactual_file(economy_path(2006), folder / "shocks.toml", folder / "run")
        solved = time.perf_counter() - start
        start = time.perf_counter()
        report_runs([folder / "run"], folder / "report")
        seconds = time.perf_counter() - start
        megabytes = (folder / "report/report.html").stat().st_size / 1e6
    frame = pd.DataFrame([{
        "scenarios": SCENARIOS, "certified": code == 0, "counterfactual_seconds": round(solved, 1),
        "report_seconds": round(seconds, 2), "limit": LIMIT, "page_mb": round(megabytes, 2),
    }])  # fmt: skip
    print(frame.to_string(index=False))
    frame.to_csv(RESULTS, index=False)


if __name__ == "__main__":
    main()
