"""Samples as transformed tensors, and tensors as batches.

Augmentation is a function of (seed, epoch, position in the epoch), never of a worker's history. Batches are therefore
independent of the number of workers, and a resumed run continues with the same images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from vireid.boundary.image_files import RawImage
from vireid.core.data.images import ReadImage, Transform, read_image
from vireid.core.registry.signature import named_arguments
from vireid.core.types import Batch, Modality, Progress, Sample, joint_order
from vireid.errors import DamagedFile, Mismatch, VireidError
from vireid.runtime.randomness import preserved, reseed

Key = tuple[Progress, int, int]  # position of the step in the run, of the image in the epoch; index of the sample


class ImageSet(TorchDataset):
    """Samples as transformed tensors.

    Args:
        samples: the samples.
        transform: (3, H, W) uint8 -> (3, h, w) float32; receives `modality` and `progress` (None outside training) if
            it has such arguments.
        labels: label of each identity; None uses the identity itself.
        seed: seed of the augmentation; None for evaluation, where the transform must be deterministic.
        read: loads an image from a path; None is `read_image`.
        skip_bad: replace an unreadable image with another of the same identity and modality.
        views: additional views: for each auxiliary modality, the modality it is a view of and its transform.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        transform: Transform,
        labels: Mapping[int, int] | None = None,
        seed: int | None = None,
        read: ReadImage | None = None,
        skip_bad: bool = False,
        views: Mapping[Modality, tuple[Modality, Transform]] | None = None,
    ) -> None:
        self.views = dict(views or {})
        every = {'': transform, **{name: own for name, (_, own) in self.views.items()}}
        self._takes = {name: named_arguments(own, 'modality', 'progress') for name, own in every.items()}
        self.samples, self.transform, self.labels, self.seed = samples, transform, labels, seed
        self.read = read or read_image
        self.skip_bad, self._unreadable = skip_bad, list[str]()

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: Key | int) -> tuple[Tensor, int, Sample]:
        with preserved():
            return self._get(key)[0]

    def __getitems__(self, keys: Sequence[Key | int]) -> list[tuple[Tensor, int, Sample]] | VireidError:
        """Reads a whole batch; returns errors as values, since torch turns exceptions raised in a worker into text."""
        try:
            with preserved():  # once per batch: saving numpy's state takes 0.1 ms, a twentieth of the time per image
                self._unreadable = []
                items = Items([item for key in keys for item in self._get(key)])
                items.unreadable = self._unreadable
                return items
        except VireidError as error:
            return error

    def _get(self, key: Key | int) -> list[tuple[Tensor, int, Sample]]:
        """Returns the item of a sample, and one for each additional view of it."""
        progress, position, index = key if isinstance(key, tuple) else (None, key, key)
        epoch = progress.epoch if progress else 0
        sample = self.samples[index]
        try:
            image = self.read(sample.path)
        except VireidError as error:
            if not self.skip_bad or isinstance(error, RawImage):
                raise
            sample, image = self._instead(index)
        label = sample.identity if self.labels is None else self.labels[sample.identity]
        views = {name: own for name, (of, own) in self.views.items() if of == sample.modality}
        source = image.clone() if views else image  # transforms may work in place
        if self.seed is not None:
            reseed(self.seed, epoch, position)
        known = {'modality': sample.modality, 'progress': progress}
        given = {view: {name: known[name] for name in takes} for view, takes in self._takes.items()}
        items = [(self.transform(image, **given['']), label, sample)]
        for name, transform in views.items():
            if self.seed is not None:
                reseed(self.seed, epoch, position, name)
            items.append((transform(source.clone(), **given[name]), label, replace(sample, modality=name)))
        return items

    def _instead(self, index: int) -> tuple[Sample, Tensor]:
        """Returns the next readable image of the same identity and modality; always the same one."""
        bad = self.samples[index]
        self._unreadable.append(bad.path)
        for step in range(1, len(self.samples)):
            other = self.samples[(index + step) % len(self.samples)]
            if (other.identity, other.modality) == (bad.identity, bad.modality):
                try:
                    return other, self.read(other.path)
                except VireidError:
                    self._unreadable.append(other.path)
        raise DamagedFile(
            f'no {bad.modality} image of identity {bad.name} can be read, for example {bad.path}',
            todo='replace one of them, or remove the identity from the training list',
        )


class Items(list):
    """The items of a batch, and the paths of unreadable images that were replaced."""

    unreadable: tuple[str, ...] | list[str] = ()


def collate(items: Sequence[tuple[Tensor, int, Sample]] | VireidError) -> Batch | VireidError:
    """Groups items by modality, keeping their order within each; passes an error through."""
    if isinstance(items, VireidError):
        return items
    groups: dict[Modality, list[tuple[Tensor, int, Sample]]] = {}
    for item in items:
        groups.setdefault(item[2].modality, []).append(item)
    order = joint_order(groups)
    first = items[0][0].shape
    for image, _, sample in items:
        if image.shape != first:
            return Mismatch(
                f'after the transforms {items[0][2].path} is {tuple(first)} and {sample.path} is {tuple(image.shape)}',
                allowed='images of equal size in a batch',
                todo="resize them, for example with dict(type='Resize') at the start of images.train and images.test",
            )
    return Batch(
        images={m: torch.stack([image for image, _, _ in groups[m]]) for m in order},
        identities={m: torch.tensor([label for _, label, _ in groups[m]]) for m in order},
        cameras={m: torch.tensor([s.camera for _, _, s in groups[m]]) for m in order},
        paths={m: [s.path for _, _, s in groups[m]] for m in order},
        unreadable=list(items.unreadable) if isinstance(items, Items) else [],
    )
