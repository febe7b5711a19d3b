"""Sweeps on SLURM: one array job whose tasks are the shards, each resumed until it is done."""

import shlex
import sys
from pathlib import Path

from shorematch.console import console
from shorematch.files.defects import Defect, InputError
from shorematch.files.run_folder import written_whole
from shorematch.sweeps.plan import read_plan
from shorematch.sweeps.store import LOGS, claim

# The signal comes two minutes before the time limit and goes to the script alone, which passes it
# on; the sweep stores the block at hand and ends with 75, and SLURM queues the task again.
_SCRIPT = """\
#!/bin/bash
#SBATCH --job-name=sweep
#SBATCH --array=1-{tasks}
#SBATCH --output="{logs}/%A_%a.log"
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR1@120
# Change these to what `shorematch sweep ... --plan` forecasts and your cluster has:
#SBATCH --time=04:00:00
#SBATCH --cpus-per-task=1
#SBATCH --mem=4G

cd {directory} || exit 1
{python} -m shorematch sweep {file} --out {out} --shard "$SLURM_ARRAY_TASK_ID/{tasks}"{yes} &
sweep=$!
trap 'kill -USR1 "$sweep"' USR1 TERM
code=
while [ -z "$code" ]; do
    wait "$sweep"
    code=$?
    kill -0 "$sweep" 2>/dev/null && code=  # the wait was ended by the signal, not the sweep
done
if [ "$code" = 75 ]; then
    scontrol requeue "${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID"
fi
exit "$code"
"""


def write_sbatch(file: Path, out: Path, tasks: int, *, yes: bool = False, new: bool = False) -> int:
    """Write ``sweep.sbatch`` into the results folder: a SLURM array of at most ``tasks`` tasks.

    Every task works on the shard of its number, many points each. Raises
    :class:`~matching.InvalidInput` where the sweep file or the folder is refused.
    """
    plan = read_plan(file, yes=yes)
    if "\n" in f"{out.absolute()}" or '"' in f"{out.absolute()}":
        remedy = "Choose an --out without quotation marks and line breaks"
        raise InputError([Defect(str(out), "is a path that SLURM cannot read", remedy)])
    claim(out, plan.configuration, create=True, new=new)
    (out / LOGS).mkdir(exist_ok=True)
    tasks = min(tasks, len(plan.blocks))
    script = out / "sweep.sbatch"
    text = _SCRIPT.format(
        tasks=tasks,
        logs=str(out.absolute() / LOGS).replace("%", "%%"),
        directory=shlex.quote(str(Path.cwd())),
        python=shlex.quote(sys.executable),
        file=shlex.quote(str(file.absolute())),
        out=shlex.quote(str(out.absolute())),
        yes=" --yes" if yes else "",
    )
    with written_whole(script) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
    console().print(
        f"{tasks} tasks for {len(plan.blocks)} blocks: submit them with\n"
        f"  sbatch {shlex.quote(str(script))}\nand, when they are done,\n"
        f"  shorematch sweep {shlex.quote(str(file))} --out {shlex.quote(str(out))} --collect"
    )
    return 0
