"""Data types shared by all components: samples, batches, features, head outputs, trials."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from vireid.console.warn import warn_once
from vireid.errors import UnknownName, did_you_mean

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

# A property of an image, never of its role as query or gallery: it alone selects the stream of the network.
# A plain string, so that a translator can add an auxiliary modality for training.
Modality = str
VISIBLE: Modality = 'visible'
INFRARED: Modality = 'infrared'
MODALITIES: tuple[Modality, Modality] = (VISIBLE, INFRARED)


def joint_order(present: Iterable[Modality]) -> list[Modality]:
    """Returns the modalities in the row order of joint tensors: visible, infrared, then others by name."""
    rank = {modality: position for position, modality in enumerate(MODALITIES)}
    return sorted(present, key=lambda modality: (rank.get(modality, len(rank)), modality))


@dataclass(frozen=True, slots=True)
class Sample:
    """One image of one identity.

    Attributes:
        path: the image file.
        identity: the dataset's number of the identity (not the classifier's label 0..K-1).
        camera: the dataset's camera number, from 1.
        modality: `visible` or `infrared`.
        name: the user's name for the identity; by default its number. It is not compared.
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
    """Images by modality; training batches are identity-balanced, with corresponding rows across modalities.

    Attributes:
        images: (N_m, 3, H, W) float32 for each modality m.
        identities: (N_m,) int64 for each modality; labels 0..K-1 in training.
        cameras: (N_m,) int64 for each modality.
        paths: N_m file names for each modality, used in error messages.
        unreadable: images that could not be read and were replaced by others of the same identity.
        maps: what translators add besides the images: by name, one (N_m, C, h, w) tensor per modality.
        progress: the position in the run; None outside training.
    """

    images: dict[Modality, Tensor]
    identities: dict[Modality, Tensor]
    cameras: dict[Modality, Tensor] = field(default_factory=dict)
    paths: dict[Modality, list[str]] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)
    maps: dict[str, dict[Modality, Tensor]] = field(default_factory=dict)
    progress: Progress | None = None

    def pin_memory(self) -> Batch:
        """Returns the batch in page-locked memory, from which a GPU copies it while it computes.

        torch's loader calls this. If the system has no more such memory, it warns once and returns the batch as it is.
        """
        parts = {part: getattr(self, part) for part in ('images', 'identities', 'cameras')}
        try:
            locked: dict[str, Any] = {part: {m: t.pin_memory() for m, t in of.items()} for part, of in parts.items()}
            return replace(self, **locked)
        except RuntimeError as error:
            from vireid.runtime.memory import is_out_of_memory

            if not is_out_of_memory(error):
                raise
            reason = str(error).partition('\n')[0]
            warn_once(f'batches cannot be page-locked, so copies to the GPU are slower: {reason}; check free memory')
            return self

    def __getstate__(self) -> dict[str, Any]:
        # each tensor sent to another process takes a file descriptor, which are limited: small ones are sent as lists;
        # those on a GPU are in no other process, and must stay there when a batch is copied
        parts = {part: getattr(self, part) for part in ('identities', 'cameras')}
        on_cpu = {part: of for part, of in parts.items() if all(t.is_cpu for t in of.values())}
        return vars(self) | {part: {m: t.tolist() for m, t in of.items()} for part, of in on_cpu.items()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        import torch

        for part in ('identities', 'cameras'):
            state[part] = {m: torch.as_tensor(numbers, dtype=torch.int64) for m, numbers in state[part].items()}
        vars(self).update(state)


@dataclass(frozen=True)
class FeatureSpec:
    """The shape and layout of a named feature.

    Attributes:
        channels: size of the channel axis.
        kind: `map` is (B, C, H, W), `vector` is (B, C).
        layout: `joint` is one tensor, visible images first, then infrared; `paired` is one tensor per modality.
        size: (H, W) of a map; None for a vector, or if the image size is unknown.
        copies: rows per image; in the `output` of a neck, rows that it returns for each row it receives. Copy c of
            image b is row b * copies + c, so the rows of a modality stay together.
    """

    channels: int
    kind: Literal['map', 'vector'] = 'vector'
    layout: Literal['joint', 'paired'] = 'joint'
    size: tuple[int, int] | None = None
    copies: int = 1


@dataclass(frozen=True)
class Context:
    """Metadata of a batch's rows, for necks, heads and losses that ask for it.

    Attributes:
        counts: rows per modality, in joint order: one per image, or `copies` per image.
        identities: (B,) int64 labels in joint order; None outside training.
        cameras: (B,) int64 camera numbers in joint order; None outside training, or if the batch has none.
        copies: rows per image; see `FeatureSpec`.
    """

    counts: Mapping[Modality, int]
    identities: Tensor | None = None
    cameras: Tensor | None = None
    copies: int = 1

    def copied(self, copies: int) -> Context:
        """Returns the metadata of `copies` rows per image."""
        if copies == self.copies:
            return self
        identities, cameras = (
            None if rows is None else rows[:: self.copies].repeat_interleave(copies)
            for rows in (self.identities, self.cameras)
        )
        return Context({m: n // self.copies * copies for m, n in self.counts.items()}, identities, cameras, copies)

    def rows(self, modality: Modality) -> slice:
        """Returns the rows of a modality in a joint tensor; an empty slice if the batch has no images of it.

        Raises:
            UnknownName: if the modality is misspelled, or auxiliary and not in the batch.
        """
        if modality not in (*self.counts, *MODALITIES):
            raise UnknownName(
                f'the batch has no modality {modality!r}{did_you_mean(modality, self.counts)}',
                allowed=', '.join(self.counts),
            )
        first = sum(self.counts[m] for m in takewhile(modality.__ne__, joint_order(self.counts)))
        return slice(first, first + self.counts.get(modality, 0))


@dataclass
class HeadOutput:
    """What a head passes to its losses: one `HeadOutput`, or a dict of them by name.

    Attributes:
        feature: (B, C), or (B, P, C) for P parts; taken before the BNNeck, for metric losses.
        logits: (B, K), or (B, P, K) for P parts; None for a head without a classifier.
    """

    feature: Tensor
    logits: Tensor | None = None


class Progress(NamedTuple):
    """The position in a training run; passed to weighters, steps, callbacks, and any component that names it.

    Attributes:
        epoch: completed epochs, from 0.
        step: completed steps, from 0.
        steps_per_epoch: steps in one epoch.
        total_steps: steps in the whole run.
    """

    epoch: int
    step: int
    steps_per_epoch: int
    total_steps: int

    @property
    def step_in_epoch(self) -> int:
        """Completed steps of the current epoch, 0..steps_per_epoch - 1."""
        return self.step - self.epoch * self.steps_per_epoch

    def at(self, step: int) -> Progress:
        """Returns the position after `step` steps."""
        return Progress(step // self.steps_per_epoch, step, self.steps_per_epoch, self.total_steps)

    def next(self) -> Progress:
        """Returns the position one step later."""
        return self.at(self.step + 1)


class DropRule(Protocol):
    """Decides which gallery images are ignored for which queries.

    Called with `query_ids` (Q, 1), `query_cameras` (Q, 1), `gallery_ids` (1, G) and `gallery_cameras` (1, G),
    int64; returns a (Q, G) bool array, True where the gallery image is dropped. Use broadcasting, not loops.
    """

    def __call__(
        self, query_ids: np.ndarray, query_cameras: np.ndarray, gallery_ids: np.ndarray, gallery_cameras: np.ndarray
    ) -> np.ndarray: ...


@dataclass(frozen=True)
class Trial:
    """One draw of query and gallery, and how to score it.

    Attributes:
        name: the table row it is averaged into, such as `all` or `visible to thermal`.
        index: index of the trial, from 0.
        query: the query images.
        gallery: the gallery images, in the order drawn.
        cmc: `identity` counts distinct identities up to the first match, `image` counts images.
        drop: which gallery images to ignore for which queries; None ignores nothing.
    """

    name: str
    index: int
    query: tuple[Sample, ...]
    gallery: tuple[Sample, ...]
    cmc: Literal['identity', 'image'] = 'identity'
    drop: DropRule | None = None


def __getattr__(name: str) -> Any:
    if name in ('Dataset', 'EvaluationProtocol', 'Reranker', 'Sampler', 'Similarity', 'JobCommand', 'JobState'):
        module = 'launcher_types' if name.startswith('Job') else 'interfaces'
        raise ImportError(f'{name} moved: from vireid.{module} import {name}')
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
