"""Transforms that run on the device, after the images were sent there as uint8."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from vireid.core.config.experiment import Experiment
from vireid.core.config.transform_chain import TransformChain
from vireid.core.types import Batch, Modality
from vireid.errors import VireidError, WrongValue
from vireid.interfaces import Transform
from vireid.runtime.memory import within_memory
from vireid.runtime.randomness import preserved, reseed

ON_DEVICE = 'images.on_device'
SMALLER = 'use a smaller batch (sampler.identities, visible, infrared) or smaller images (images.size)'


class OnDevice:
    """Moves a batch of uint8 images to the device, and finishes them there.

    Transforms that treat all images alike get the whole batch; from the first other one on, each image is transformed
    by itself. Its random numbers are a function of (seed, step, position in the batch of all processes).

    Args:
        fabric: the device, and the rank of this process.
        chains: the remaining transforms of each additional view, and of all other modalities under ''.
        seed: seed of the augmentation.
    """

    def __init__(self, fabric: Any, chains: Mapping[Modality, TransformChain], seed: int) -> None:
        self._fabric, self._chains, self._seed = fabric, chains, seed

    def __call__(self, batch: Batch) -> Batch:
        """Returns the batch on the device, with float32 images.

        Raises:
            VireidError: if the device lacks memory, or cannot run a transform.
        """
        with within_memory(f'a batch of images on {self._fabric.device}', SMALLER), preserved():
            batch = self._fabric.to_device(batch)
            batch.images = {modality: self._finish(batch, modality) for modality in batch.images}
        return batch

    def _finish(self, batch: Batch, modality: Modality) -> Tensor:
        chain, images = self._chains.get(modality, self._chains['']), batch.images[modality]
        positions = chain.active(batch.progress)
        while positions and Transform.whole_batch(chain.transforms[positions[0]]):
            images = self._apply(chain, positions.pop(0), images, batch, modality)
        if not positions:
            return images
        step, first = batch.progress.step if batch.progress else 0, self._fabric.global_rank * len(images)
        finished = []
        for row, image in enumerate(images):
            reseed(self._seed, step, modality, first + row, ON_DEVICE)
            for position in positions:
                image = self._apply(chain, position, image, batch, modality)
            finished.append(image)
        return torch.stack(finished)

    def _apply(
        self, chain: TransformChain, position: int, image: Tensor, batch: Batch, modality: Modality
    ) -> Tensor:  # fmt: skip
        try:
            return chain.apply(position, image, modality, batch.progress)
        except Exception as error:  # a transform may fail in any way
            if isinstance(error, VireidError | torch.OutOfMemoryError):
                raise
            place, name = f'{chain.where}.{chain.first + position}', type(chain.transforms[position]).__name__
            raise WrongValue(
                f'{place}: {name} fails on images on {image.device}: {type(error).__name__}: {error}',
                todo=f'put it before ToFloat, so that it runs in the loader, or set {ON_DEVICE}=False',
                path=place,
            ) from error


def split_transforms(
    experiment: Experiment, fabric: Any
) -> tuple[TransformChain, dict[str, tuple[Modality, TransformChain]], OnDevice]:
    """Returns the training transforms and views of the loader, and what finishes their batches on the device.

    Raises:
        WrongValue: if a list of transforms has neither `ToFloat` nor another one that takes whole batches.
    """
    main, rest = _split(experiment.build_transform('train'))
    views, chains = dict[str, tuple[Modality, TransformChain]](), {'': rest}
    for name, (of, chain) in experiment.build_views().items():
        part, chains[name] = _split(chain)
        views[name] = of, part
    return main, views, OnDevice(fabric, chains, experiment.seed)


def _split(chain: TransformChain) -> tuple[TransformChain, TransformChain]:
    """Returns the transforms for the loader, and those for the device."""
    for position, transform in enumerate(chain.transforms):
        if Transform.whole_batch(transform):
            return chain.part(0, position), chain.part(position)
    raise WrongValue(
        f'{ON_DEVICE} is True, but {chain.where} has no ToFloat',
        todo=f"put dict(type='ToFloat') into this list (not inside another transform), or set {ON_DEVICE}=False",
        path=ON_DEVICE,
    )
