"""Samples as transformed tensors, and tensors as batches.

Augmentation is a function of (seed, epoch, position in the epoch), never of a worker's history: any number of
workers gives the same batches, and a resumed run continues where it stopped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from vireid.boundary.image_files import RawImage
from vireid.core.data.images import Reader, Transform, read_image
from vireid.core.data.randomness import preserved, reseed
from vireid.core.errors import VireidError
from vireid.core.registry.signature import names_argument
from vireid.core.types import Batch, Modality, Sample, joint_order

Key = tuple[int, int, int]  # epoch, position in the epoch, index of the sample


class ImageSet(TorchDataset):
    """Samples as transformed tensors.

    Args:
        samples: what to read.
        transform: (3, H, W) uint8 -> (3, h, w) float32; given the `modality` if it names it.
        labels: label of each identity; the identity itself if None.
        seed: of the augmentation; None for evaluation, where the transform is to be deterministic.
        read: from a path to an image; `read_image` if None.
        skip_bad: take another image of the same person and modality for one that cannot be read.
        views: by the name of an auxiliary modality, of which one it is a further view, and by what transform.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        transform: Transform,
        labels: Mapping[int, int] | None = None,
        seed: int | None = None,
        read: Reader | None = None,
        skip_bad: bool = False,
        views: Mapping[Modality, tuple[Modality, Transform]] | None = None,
    ) -> None:
        self.views, self._told = dict(views or {}), names_argument(transform, 'modality')
        self.samples, self.transform, self.labels, self.seed = samples, transform, labels, seed
        self.read = read or read_image
        self.skip_bad, self._unreadable = skip_bad, list[str]()

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: Key | int) -> tuple[Tensor, int, Sample]:
        with preserved():
            return self._get(key)[0]

    def __getitems__(self, keys: Sequence[Key | int]) -> list[tuple[Tensor, int, Sample]] | VireidError:
        """Reads a whole batch; an error is handed on as a value, since torch rebuilds those a worker raises as text."""
        try:
            with preserved():  # once a batch: numpy's state alone takes 0.1 ms, a twentieth of an image
                self._unreadable = []
                items = Items([item for key in keys for item in self._get(key)])
                items.unreadable = self._unreadable
                return items
        except VireidError as error:
            return error

    def _get(self, key: Key | int) -> list[tuple[Tensor, int, Sample]]:
        """Returns a sample's item, and one for each further view of it."""
        epoch, position, index = key if isinstance(key, tuple) else (0, key, key)
        sample = self.samples[index]
        try:
            image = self.read(sample.path)
        except VireidError as error:
            if not self.skip_bad or isinstance(error, RawImage):
                raise
            sample, image = self._instead(index)
        label = sample.identity if self.labels is None else self.labels[sample.identity]
        again = {name: own for name, (of, own) in self.views.items() if of == sample.modality}
        source = image.clone() if again else image  # transforms may work in place
        if self.seed is not None:
            reseed(self.seed, epoch, position)
        told = {'modality': sample.modality} if self._told else {}
        items = [(self.transform(image, **told), label, sample)]
        for name, transform in again.items():
            if self.seed is not None:
                reseed(self.seed, epoch, position, name)
            items.append((transform(source.clone(), **told), label, replace(sample, modality=name)))
        return items

    def _instead(self, index: int) -> tuple[Sample, Tensor]:
        """Returns the next readable image of the same person and modality; the same one every time."""
        bad = self.samples[index]
        self._unreadable.append(bad.path)
        for step in range(1, len(self.samples)):
            other = self.samples[(index + step) % len(self.samples)]
            if (other.identity, other.modality) == (bad.identity, bad.modality):
                try:
                    return other, self.read(other.path)
                except VireidError:
                    self._unreadable.append(other.path)
        raise VireidError(
            f'identity {bad.name} has no {bad.modality} image that can be read, such as {bad.path}',
            todo='replace one of them, or take the person out of the training list',
        )


class Items(list):
    """What a batch is made of, and the images that others replace."""

    unreadable: tuple[str, ...] | list[str] = ()


def collate(items: Sequence[tuple[Tensor, int, Sample]] | VireidError) -> Batch | VireidError:
    """Groups items by modality, keeping their order within each; hands an error on."""
    if isinstance(items, VireidError):
        return items
    groups: dict[Modality, list[tuple[Tensor, int, Sample]]] = {}
    for item in items:
        groups.setdefault(item[2].modality, []).append(item)
    order = joint_order(groups)
    first = items[0][0].shape
    for image, _, sample in items:
        if image.shape != first:
            return VireidError(
                f'after the transforms {items[0][2].path} is {tuple(first)} and {sample.path} is {tuple(image.shape)}',
                allowed='images of one size in a batch',
                todo="bring them to it, for example with dict(type='Resize') among images.train and images.test",
            )
    return Batch(
        images={m: torch.stack([image for image, _, _ in groups[m]]) for m in order},
        identities={m: torch.tensor([label for _, label, _ in groups[m]]) for m in order},
        cameras={m: torch.tensor([s.camera for _, _, s in groups[m]]) for m in order},
        paths={m: [s.path for _, _, s in groups[m]] for m in order},
        unreadable=list(getattr(items, 'unreadable', ())),
    )
