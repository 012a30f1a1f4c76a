"""Tests automatically selected bf16 on a batch before training, since some hardware and libraries compute it wrongly.

On a processor with AMX, torch's bf16 convolution of 4 x 2 maps differed from float32 by 2 to 6 or was NaN, with
different results each time. With correct bf16, embeddings of TFFN, DMCF and the baselines changed by 0.5 to 2.3%,
untrained or trained; with errors as large as the result in all convolutions of one size, by 42% or more.
"""

from __future__ import annotations

from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from vireid.console.warn import warn_once
from vireid.core.config.experiment import Experiment
from vireid.core.data.loader import BatchStream
from vireid.core.registry.contracts import located
from vireid.core.types import MODALITIES, Batch
from vireid.interfaces import Model
from vireid.launch.fabric import make_fabric
from vireid.launch.precision import FLOAT32, Precision
from vireid.runtime.processes import gather_objects
from vireid.runtime.randomness import preserved

MAX_ERROR = 0.1  # accepted difference, relative to the norm of the embeddings


def settle_precision(
    chosen: Precision, experiment: Experiment, model: nn.Module, batches: BatchStream, fabric: Fabric
) -> tuple[Precision, Experiment, Fabric]:
    """Returns the final precision, experiment and Fabric of a run: unchanged, or with float32 if bf16 is wrong.

    Only bf16 selected by `auto` is tested. The process with the largest difference decides for all.

    Args:
        chosen: the precision selected before the model was built.
        experiment: the experiment.
        model: the model with its initial weights; unchanged.
        batches: the training batches; they still start with the first one.
        fabric: devices and processes, with the selected precision.
    """
    if not chosen.tentative:
        return chosen, experiment, fabric
    share = max(gather_objects(bf16_error(model, fabric.to_device(batches.first()), fabric)))
    if share <= MAX_ERROR:
        return chosen, experiment, fabric
    how, limit = 'are not finite', ''
    if share < float('inf'):
        how, limit = f'differ by {share:.0%}', f' from those in float32, more than {MAX_ERROR:.0%}'
    settled = Precision(
        FLOAT32,
        f'auto: embeddings in bf16 {how}',
        f'embeddings of the first batch in bf16 {how}{limit}; the run is trained in {FLOAT32}',
    )
    if fabric.is_global_zero:
        warn_once(settled.warning)
    experiment = experiment.with_overrides({'training.precision': FLOAT32})
    return settled, experiment, make_fabric(experiment.training)


def bf16_error(model: nn.Module, batch: Batch, fabric: Fabric) -> float:
    """Returns the relative difference between a batch's embeddings in the precision of `fabric` and in float32.

    This is the norm of the difference divided by the norm of the float32 embeddings; inf if the embeddings are not
    finite, and 0 if those in float32 are not either, since the precision is not the cause. BatchNorm uses running
    statistics, since batch statistics amplify differences between images that an untrained network barely separates.

    Args:
        model: the model; unchanged.
        batch: a batch on its device.
        fabric: devices and processes.
    """
    training = model.training
    model.eval()
    try:
        with preserved(), torch.no_grad(), located(model):
            exact = _embed(model, batch).float()
            with fabric.autocast():
                reduced = _embed(model, batch).float()
    except Exception:  # the model may need to be fitted first; real errors are reported when it is scored
        return 0.0
    finally:
        model.train(training)
    size = exact.norm()
    if not size.isfinite() or size == 0:
        return 0.0
    share = float((reduced - exact).norm() / size)
    return share if share == share else float('inf')


def _embed(model: Any, batch: Batch) -> Tensor:
    """Embeds a batch, (B, D); both modalities together if the model supports it, as in training."""
    images = {m: batch.images[m] for m in MODALITIES if m in batch.images}
    if embed_joint := Model.embed_joint(model):
        return embed_joint(images)
    return torch.cat([model.embed(own, m) for m, own in images.items()])
