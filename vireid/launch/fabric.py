"""Sets up lightning-fabric: the devices, precision and processes of a run."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from datetime import timedelta
from pathlib import Path

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import ClusterEnvironment, LightningEnvironment, SLURMEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import distributed as dist

from vireid.console.warn import warn_once
from vireid.core.config.settings import TrainingSettings
from vireid.errors import Mismatch, Unavailable
from vireid.launch import precision
from vireid.launch.connections import watched_connections
from vireid.runtime.processes import gather_objects

NVIDIA = Path('/dev/nvidiactl')  # the driver of NVIDIA GPUs makes it

# that a process waits for others that are alive, to start or at the end of a step; torch waits 10 minutes on GPUs and
# 30 on CPUs
MAX_WAIT = timedelta(minutes=10)


def make_fabric(settings: TrainingSettings) -> Fabric:
    """Launches lightning-fabric with the devices and precision of a config, without its log messages.

    Raises:
        VireidError: if they are not available here, or the processes disagree on the precision.
    """
    chosen = precision.choose(settings).name
    environment = _find_environment(settings.devices, settings.nodes)
    logging.getLogger('lightning_fabric').setLevel(logging.ERROR)
    warnings.filterwarnings('ignore', module='lightning_fabric')
    try:
        fabric = Fabric(
            accelerator=settings.accelerator,
            devices=settings.devices,
            num_nodes=settings.nodes,
            strategy=settings.strategy,
            precision=chosen,  # type: ignore[arg-type]
            plugins=environment,
        )
    except Exception as error:  # Fabric raises many types
        unusable = why_no_gpu() if settings.accelerator in ('cuda', 'gpu') else ''
        raise Unavailable(
            f'training: accelerator {settings.accelerator!r}, devices {settings.devices!r}, '
            f'precision {chosen!r} are not available here: {unusable or error}',
            allowed="precision 'auto', '32-true' or 'bf16-mixed' anywhere, '16-mixed' on a GPU; --devices 1 or more",
            path='training',
        ) from error
    if isinstance(fabric.strategy, DDPStrategy):
        fabric.strategy._timeout = MAX_WAIT
    if settings.accelerator == 'auto' and NVIDIA.exists() and (unusable := why_no_gpu()):
        warn_once(f'this machine has an NVIDIA GPU that torch cannot use, so the CPU is used: {unusable}')
    if len(choices := _start(fabric, chosen, settings)) > 1:
        raise Mismatch(
            f"training.precision is 'auto', but the machines selected {' and '.join(sorted(choices))}",
            todo='set one of them: --precision 32-true',
            path='training.precision',
        )
    return fabric


def _start(fabric: Fabric, chosen: str, settings: TrainingSettings) -> set[str]:
    """Starts or joins the processes of a run; returns the precisions that they selected.

    Raises:
        Unavailable: if the processes cannot connect to each other.
    """
    try:
        with watched_connections():
            fabric.launch()
            return set(gather_objects(chosen))
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and 'gloo' not in str(error).lower():
            raise
        raise Unavailable(
            f'the processes of this run, {settings.devices} on each of {settings.nodes} machines, did not meet at '
            f'{os.environ.get("MASTER_ADDR")}:{os.environ.get("MASTER_PORT")}: {str(error).splitlines()[0]}',
            todo='check that the launcher started all of them, that this address can be reached from every machine, '
            'and that GLOO_SOCKET_IFNAME or NCCL_SOCKET_IFNAME names the network between the machines, if there are '
            'several',
        ) from error


def why_no_gpu() -> str:
    """Returns why torch cannot use an NVIDIA GPU, such as an old driver; empty if it can."""
    if torch.cuda.is_available():
        return ''
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        return ' '.join(str(error).partition('. Please')[0].split())
    return 'it finds none'


def _find_environment(devices: int | str, nodes: int) -> ClusterEnvironment | None:
    """Returns the environment that launched the processes of a run; None lets lightning-fabric detect it.

    lightning-fabric assumes that any process in a Slurm job was launched by `srun`, which is wrong for `sbatch`,
    `salloc` and JupyterHub.

    Raises:
        VireidError: if torchrun or srun launched a different number of processes than the config asks for.
    """
    alone = devices == nodes == 1
    tasks = int(os.environ.get('SLURM_STEP_NUM_TASKS', '1'))  # of srun; SLURM_NTASKS is that of the whole job
    if os.environ.keys() >= {'TORCHELASTIC_RUN_ID', 'LOCAL_WORLD_SIZE', 'WORLD_SIZE'}:
        started, total = int(os.environ['LOCAL_WORLD_SIZE']), int(os.environ['WORLD_SIZE'])
        _require_as_started('torchrun', started, total // started, devices, nodes)
        return None
    if tasks > 1 and not alone:
        machines = int(os.environ.get('SLURM_STEP_NUM_NODES', os.environ.get('SLURM_NNODES', '1')))
        _require_as_started('srun', tasks // machines, machines, devices, nodes)
        # lightning-fabric reads the job's variables, which may differ or be missing
        step = {'SLURM_NTASKS': tasks, 'SLURM_NTASKS_PER_NODE': tasks // machines, 'SLURM_NNODES': machines}
        os.environ |= {name: str(number) for name, number in step.items()}
        return SLURMEnvironment(auto_requeue=False)
    if tasks > 1:  # may be intended, for example one trial per task
        print(f'warning: srun launched {tasks} tasks; each is a separate run, since --devices is 1', file=sys.stderr)
    if nodes > 1 and 'MASTER_ADDR' not in os.environ:
        raise Unavailable(
            f'training.nodes is {nodes}, but the environment does not define the other machines',
            todo='launch each with torchrun, or all with srun, or remove training.nodes',
            path='training.nodes',
        )
    return LightningEnvironment() if 'SLURM_NTASKS' in os.environ else None


def _require_as_started(launcher: str, processes: int, machines: int, devices: int | str, nodes: int) -> None:
    if (devices, nodes) != (processes, machines):
        raise Mismatch(
            f'{launcher} launched {processes} processes on each of {machines} machines, but training.devices is '
            f'{devices!r} and training.nodes is {nodes}',
            todo=f'--cfg-options training.devices={processes}'
            + (f' training.nodes={machines}' if machines != nodes else ''),
        )
