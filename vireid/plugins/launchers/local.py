"""The runs of a study on this machine, several at once."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from typing import Annotated

from annotated_types import Ge

from vireid.core.data.loader import usable_cores
from vireid.errors import Unavailable, WrongValue
from vireid.launcher_types import JobCommand, JobState


class Local:
    """Runs commands on this machine: one per GPU, or one at a time without GPUs, unless `jobs` is set.

    The commands end with this process, however it ends: each watches its standard input, a pipe from this process.

    Args:
        jobs: number of commands at once; several may share a GPU.
        threads: CPU threads of each; None divides the cores.

    Raises:
        WrongValue: if there are fewer cores than jobs.
    """

    def __init__(self, jobs: int | None = None, threads: Annotated[int, Ge(1)] | None = None) -> None:
        self._cores, self._gpus, self._given = usable_cores(), _gpus(), jobs
        if jobs is not None and jobs > self._cores:
            raise WrongValue(
                f'{jobs} jobs at once, but this machine has {self._cores} CPU cores',
                allowed=f'1 to {self._cores}',
                todo=f'--jobs {max(1, len(self._gpus)) if self._gpus else self._cores}',
            )
        self._threads = threads
        self._commands: Sequence[JobCommand] = ()
        self._running: dict[int, tuple[subprocess.Popen[bytes], tuple[str, ...]]] = {}
        self._ended: dict[int, int] = {}  # exit statuses
        self._stopped = False

    def submit(self, commands: Sequence[JobCommand]) -> None:
        """Starts the first commands.

        Raises:
            Unavailable: if a command needs more GPUs than there are.
        """
        self._commands, self._ended = commands, {}
        self._devices = max((command.devices for command in commands), default=1)
        if self._gpus and self._devices > len(self._gpus):
            raise Unavailable(
                f'a run needs {self._devices} GPUs, but this machine has {len(self._gpus)}', todo='lower --devices'
            )
        places = len(self._gpus) // self._devices
        self._jobs = self._given or max(1, places)
        per_place = -(-self._jobs // places) if places else 0  # several jobs may share GPUs
        groups = [tuple(self._gpus[i * self._devices : (i + 1) * self._devices]) for i in range(places)]
        self._free: list[tuple[str, ...]] = (groups * per_place)[: self._jobs] if places else [()] * self._jobs
        self._start()

    def states(self) -> list[JobState]:
        """Returns the state of each command, and starts others where commands have ended."""
        for number, (process, place) in list(self._running.items()):
            if (status := process.poll()) is not None:
                del self._running[number]
                self._ended[number] = status
                self._free.append(place)
        self._start()
        return [self._state(number) for number in range(len(self._commands))]

    def stop(self) -> bool:
        """Sends SIGTERM to the running commands, and starts no others."""
        self._stopped = True
        for process, _ in self._running.values():
            process.send_signal(signal.SIGTERM)
        return True

    def _start(self) -> None:
        for number, command in enumerate(self._commands):
            if self._stopped or not self._free:
                return
            if number in self._running or number in self._ended:
                continue
            place = self._free.pop(0)
            cores = str(self._threads or max(1, self._cores // self._jobs))
            shared = {'OMP_NUM_THREADS': cores, 'VIREID_CORES': cores, 'VIREID_ENDS_WITH_STDIN': '1'}
            environment = {**os.environ, **shared}
            if place:
                environment['CUDA_VISIBLE_DEVICES'] = ','.join(place)
            with command.output.open('ab') as output:
                process = subprocess.Popen(  # noqa: S603, our own command
                    command.words,
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=environment,
                    start_new_session=True,  # Ctrl-C reaches this process only, which then stops the others
                )
            self._running[number] = process, place

    def _state(self, number: int) -> JobState:
        if number in self._ended:
            return JobState('ended', exit=self._ended[number])
        if number not in self._running:
            return JobState('waiting')
        process, place = self._running[number]
        return JobState('running', f'GPU {",".join(place)}' if place else f'process {process.pid}')


def _gpus() -> list[str]:
    """Returns the names of this process's GPUs, as in CUDA_VISIBLE_DEVICES."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    named = [name for name in os.environ.get('CUDA_VISIBLE_DEVICES', '').split(',') if name]
    return named[:count] if named else [str(number) for number in range(count)]
