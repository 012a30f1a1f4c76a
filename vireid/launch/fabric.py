"""lightning-fabric: devices, precision and processes of a run."""

from __future__ import annotations

import logging
import os
import sys
import warnings

from lightning_fabric import Fabric

from vireid.core.config.settings import TrainingSettings
from vireid.core.distributed.processes import gather_objects
from vireid.core.errors import VireidError
from vireid.launch import precision


def make_fabric(settings: TrainingSettings) -> Fabric:
    """Starts lightning-fabric with the devices and precision of a config, quietly."""
    chosen = precision.resolve(vars(settings)).name
    _require_as_launched(settings.devices, settings.nodes)
    logging.getLogger('lightning_fabric').setLevel(logging.ERROR)
    warnings.filterwarnings('ignore', module='lightning_fabric')
    try:
        fabric = Fabric(
            accelerator=settings.accelerator,
            devices=settings.devices,
            num_nodes=settings.nodes,
            strategy=settings.strategy,
            precision=chosen,  # type: ignore[arg-type]
        )
    except Exception as error:  # Fabric has several of its own
        raise VireidError(
            f'training: accelerator {settings.accelerator!r}, devices {settings.devices!r}, '
            f'precision {chosen!r} do not work here: {error}',
            allowed="precision 'auto', '32-true' or 'bf16-mixed' anywhere, '16-mixed' on a GPU; --devices 1 or more",
        ) from error
    fabric.launch()
    if len(set(found := gather_objects(chosen))) > 1:
        raise VireidError(
            f"training.precision is 'auto' and the machines choose {', '.join(sorted(set(found)))}",
            todo='name one of them: --precision 32-true',
        )
    return fabric


def _require_as_launched(devices: int | str, nodes: int) -> None:
    """Raises if torchrun started other processes than the config asks for; warns if srun did."""
    tasks = int(os.environ.get('SLURM_STEP_NUM_TASKS', '1'))
    if tasks > 1 and devices == nodes == 1:  # which may be meant: a trial each
        print(f'warning: srun started {tasks} tasks; each is a run of its own, since --devices is 1', file=sys.stderr)
    if nodes > 1 and not {'TORCHELASTIC_RUN_ID', 'SLURM_NTASKS', 'MASTER_ADDR'} & os.environ.keys():
        raise VireidError(
            f'training.nodes is {nodes} and nothing says where the other machines are',
            todo='start each with torchrun, or all with srun, or take training.nodes away',
        )
    if 'TORCHELASTIC_RUN_ID' not in os.environ:
        return
    started, total = int(os.environ['LOCAL_WORLD_SIZE']), int(os.environ['WORLD_SIZE'])
    machines = total // started
    if (devices, nodes) != (started, machines):
        raise VireidError(
            f'torchrun started {started} processes on each of {machines} machines; training.devices is {devices!r} '
            f'and training.nodes {nodes}',
            todo=f'--devices {started}' + (f' --cfg-options training.nodes={machines}' if machines != nodes else ''),
        )
