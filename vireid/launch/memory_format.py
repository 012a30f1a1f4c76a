"""Selects the memory format of a run: with `auto`, the one in which this network trains faster on this machine."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Mapping
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from vireid.core.config.experiment import Experiment
from vireid.core.data.loader import BatchStream
from vireid.core.registry.contracts import located
from vireid.core.types import Batch
from vireid.runtime.processes import gather_objects
from vireid.runtime.randomness import preserved

AUTO, CONTIGUOUS, CHANNELS_LAST = 'auto', 'contiguous', 'channels_last'
FORMATS = {CONTIGUOUS: torch.contiguous_format, CHANNELS_LAST: torch.channels_last}
MIN_STEPS = 200  # steps from which measuring is worthwhile: it takes as long as about six
ROUNDS = 2  # after one to warm up
GAIN = 0.95  # share of the time that channels-last must save to be used


def settle_memory_format(
    experiment: Experiment,
    model: nn.Module,
    batches: BatchStream,
    fabric: Fabric,
    steps: int,
    resumed: Mapping[str, Any] | None,
) -> tuple[Experiment, str]:
    """Converts a model to the memory format of its run.

    `auto` is resolved once, since the format changes rounding: a resumed run keeps that of its checkpoint.

    Args:
        experiment: the experiment.
        model: the model on its device; its convolutions' weights are converted in place.
        batches: the training batches; they still start with the first one.
        fabric: devices and processes, which all use the same format.
        steps: length of the run; a short one is trained in `contiguous`.
        resumed: the config of the checkpoint to resume from, if any.

    Returns:
        The experiment with the format in use, and the reason.
    """
    name: str = experiment.training.memory_format
    reason = 'set by the config'
    if resumed is not None:
        kept = resumed.get('training', {}).get('memory_format', CONTIGUOUS)
        if name in (AUTO, kept):
            name, reason = kept, 'kept from the checkpoint'
    if name == AUTO and steps < MIN_STEPS:
        name, reason = CONTIGUOUS, f'auto: not tried in runs of fewer than {MIN_STEPS} steps'
    elif name == AUTO:
        share = statistics.fmean(gather_objects(channels_last_share(model, fabric.to_device(batches.first()), fabric)))
        name = CHANNELS_LAST if share <= GAIN else CONTIGUOUS
        reason = f'auto: measured, {CHANNELS_LAST} took {share:.0%} of the time of {CONTIGUOUS}'
    model.to(memory_format=FORMATS[name])  # type: ignore[call-overload]
    return experiment.with_overrides({'training.memory_format': name}), reason


def channels_last_share(model: nn.Module, batch: Batch, fabric: Fabric) -> float:
    """Returns the time of a channels-last training pass as a share of a contiguous one, forward and backward.

    Args:
        model: the model; unchanged.
        batch: a batch on its device.
        fabric: devices and processes.

    Returns:
        The share; 1 if the model cannot be tried, such as one that needs to be fitted first.
    """
    try:
        tried = {name: copy.deepcopy(model).to(memory_format=form) for name, form in FORMATS.items()}
        times: dict[str, list[float]] = {name: [] for name in FORMATS}
        with preserved():
            for _ in range(1 + ROUNDS):
                for name, own in tried.items():
                    times[name].append(_time(own, batch, fabric))
    except Exception:  # real errors are reported by the first step
        return 1.0
    return min(times[CHANNELS_LAST][1:]) / min(times[CONTIGUOUS][1:])


def _time(model: nn.Module, batch: Batch, fabric: Fabric) -> float:
    """Returns the seconds of one training pass."""
    model.train()
    wait_for(fabric.device)
    start = time.perf_counter()
    with located(model), fabric.autocast():
        losses = model(copy.copy(batch))
        total = torch.stack([loss.float() for loss in losses.values()]).sum()
    total.backward()
    wait_for(fabric.device)
    for parameter in model.parameters():
        parameter.grad = None
    return time.perf_counter() - start


def wait_for(device: torch.device) -> None:
    """Waits until a device has finished its work, since calls return before the work is done."""
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
    elif device.type == 'mps':
        torch.mps.synchronize()
