"""Selects the memory format of a run: by a rule, not by timing, so that the same command gives the same numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from vireid.core.config.experiment import Experiment

AUTO, CONTIGUOUS, CHANNELS_LAST = 'auto', 'contiguous', 'channels_last'
FORMATS = {CONTIGUOUS: torch.contiguous_format, CHANNELS_LAST: torch.channels_last}


def settle_memory_format(
    experiment: Experiment, model: nn.Module, device: torch.device, resumed: Mapping[str, Any] | None
) -> Experiment:
    """Converts a model to the memory format of its run.

    The format changes rounding, so a resumed run keeps that of its checkpoint.

    Args:
        experiment: the experiment, with its precision settled.
        model: the model; its convolutions' weights are converted in place.
        device: the device of the model.
        resumed: the config of the checkpoint to resume from, if any.

    Returns:
        The experiment with the format in use.
    """
    name: str = experiment.training.memory_format
    if name == AUTO and resumed is not None:
        name = resumed.get('training', {}).get('memory_format', CONTIGUOUS)
    elif name == AUTO:
        name = auto_format(device, experiment.training.precision)
    model.to(memory_format=FORMATS[name])  # type: ignore[call-overload]
    return experiment.with_overrides({'training.memory_format': name})


def auto_format(device: torch.device, precision: str) -> str:
    """Returns the format that `auto` selects.

    On a CPU this is `channels_last`, which took 0.87 to 0.98 of the time of `contiguous` for every network measured
    (docs/performance.md). On a GPU it is `channels_last` in half precision, because tensor cores use that format.
    Otherwise it is `contiguous`.

    Args:
        device: the device.
        precision: the precision in lightning-fabric's terms, such as `bf16-mixed`.
    """
    half = device.type == 'cuda' and precision.endswith('mixed')
    return CHANNELS_LAST if half or device.type == 'cpu' else CONTIGUOUS
