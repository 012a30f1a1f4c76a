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
from vireid.runtime.memory import is_out_of_memory, within_memory
from vireid.runtime.randomness import preserved, reseed

ON_DEVICE = 'images.on_device'
SMALLER = 'use a smaller batch (sampler.identities, visible, infrared) or smaller images (images.size)'


class OnDevice:
    """Moves a batch of uint8 images to the device, and applies the remaining transforms there.

    Transforms that treat all images alike get the whole batch. From the first other transform on, each image is
    transformed by itself; its random numbers are a function of (seed, step, position in the batch of all processes).

    Args:
        fabric: the device, and the rank of this process.
        chain: the remaining transforms.
        seed: seed of the augmentation.
        views: additional views: for each auxiliary modality, the modality it is a view of and its remaining transforms.
    """

    def __init__(
        self,
        fabric: Any,
        chain: TransformChain,
        seed: int,
        views: Mapping[Modality, tuple[Modality, TransformChain]] | None = None,
    ) -> None:
        self._fabric, self._chain, self._seed, self._views = fabric, chain, seed, views or {}

    def __call__(self, batch: Batch) -> Batch:
        """Returns the batch on the device, with float32 images.

        Raises:
            VireidError: if the device lacks memory, or a transform fails.
        """
        with within_memory(f'a batch of images on {self._fabric.device}', SMALLER), preserved():
            batch = self._fabric.to_device(batch)
            batch.images = {modality: self._finish(batch, modality) for modality in batch.images}
        return batch

    def _finish(self, batch: Batch, modality: Modality) -> Tensor:
        shown, chain = self._views.get(modality, (modality, self._chain))  # transforms of a view get what it shows
        images = batch.images[modality]
        positions = chain.active(batch.progress)
        while positions and Transform.whole_batch(chain.transforms[positions[0]]):
            images = self._apply(chain, positions.pop(0), images, batch, shown)
        if not positions:
            return images
        step, first = batch.progress.step if batch.progress else 0, self._fabric.global_rank * len(images)
        finished = []
        for row, image in enumerate(images):
            # seeds all devices, since some transforms draw their random numbers where the image is
            torch.manual_seed(reseed(self._seed, step, modality, first + row, ON_DEVICE))
            for position in positions:
                image = self._apply(chain, position, image, batch, shown)
            finished.append(image)
        return torch.stack(finished)

    def _apply(
        self, chain: TransformChain, position: int, image: Tensor, batch: Batch, modality: Modality
    ) -> Tensor:  # fmt: skip
        try:
            return chain.apply(position, image, modality, batch.progress)
        except Exception as error:  # a transform may fail in any way
            if isinstance(error, VireidError) or is_out_of_memory(error):
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
    """Returns the training transforms and views of the loader, and what completes its batches on the device.

    Raises:
        WrongValue: if a list of transforms has neither `ToFloat` nor another one that takes whole batches.
    """
    main, rest = split(experiment.build_transform('train'))
    views = {name: (of, split(chain)) for name, (of, chain) in experiment.build_views().items()}
    first, then = ({name: (of, parts[place]) for name, (of, parts) in views.items()} for place in (0, 1))
    return main, first, OnDevice(fabric, rest, experiment.seed, then)


def split(chain: TransformChain) -> tuple[TransformChain, TransformChain]:
    """Returns the transforms for the loader, and those for the device.

    Raises:
        WrongValue: if the list has neither `ToFloat` nor another transform that takes whole batches.
    """
    for position, transform in enumerate(chain.transforms):
        if Transform.whole_batch(transform):
            return chain.part(0, position), chain.part(position)
    raise WrongValue(
        f'{ON_DEVICE} is True, but {chain.where} has no ToFloat',
        todo=f"put dict(type='ToFloat') into this list (not inside another transform), or set {ON_DEVICE}=False",
        path=ON_DEVICE,
    )
