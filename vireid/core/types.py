"""The nouns every component speaks: samples, batches, features, head outputs, trials."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Literal, Protocol

from vireid.core.errors import VireidError, did_you_mean

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

# A property of an image, never of its role: it alone picks the stream of the network.
# A plain string, so that a translator may add an auxiliary modality of its own for training.
Modality = str
VISIBLE: Modality = 'visible'
INFRARED: Modality = 'infrared'
MODALITIES: tuple[Modality, Modality] = (VISIBLE, INFRARED)


def joint_order(present: Iterable[Modality]) -> list[Modality]:
    """Returns the modalities in the order joint tensors hold them: visible, infrared, then others by name."""
    rank = {modality: position for position, modality in enumerate(MODALITIES)}
    return sorted(present, key=lambda modality: (rank.get(modality, len(rank)), modality))


@dataclass(frozen=True, slots=True)
class Sample:
    """One image of one person.

    Attributes:
        path: file of the image.
        identity: the dataset's own number of the person (not the label 0..K-1 a classifier sees).
        camera: the dataset's own camera number, from 1.
        modality: `visible` or `infrared`.
        name: what the user calls the person; the number if that is all there is. Two samples may differ in it alone.
    """

    path: str
    identity: int
    camera: int
    modality: Modality
    name: str = field(default='', compare=False)

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, 'name', str(self.identity))


@dataclass
class Batch:
    """Images by modality; training batches are identity-balanced, in corresponding order.

    Attributes:
        images: (N_m, 3, H, W) float32 for each modality m.
        identities: (N_m,) int64 for each modality; labels 0..K-1 in training.
        cameras: (N_m,) int64 for each modality.
        paths: N_m file names for each modality, to name an image when something is wrong with it.
        unreadable: images that could not be read and for which others of the same person stand.
    """

    images: dict[Modality, Tensor]
    identities: dict[Modality, Tensor]
    cameras: dict[Modality, Tensor] = field(default_factory=dict)
    paths: dict[Modality, list[str]] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)

    def __getstate__(self) -> dict[str, Any]:
        # to another process a tensor goes as a file descriptor, and there may be few of these: numbers go as lists
        numbers = {part: {m: t.tolist() for m, t in getattr(self, part).items()} for part in ('identities', 'cameras')}
        return vars(self) | numbers

    def __setstate__(self, state: dict[str, Any]) -> None:
        import torch

        for part in ('identities', 'cameras'):
            state[part] = {m: torch.tensor(numbers, dtype=torch.int64) for m, numbers in state[part].items()}
        vars(self).update(state)


@dataclass(frozen=True)
class FeatureSpec:
    """What a named feature of the graph is.

    Attributes:
        channels: size of the channel axis.
        kind: `map` is (B, C, H, W), `vector` is (B, C).
        layout: `joint` is one tensor, visible images first, then infrared; `paired` is one tensor per modality.
        size: (H, W) of a map; None for a vector, or if the size of the images is not known.
    """

    channels: int
    kind: Literal['map', 'vector'] = 'vector'
    layout: Literal['joint', 'paired'] = 'joint'
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Context:
    """What a neck, a head or a loss may know of the rows of a batch besides its inputs.

    Attributes:
        counts: images per modality, in joint order.
        identities: (B,) int64 labels in joint order; None outside training.
        cameras: (B,) int64 camera numbers in joint order; None outside training, or if the batch does not tell.
    """

    counts: Mapping[Modality, int]
    identities: Tensor | None = None
    cameras: Tensor | None = None

    def rows(self, modality: Modality) -> slice:
        """Returns where the rows of a modality are in a joint tensor; an empty slice if the batch has no such images.

        Raises:
            VireidError: for an auxiliary modality that is not there, or a misspelt one.
        """
        if modality not in (*self.counts, *MODALITIES):
            raise VireidError(
                f'there are no rows of a modality {modality!r}{did_you_mean(modality, self.counts)}',
                allowed=', '.join(self.counts),
            )
        first = sum(self.counts[m] for m in takewhile(modality.__ne__, joint_order(self.counts)))
        return slice(first, first + self.counts.get(modality, 0))


@dataclass
class HeadOutput:
    """What a head hands to its losses: one of these, or several by name.

    Attributes:
        feature: (B, C), or (B, P, C) for P parts; before the BNNeck; metric losses take it.
        logits: (B, K), or (B, P, K) for P parts; None for a head without a classifier.
    """

    feature: Tensor
    logits: Tensor | None = None


@dataclass(frozen=True)
class Progress:
    """Where training stands; handed to weighters, steps and observers.

    Attributes:
        epoch: epochs finished, from 0.
        step: steps finished, from 0.
        steps_per_epoch: steps of one epoch.
        total_steps: steps of the whole run.
    """

    epoch: int
    step: int
    steps_per_epoch: int
    total_steps: int

    @property
    def step_in_epoch(self) -> int:
        """Steps finished in the current epoch, 0..steps_per_epoch - 1."""
        return self.step - self.epoch * self.steps_per_epoch

    def at(self, step: int) -> Progress:
        """Returns the position after so many steps."""
        return Progress(step // self.steps_per_epoch, step, self.steps_per_epoch, self.total_steps)

    def next(self) -> Progress:
        """Returns the position one step later."""
        return self.at(self.step + 1)


class DropRule(Protocol):
    """Says which gallery images do not count for which queries.

    Called with `query_ids` (Q, 1), `query_cameras` (Q, 1), `gallery_ids` (1, G) and `gallery_cameras` (1, G),
    int64; returns a (Q, G) bool array, True where the gallery image is dropped. It broadcasts; no loops.
    """

    def __call__(
        self, query_ids: np.ndarray, query_cameras: np.ndarray, gallery_ids: np.ndarray, gallery_cameras: np.ndarray
    ) -> np.ndarray: ...


@dataclass(frozen=True)
class Trial:
    """One draw of query and gallery, and how to count on it.

    Attributes:
        name: the row it is averaged into, such as `all` or `visible to thermal`.
        index: number of the trial, from 0.
        query: the images searched for.
        gallery: the images searched in, in drawing order.
        cmc: `identity` counts distinct identities up to the first match, `image` counts images.
        drop: which gallery images do not count for which queries; None drops nothing.
    """

    name: str
    index: int
    query: tuple[Sample, ...]
    gallery: tuple[Sample, ...]
    cmc: Literal['identity', 'image'] = 'identity'
    drop: DropRule | None = None
