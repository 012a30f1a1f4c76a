"""Before a run reads its data: everything that needs none is built once, for nothing, and tried."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from vireid.core.config.experiment import Experiment
from vireid.core.data.randomness import preserved
from vireid.core.errors import VireidError
from vireid.core.registry.signatures import raise_all


def rehearse(experiment: Experiment, fabric: Fabric, pretrained: bool = False, identities: int = 2) -> nn.Module:
    """Builds all that needs no data, for nothing, so that what cannot be built stops a run before data is read.

    Args:
        experiment: what would be run.
        fabric: on which devices.
        pretrained: with pretrained weights, so that those that cannot be had are told now.
        identities: classes of the model.

    Returns:
        The model.

    Raises:
        VireidError: for all that cannot be built.
    """
    problems = []
    built: list[nn.Module] = []

    def attempt(build: Callable[[], Any]) -> None:
        try:
            build()
        except VireidError as error:
            problems.append(error)

    attempt(experiment.build_protocol)
    attempt(experiment.build_reranker)
    attempt(lambda: _try_transforms(experiment, 'train'))
    attempt(lambda: _try_transforms(experiment, 'test'))
    attempt(lambda: built.append(experiment.build_model(identities, pretrained)))
    if built and fabric.world_size == 1:  # several would have to agree on it
        attempt(lambda: _try_schedules(experiment.build_step(built[0], fabric)))
    raise_all(problems)
    return built[0]


def _try_schedules(step: Any) -> None:
    """Moves the schedules of a step that is thrown away: torch looks at some arguments only then."""
    for schedule in [s for found in getattr(step, 'schedules', {}).values() for s in found]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')  # that the optimizer has not stepped
                schedule.step()
        except Exception as error:
            raise VireidError(
                f'step.schedule: {type(schedule).__name__} fails on its first move: {type(error).__name__}: {error}',
                todo='mend its arguments',
            ) from error


def _try_transforms(experiment: Experiment, part: str) -> None:
    """Builds the transforms `train` or `test` and puts a picture through them."""
    height, width = experiment.image_settings.size
    image = torch.zeros(3, 2 * height, width, dtype=torch.uint8)  # of a person's shape
    with preserved():
        for position, transform in enumerate(experiment.build_transform(part).transforms):
            try:
                image = transform(image)
            except Exception as error:  # torchvision looks at some arguments only now
                name = experiment.images[part][position]['type']
                raise VireidError(
                    f'images.{part}.{position}: {name} fails on a picture {_sizes(image)}: {error}',
                    todo='mend its arguments, or what comes before it',
                ) from error
    if image.shape != (3, height, width) or image.dtype != torch.float32:
        raise VireidError(
            f'images.{part} makes {_sizes(image)} of a picture',
            allowed=f'3 x {height} x {width} float32, as images.size says',
            todo='end with ToFloat and Normalize, and with the size that Resize and RandomCrop give',
        )


def _sizes(image: Any) -> str:
    return f'{" x ".join(map(str, image.shape))} {str(image.dtype).removeprefix("torch.")}'
