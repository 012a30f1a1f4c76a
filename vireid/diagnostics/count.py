"""Counts the parameters and operations of a model from shapes alone."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.flop_counter import FlopCounterMode

from vireid.core.config.experiment import Experiment
from vireid.core.types import VISIBLE
from vireid.launch.random_weights import SkipRandomWeights

HEADER = ('config', 'input', 'identities', 'parameters', 'used to embed', 'GFLOPs per image', 'embedding')


def count(experiment: Experiment, identities: int) -> tuple[str, ...]:
    """Returns a model's row of `HEADER` without the first column.

    Nothing is computed and no weights are read. Counts only convolutions and matrix products, with a multiplication
    and an addition as two operations.
    """
    height, width = experiment.images.size
    with torch.device('meta'), SkipRandomWeights():
        model: Any = experiment.build_model(identities, pretrained=False).eval()
        image = torch.empty(1, 3, height, width)
    used: set[int] = set()
    hooks = [
        module.register_forward_pre_hook(lambda m, _: used.update(id(p) for p in m.parameters(recurse=False)))
        for module in model.modules()
    ]
    norms: list[Any] = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    for norm in norms:
        norm.forward = lambda maps: maps  # changes no shape and counts nothing, but would take half the time
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        embedding = model.embed(image, VISIBLE)
    for hook in hooks:
        hook.remove()
    sizes = {id(p): p.numel() for p in model.parameters()}
    return (
        f'{height} x {width}',
        str(identities),
        f'{sum(sizes.values()):,}',
        f'{sum(size for key, size in sizes.items() if key in used):,}',
        f'{counter.get_total_flops() / 1e9:.2f}',
        str(embedding.shape[1]),
    )
