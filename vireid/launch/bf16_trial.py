"""bf16 is tried on a batch before a run that chose it by itself: some processors and libraries compute it wrongly.

torch's bf16 convolution of maps of 4 x 2 differed from float32's by 2 to 6 on a processor with AMX, or was NaN,
differently each time. Where bf16 is right, embeddings of TFFN, DMCF and the baselines moved by 0.5 to 2.3%, untrained
or trained; where every convolution of one size is wrong by as much as its result, by 42% and more.
"""

from __future__ import annotations

from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from vireid.core.config.experiment import Experiment
from vireid.core.data.loader import BatchStream
from vireid.core.data.randomness import preserved
from vireid.core.distributed.processes import gather_objects
from vireid.core.registry.contracts import located
from vireid.core.types import MODALITIES, Batch
from vireid.core.warn import warn_once
from vireid.interfaces import Model
from vireid.launch.fabric import make_fabric
from vireid.launch.precision import FLOAT32, Precision

LARGEST = 0.1  # of the embeddings' norm


def settle_precision(
    chosen: Precision, experiment: Experiment, model: nn.Module, batches: BatchStream, fabric: Fabric
) -> tuple[Precision, Experiment, Fabric]:
    """Returns the precision that a run is trained in, its experiment and its processes: as given, or in float32.

    Only what `auto` chose is tried. All processes of a run go by the one whose bf16 differs most.

    Args:
        chosen: what was chosen before there was a model.
        experiment: the run's.
        model: with the weights that training begins with; it is left as it is.
        batches: of the training images; they still begin with the first one.
        fabric: devices and processes, with that precision.
    """
    if not chosen.tentative:
        return chosen, experiment, fabric
    share = max(gather_objects(bf16_error(model, fabric.to_device(batches.first()), fabric)))
    if share <= LARGEST:
        return chosen, experiment, fabric
    how = f'differ by {share:.0%}' if share < float('inf') else 'are not finite'
    settled = Precision(
        FLOAT32,
        f'auto: embeddings in bf16 {how}',
        f'embeddings of the first batch in bf16 {how} from those in float32, so this machine computes bf16 wrongly; '
        f'the run is trained in {FLOAT32}',
    )
    if fabric.is_global_zero:
        warn_once(settled.warning)
    experiment = experiment.with_overrides({'training.precision': FLOAT32})
    return settled, experiment, make_fabric(experiment.training)


def bf16_error(model: nn.Module, batch: Batch, fabric: Fabric) -> float:
    """Returns how far a batch's embeddings in the precision of `fabric` are from those in float32.

    That is the norm of the difference over the norm of the embeddings in float32; inf if they are not finite, and 0 if
    those in float32 are not: then it is not the precision. BatchNorm uses running statistics, since that of a batch
    enlarges the difference of images that a network without training hardly tells apart.
    """
    training = model.training
    model.eval()
    try:
        with preserved(), torch.no_grad(), located(model):
            exact = _embed(model, batch).float()
            with fabric.autocast():
                found = _embed(model, batch).float()
    except Exception:  # a model may embed only once it is fitted; whoever scores it says what is wrong
        return 0.0
    finally:
        model.train(training)
    size = exact.norm()
    if not size.isfinite() or size == 0:
        return 0.0
    share = float((found - exact).norm() / size)
    return share if share == share else float('inf')


def _embed(model: Any, batch: Batch) -> Tensor:
    """Embeds a batch, (B, D); both modalities at once where the model can, as it is trained."""
    images = {m: batch.images[m] for m in MODALITIES if m in batch.images}
    if embed_joint := Model.embed_joint(model):
        return embed_joint(images)
    return torch.cat([model.embed(found, m) for m, found in images.items()])
