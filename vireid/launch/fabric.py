"""lightning-fabric: devices, precision and processes of a run."""

from __future__ import annotations

import logging
import os
import sys
import warnings

from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import ClusterEnvironment, LightningEnvironment, SLURMEnvironment

from vireid.core.config.settings import TrainingSettings
from vireid.core.distributed.processes import gather_objects
from vireid.core.errors import VireidError
from vireid.launch import precision


def make_fabric(settings: TrainingSettings) -> Fabric:
    """Starts lightning-fabric with the devices and precision of a config, quietly."""
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
    except Exception as error:  # Fabric has several of its own
        raise VireidError(
            f'training: accelerator {settings.accelerator!r}, devices {settings.devices!r}, '
            f'precision {chosen!r} do not work here: {error}',
            allowed="precision 'auto', '32-true' or 'bf16-mixed' anywhere, '16-mixed' on a GPU; --devices 1 or more",
            path='training',
        ) from error
    fabric.launch()
    if len(set(found := gather_objects(chosen))) > 1:
        raise VireidError(
            f"training.precision is 'auto' and the machines choose {', '.join(sorted(set(found)))}",
            todo='name one of them: --precision 32-true',
            path='training.precision',
        )
    return fabric


def _find_environment(devices: int | str, nodes: int) -> ClusterEnvironment | None:
    """Returns who started the processes of a run; None leaves it to lightning-fabric.

    That takes every process of a Slurm job for one that `srun` started, whatever `sbatch`, `salloc` or JupyterHub is.

    Raises:
        VireidError: if torchrun or srun started other processes than the config asks for.
    """
    alone = devices == nodes == 1
    tasks = int(os.environ.get('SLURM_STEP_NUM_TASKS', '1'))  # of srun; those of the whole job are SLURM_NTASKS
    if 'TORCHELASTIC_RUN_ID' in os.environ:
        started, total = int(os.environ['LOCAL_WORLD_SIZE']), int(os.environ['WORLD_SIZE'])
        _require_as_started('torchrun', started, total // started, devices, nodes)
        return None
    if tasks > 1 and not alone:
        machines = int(os.environ.get('SLURM_STEP_NUM_NODES', os.environ.get('SLURM_NNODES', '1')))
        _require_as_started('srun', tasks // machines, machines, devices, nodes)
        # lightning-fabric looks for the job's numbers, which may be others, or not there
        step = {'SLURM_NTASKS': tasks, 'SLURM_NTASKS_PER_NODE': tasks // machines, 'SLURM_NNODES': machines}
        os.environ |= {name: str(number) for name, number in step.items()}
        return SLURMEnvironment(auto_requeue=False)
    if tasks > 1:  # which may be meant: a trial each
        print(f'warning: srun started {tasks} tasks; each is a run of its own, since --devices is 1', file=sys.stderr)
    if nodes > 1 and 'MASTER_ADDR' not in os.environ:
        raise VireidError(
            f'training.nodes is {nodes} and nothing says where the other machines are',
            todo='start each with torchrun, or all with srun, or take training.nodes away',
            path='training.nodes',
        )
    return LightningEnvironment() if 'SLURM_NTASKS' in os.environ else None


def _require_as_started(launcher: str, processes: int, machines: int, devices: int | str, nodes: int) -> None:
    if (devices, nodes) != (processes, machines):
        raise VireidError(
            f'{launcher} started {processes} processes on each of {machines} machines; training.devices is '
            f'{devices!r} and training.nodes {nodes}',
            todo=f'--devices {processes}' + (f' --cfg-options training.nodes={machines}' if machines != nodes else ''),
        )
