"""The runs of a study as a Slurm job array, through submitit."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Gt

from vireid.boundary.reading import parse_json, read_text, reads
from vireid.boundary.writing import write_whole
from vireid.errors import MissingPackage, Unavailable
from vireid.launcher_types import JobCommand, JobState

ACTIVE = {'PENDING', 'RUNNING', 'REQUEUED', 'CONFIGURING', 'COMPLETING', 'SUSPENDED', 'RESIZING', 'READY'}
FILE, BYTES = 'slurm_jobs.json', 2**20
NUMBER = re.compile('[0-9]+(_[0-9]+)?')


class Slurm:
    """Submits commands as one job array. Needs the extra `slurm` (submitit).

    A job that is preempted, or reaches its time limit, saves a checkpoint, returns to the queue, and continues
    from there. Jobs continue if this process ends; the same command finds them again.

    Args:
        jobs: maximum number of jobs that run at once; None sets no limit.
        folder: folder of the study, which every node can read and write.
        partition: partition to submit to; None lets Slurm choose.
        hours: time limit of a job.
        gpus: GPUs per job; None: as many as a run has devices.
        cpus: CPU cores per job.
        memory: memory per job in GB; None lets Slurm choose.
        retries: how often a job that reached its time limit may continue.
        options: other parameters of sbatch, such as {'account': 'lab'}.
        cluster: `local` runs the jobs on this machine, for trying out.

    Raises:
        VireidError: if submitit is not installed, or this machine has no Slurm.
    """

    def __init__(
        self,
        folder: Path,
        jobs: int | None = None,
        partition: str | None = None,
        hours: Annotated[float, Gt(0)] = 24.0,
        gpus: int | None = None,
        cpus: Annotated[int, Gt(0)] = 8,
        memory: Annotated[float, Gt(0)] | None = None,
        retries: int = 100,
        options: Mapping[str, Any] | None = None,
        cluster: Literal['slurm', 'local'] = 'slurm',
    ) -> None:
        if importlib.util.find_spec('submitit') is None:
            raise MissingPackage('the launcher slurm needs submitit', todo='pip install "vireid[slurm]"')
        import submitit

        self._folder, self._local = Path(folder), cluster == 'local'
        self._logs = self._folder / 'slurm'
        try:
            self._executor = submitit.AutoExecutor(
                self._logs, cluster=cluster, **{f'{cluster}_max_num_timeout': retries}
            )
        except RuntimeError as error:
            raise Unavailable(
                f'the launcher slurm: {error}', todo='run this on a login node of the cluster, or use --jobs N'
            ) from error
        self._parameters: dict[str, Any] = {
            'timeout_min': max(1, round(60 * hours)),
            'cpus_per_task': cpus,
            'mem_gb': memory,
            'slurm_partition': partition,
            'slurm_array_parallelism': jobs,
            'slurm_additional_parameters': dict(options or {}) or None,
        }
        self._gpus = gpus
        self._jobs: list[Any] = []
        self._commands: Sequence[JobCommand] = ()
        self._ended: dict[str, JobState] = {}

    def submit(self, commands: Sequence[JobCommand]) -> None:
        """Submits the commands whose job is not in the queue already.

        Raises:
            Unavailable: if Slurm refuses them.
        """
        self._commands, known = commands, {} if self._local else self._active()
        fresh = [command for command in commands if str(command.output) not in known]
        gpus = self._gpus if self._gpus is not None else max((command.devices for command in commands), default=1)
        parameters = {
            key: value for key, value in {**self._parameters, 'gpus_per_node': gpus}.items() if value is not None
        }
        self._executor.update_parameters(name='vireid', **parameters)
        try:
            calls = [c.words for c in fresh], [c.output for c in fresh]
            submitted = self._executor.map_array(Attempt(), *calls) if fresh else []
        except Exception as error:  # submitit raises many types
            text = ' '.join(str(error).split())
            raise Unavailable(
                f'Slurm refused the jobs: {text}',
                todo='name a partition that you may use (`sinfo` lists them): --launcher slurm partition=NAME; other '
                "parameters of sbatch: options={'account': 'NAME'}",
            ) from error
        new = {str(command.output): job for command, job in zip(fresh, submitted, strict=True)}
        self._jobs = [(known | new)[str(command.output)] for command in commands]
        numbers = {str(c.output): str(job.job_id) for c, job in zip(commands, self._jobs, strict=True)}
        write_whole(self._folder / FILE, json.dumps(numbers, indent=1))

    def states(self) -> list[JobState]:
        """Returns the state of each job."""
        return [self._state(job, command) for job, command in zip(self._jobs, self._commands, strict=True)]

    def stop(self) -> bool:
        """Leaves the jobs in the queue; on the cluster `local`, which has none, they are stopped."""
        if self._local:
            for job in self._jobs:
                job.cancel()
        return self._local

    def _state(self, job: Any, command: JobCommand) -> JobState:
        place = f'job {job.job_id}'
        if place in self._ended:  # submitit waits 15 s for the result of a job that left none, each time it is asked
            return self._ended[place]
        if not job.done():
            return JobState('waiting' if job.state.startswith('PENDING') else 'running', place)
        try:
            status = job.result()
        except Exception as error:  # submitit raises many types; the run never started, or was killed with its job
            status = 1
            with command.output.open('a', encoding='utf-8') as output:
                output.write(f'error: {place} failed: {" ".join(str(error).split())}\n')
        self._ended[place] = JobState('ended', place, exit=status)
        return self._ended[place]

    def _active(self) -> dict[str, Any]:
        """Returns the jobs of an earlier call that have not ended, by output file."""
        import submitit

        path = self._folder / FILE
        numbers = read_jobs(path) if path.is_file() else {}
        jobs: dict[str, Any] = {output: submitit.SlurmJob(self._logs, number) for output, number in numbers.items()}
        return {output: job for output, job in jobs.items() if job.state.split()[0].strip('+') in ACTIVE}


class Attempt:
    """Runs a command in a job. Before a job ends early, submitit calls `checkpoint`, and queues what it returns."""

    def __call__(self, words: Sequence[str], output: Path) -> int:
        """Runs the command; returns its exit status."""
        with Path(output).open('ab') as log:
            process = self._process = subprocess.Popen(  # noqa: S603, our own command
                words,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, 'VIREID_ENDS_WITH_STDIN': '1'},
                start_new_session=True,  # signals arrive here first
            )
        signal.signal(signal.SIGTERM, lambda *_: process.send_signal(signal.SIGTERM))  # scancel
        # a signal handler can wait for a thread, but not for a process that this thread waits for
        self._waiting = threading.Thread(target=process.wait)
        self._waiting.start()
        self._waiting.join()
        return process.returncode

    def checkpoint(self, words: Sequence[str], output: Path) -> Any:
        """Ends the command, which saves; returns the same call."""
        from submitit.helpers import DelayedSubmission

        self._process.send_signal(signal.SIGTERM)
        self._waiting.join()
        return DelayedSubmission(Attempt(), words, output)


@reads('the list of Slurm jobs', FILE, todo='remove it; jobs in the queue are then submitted again')
def read_jobs(path: Path) -> dict[str, str]:
    """Returns the number of each submitted job, by the file of its output.

    Raises:
        DamagedFile: if the file was not written by this launcher.
    """
    numbers = parse_json(read_text(path, BYTES))
    fits = isinstance(numbers, dict) and all(
        isinstance(v, str) and re.fullmatch('[0-9]+(_[0-9]+)?', v) for v in numbers.values()
    )
    if not fits:
        raise ValueError('it contains something other than numbers of jobs')
    return numbers
