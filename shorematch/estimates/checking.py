"""``shorematch check``: everything but the estimation, and what that would take."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from estimation import estimate_three_steps, standardise
from estimation.cluster_bootstrap import DRAWS_AT_ONCE
from estimation.moment_matching import distinct_rows, size_defects
from estimation.variation import collinear
from shorematch.console import console
from shorematch.estimates.affinity_estimation import estimate_matrix
from shorematch.estimates.match_files import Sample, read_sample, samples_of
from shorematch.estimates.run_file import RunFile, read_run
from shorematch.estimates.typed_estimation import estimate_types
from shorematch.estimates.typed_samples import TypedSample, cell_columns, typed_samples
from shorematch.estimates.wage_estimation import estimate_wages, read_basis

_PROBED = 400  # rows of a probe
# arrays of doubles that an estimation on rows holds at once, as measured at 2,500 rows
_ARRAYS = 8
_DRAWS_PROBED = 10


def check_file(run_path: Path) -> int:
    """Print sample flow, what is thin or collinear, and a forecast; 0 where sound, else 1.

    Raises :class:`~matching.InvalidInput` with every defect of the run file and its data.
    """
    say = console().print
    file = read_run(run_path)
    sample = read_sample(run_path, file.data, cell_columns(file))
    say("Rows: " + ", ".join(f"{count} {what}" for what, count in sample.flow.items()))
    for name, count in sample.empty.items():
        say(f"Column {name}: {count} empty cells")
    typed: list[TypedSample] = []
    if file.home is not None:
        typed, _ = typed_samples(run_path, file, sample)
    parts = samples_of(sample)
    findings = sample.doubts(file.foreign.name if file.foreign else None)
    findings += [finding for part in parts for finding in _findings(file, *part)]
    findings += [finding for part in typed for finding in _thin(file, part)]
    for group, year, rows in parts:
        label = ", ".join(text for text in (group, year) if text) or "all"
        say(f"{label}: {len(rows.matched)} matches")
    for finding in findings:
        say(f"- {finding}", style="bold red")
    if not findings:
        seconds, memory = _forecast(run_path, file, parts, typed)
        say(f"Forecast: {seconds:.0f} s and {memory:.1f} GB, from a short probe")
    say(f"{run_path.name}: {len(findings) or 'no'} findings")
    return 1 if findings else 0


# ---------------------------------------------------------------- findings


def _findings(file: RunFile, group: str, year: str, rows: Sample) -> Iterator[str]:
    """Columns in which nothing varies, or that vary together; samples that are too large."""
    where = "".join(f"{text}: " for text in (group, year) if text)
    for names, values in (
        (file.data.worker_columns, rows.skills),
        (file.data.firm_columns, rows.characteristics),
    ):
        found = standardise(values, how="ddof0")
        constant = found.unit == 0
        for name in np.array(names)[constant]:
            yield f"{where}column {name} is constant, so nothing is sorted on it; leave it out"
        if not constant.any():
            for involved in collinear(found.values / np.sqrt(len(values)), names):
                yield f"{where}columns {involved} are collinear; leave one of them out"
    if file.home is None:
        yield from (f"{where}{defect}" for defect in size_defects(*_distinct(rows)))


def _distinct(rows: Sample) -> tuple[int, int]:
    """How many of the matched workers, and of their firms, differ from each other."""
    workers, firms = (len(distinct_rows(v)[0]) for v in (rows.skills, rows.characteristics))
    return workers, firms


def _thin(file: RunFile, sample: TypedSample) -> Iterator[str]:
    """Types without matches or with few, and aggregates that no economy meets."""
    where = "".join(f"{text}: " for text in (sample.group, sample.year) if text)
    counts, least = sample.counts, file.data.smallest_cell
    for side, rows in (("worker", counts.sum(1)), ("firm", counts.sum(0))):
        if len(rows) == 1:
            yield f"{where}there is one {side} type only, so nothing is sorted; make more types"
        if (rows == 0).any():
            yield f"{where}{(rows == 0).sum()} {side} types have no match; make fewer types"
        thin = (rows > 0) & (rows < least)
        if thin.any():
            yield (
                f"{where}{thin.sum()} {side} types have fewer than {least} matches; the economy "
                "would not be written, make fewer types"
            )
    yield from (f"{where}{defect}" for defect in sample.market.defects)


# ---------------------------------------------------------------- the forecast


def _forecast(
    run_path: Path,
    file: RunFile,
    parts: list[tuple[str, str, Sample]],
    typed: list[TypedSample],
) -> tuple[float, float]:
    """Seconds and GB of the estimation, compiling included."""
    probe, times, memory = (
        _probe_on_types(run_path, file, typed) if typed else _probe_of_rows(run_path, file, parts)
    )
    starts, draws = file.inference.starts, file.inference.draws
    few = min(draws, DRAWS_AT_ONCE if file.estimator == "three steps" else _DRAWS_PROBED)
    # the second time nothing is compiled any more
    first, with_draws = _seconds(lambda: probe(few)), _seconds(lambda: probe(few))
    search = _seconds(lambda: probe(0)) if few else with_draws
    drawing = max(with_draws - search, 0.0) * draws / max(few, 1)
    return max(first - with_draws, 0.0) + (search * starts + drawing) * times, memory


def _probe_of_rows(
    run_path: Path, file: RunFile, parts: list[tuple[str, str, Sample]]
) -> tuple[Callable[[int], Any], float, float]:
    """An estimate from some rows with so many draws, how often the time of it, and memory."""
    rows = max((rows for _, _, rows in parts), key=lambda rows: len(rows.matched))
    some = rows.sampled(_PROBED, file.inference.seed)

    def probe(draws: int) -> Any:
        once = _once(file, draws)
        if once.wages is None:
            return estimate_matrix(once, some)
        keys = once.wages.model_copy(update={"profile": False})
        basis = read_basis(run_path.name, once.data, keys)
        return estimate_wages(once.data, keys, once.inference, basis, some)

    cells = [float(np.prod(_distinct(rows))) for _, _, rows in parts]
    # every step works on arrays of distinct workers by distinct firms
    times = sum(cells) / float(np.prod(_distinct(some)))
    return probe, times, 0.4 + _ARRAYS * 8e-9 * max(cells)


def _probe_on_types(
    run_path: Path, file: RunFile, typed: list[TypedSample]
) -> tuple[Callable[[int], Any], float, float]:
    """Time and memory on types depend on their number; rows only have to be read and summed."""
    first = typed[0]
    n, j = first.counts.shape
    worker, firm = (index.ravel() for index in np.indices((n, j)))
    # of each cell as many matches as random matching has, and wages of no pattern
    share = np.outer(first.counts.sum(1), first.counts.sum(0)).ravel() + 1.0
    wages = 100.0 + np.random.default_rng(0).normal(size=n * j) + worker + firm

    def probe(draws: int) -> Any:
        if file.estimator == "minimum distance":
            return estimate_types(run_path, _once(file, draws), first)
        return estimate_three_steps(
            first.workers.values, first.firms.values, worker, firm, wages, share,
            market=first.market, draws=draws, studentised=file.inference.studentised,
        )  # fmt: skip

    matches = sum(len(part.rows.matched) for part in typed)
    influence = 8e-9 * (n * j + first.workers.values.size + 20) * matches / len(typed)
    return probe, float(len(typed)), 0.6 + influence


def _once(file: RunFile, draws: int) -> RunFile:
    """The same with one start and so many draws."""
    changed = {"starts": 1, "draws": draws}
    return file.model_copy(update={"inference": file.inference.model_copy(update=changed)})


def _seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
