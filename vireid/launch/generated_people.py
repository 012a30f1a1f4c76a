"""Random people in front of a dataset's cameras, in place of its images: for dry runs, benchmarks and estimates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from vireid.core.config.experiment import Experiment
from vireid.core.data.image_set import ImageSet, collate
from vireid.core.registry.components import component_type
from vireid.core.types import INFRARED, MODALITIES, VISIBLE, Batch, Sample
from vireid.errors import VireidError
from vireid.interfaces import Dataset

IDENTITIES = 100  # an arbitrary number, since no data is read
TEST_IDENTITIES = 2  # with one identity, every ranking would be correct
STEP_IDENTITIES, STEP_PICTURES = 2, 2  # the part of a batch to try, per modality; losses compare pairs


class GeneratedDataset:
    """Synthetic identities in front of the cameras of a dataset; `read` generates their images.

    Args:
        cameras: camera numbers by modality.
        size: (height, width) of the images.
    """

    def __init__(self, cameras: Mapping[str, Sequence[int]], size: tuple[int, int]) -> None:
        self.cameras, self.size = cameras, size

    @classmethod
    def of(cls, experiment: Experiment) -> GeneratedDataset:
        """Returns a dataset with an experiment's cameras, and with images a little larger than the network's."""
        name = component_type(experiment.dataset, 'dataset')
        cameras = Dataset.cameras(experiment.manager.components.get('datasets', name, where='dataset'))  # type: ignore[arg-type]
        if not isinstance(cameras, Mapping) or not all(cameras.get(m) for m in MODALITIES):
            cameras = {VISIBLE: (1, 2), INFRARED: (1, 2)}  # the dataset does not declare them
        height, width = experiment.images.size
        return cls(cameras, (height + 16, width + 8))

    def split(self, name: str) -> list[Sample]:
        """Returns one image (two in training) per identity and camera; `train` and `test` have no common identity."""
        first, count = (1, IDENTITIES) if name == 'train' else (IDENTITIES + 1, TEST_IDENTITIES)
        return [
            Sample(f'random/{identity}/{modality}/{camera}/{number}', identity, camera, modality)
            for modality in MODALITIES
            for identity in range(first, first + count)
            for camera in self.cameras[modality]
            for number in range(2 if name == 'train' else 1)
        ]

    def read(self, path: str) -> Tensor:
        """Returns a (3, H, W) uint8 image."""
        return torch.randint(0, 256, (3, *self.size), dtype=torch.uint8)


def part_of_a_batch(experiment: Experiment, dataset: GeneratedDataset, whole: bool = False) -> tuple[Batch, int]:
    """Returns a part of the first batch, and the number of images in all of it.

    Args:
        experiment: the experiment.
        dataset: provides the images.
        whole: return all of the batch.
    """
    samples = dataset.split('train')
    sampler = experiment.build_sampler(samples)
    chosen = next(iter(sampler.batches(0)))
    kept: dict[tuple[int, str], list[int]] = {}
    for index in chosen:
        kept.setdefault((samples[index].identity, samples[index].modality), []).append(index)
    used = [own.get('identities') or 0 for own in experiment.step.get('optimizers', {}).values()]
    identities = list(dict.fromkeys(identity for identity, _ in kept))[: max(STEP_IDENTITIES, *used, 0)]
    indices = [i for (identity, _), shots in kept.items() if identity in identities for i in shots[:STEP_PICTURES]]
    labels = {identity: identity - 1 for identity in range(1, IDENTITIES + 1)}
    transform, views = experiment.build_transform('train'), experiment.build_views()
    data = ImageSet(samples, transform, labels, experiment.seed, dataset.read, views=views)
    batch = collate(data.__getitems__(list(chosen) if whole else indices))
    if isinstance(batch, VireidError):
        raise batch
    seen_again = [of for of, _ in views.values()]
    return batch, sum(1 + seen_again.count(samples[index].modality) for index in chosen)
