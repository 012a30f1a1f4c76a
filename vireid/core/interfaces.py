"""What each kind of component is given, must have, and may have.

This file is the only place that says so: building checks it, `vireid.testing.check_plugin` tries it, and
docs/architecture.md prints it. A component may inherit from its interface or not; what counts is what it has.

A method or a `Must` of an interface is required; a `May` is optional and states its default. `given` names the values
that the framework passes to a constructor that has an argument of that name; a config cannot set these.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, overload

from vireid.core.types import FeatureSpec, Modality, Progress, Sample, Trial

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from vireid.core.types import Batch

T = TypeVar('T')
_MODEL = ('num_identities', 'pretrained', 'image_size', 'modalities', 'training', 'steps_per_epoch', 'across_ranks')


class Must(Generic[T]):
    """A required attribute.

    Args:
        words: what it is, for messages.
        fits: whether a value is that.
    """

    def __init__(self, words: str, fits: Callable[[Any], bool]) -> None:
        self.words, self.fits, self.name = words, fits, ''

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, component: None, owner: type) -> Must[T]: ...
    @overload
    def __get__(self, component: object, owner: type) -> T: ...
    def __get__(self, component: object | None, owner: type) -> Must[T] | T:
        if component is None:
            return self
        raise AttributeError(f'{type(component).__name__} has no {self.name}')


class May(Generic[T]):
    """An optional attribute or method. `Neck.train_only(neck)` is that of a neck, or the default.

    Args:
        default: what holds for a component without it.
        words: what it is.
    """

    def __init__(self, default: T, words: str) -> None:
        self.default, self.words, self.name = default, words, ''

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, component: None, owner: type) -> May[T]: ...
    @overload
    def __get__(self, component: object, owner: type) -> T: ...
    def __get__(self, component: object | None, owner: type) -> May[T] | T:
        return self if component is None else self.default

    def __call__(self, component: object) -> T:
        return getattr(component, self.name, self.default)


class Interface:
    """The base of all interfaces.

    Attributes:
        given: what the framework passes to a constructor that names it.
        defaults: the same, but a config may set another value.
        module: whether a component is a `torch.nn.Module`.
    """

    given: ClassVar[tuple[str, ...]] = ()
    defaults: ClassVar[tuple[str, ...]] = ()
    module: ClassVar[bool] = False

    @classmethod
    def required(cls) -> dict[str, tuple[str, Callable[[Any], bool]]]:
        """Returns the required parts by name: what each is in words, and whether a value is that."""
        parts: dict[str, tuple[str, Callable[[Any], bool]]] = {}
        for name, part in vars(cls).items():
            if isinstance(part, Must):
                parts[name] = part.words, part.fits
            elif inspect.isfunction(part) and name != 'forward':  # every module has that
                takes = str(inspect.signature(part)).replace("'", '').replace('(self, ', '(').replace('(self)', '()')
                parts[name] = f'a method {name}{takes}', _is_own(part)
        return parts

    @classmethod
    def optional(cls) -> dict[str, May[Any]]:
        """Returns the optional parts by name."""
        return {name: part for name, part in vars(cls).items() if isinstance(part, May)}


def _is_own(stub: Callable[..., Any]) -> Callable[[Any], bool]:
    return lambda value: callable(value) and getattr(value, '__func__', value) is not stub


def _are(kind: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, Mapping) and bool(value) and all(type(v) is kind for v in value.values())


def _is(kind: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, kind)


Fit = Callable[..., None]


class Model(Interface):
    """Embeds images. To be trained, it needs `forward(batch) -> losses by task`, scalars by name."""

    given = _MODEL
    module = True
    fit = May[Fit | None](None, 'fit(batches): estimate what is not learned; called before the model is scored')
    embed_joint = May[Callable[..., Any] | None](None, 'embed_joint({modality: images}): embed modalities together')
    weighter = May[Any](None, 'a module that weighs the losses of the tasks')
    task_names = May[Sequence[str] | None](None, 'names of the tasks that forward returns')
    across_ranks = May(False, 'whether its losses see the images of all processes')
    config_path = May[Callable[[str], str] | None](None, 'config_path(module): key of a module in the model section')
    modalities = May[Sequence[Modality] | None](None, 'modalities of the images that forward needs')
    backbone = May[Any](None, 'its backbone, whose `outputs` are the maps that reports show')
    translators = May[Mapping[str, Any]]({}, 'its translators by name')
    fit_necks = May[Callable[..., None] | None](None, 'fit_necks(names, batches): fit only these necks')

    def embed(self, images: Tensor, modality: Modality) -> Tensor:
        """Returns (B, D) embeddings of (B, 3, H, W) float32 images of one modality."""
        raise NotImplementedError


class Translator(Interface):
    """Changes images before the backbone, or adds images of an auxiliary modality with identities: Batch -> Batch."""

    given = _MODEL
    module = True
    modalities = Must[Mapping[Modality, int]]('a dict of channels by modality, after the translator', _are(int))
    train_only = May(False, 'whether it is skipped outside training')


class Backbone(Interface):
    """Turns images by modality into features by name."""

    given = _MODEL
    module = True
    outputs = Must[Mapping[str, FeatureSpec]]('a dict of FeatureSpec by feature name', _are(FeatureSpec))


class Neck(Interface):
    """Turns features into one feature: `forward(*features, context) -> Tensor`."""

    given = (*_MODEL, 'inputs')
    module = True
    output = Must[FeatureSpec]('a FeatureSpec', _is(FeatureSpec))
    layout = May('joint', 'layout of the inputs: `joint`, `paired` or `any`; a class attribute')
    train_only = May(False, 'whether it is skipped outside training, since it reads identities')
    fit = May[Fit | None](None, 'fit(*features, context): estimate what is not learned, from all training images')
    needs_identities = May(False, 'whether fit reads the identities in the context')


class Head(Interface):
    """Turns features into a `HeadOutput`, or several by name, for the losses of one task."""

    given = (*_MODEL, 'inputs')
    module = True
    embedding_dim = Must[int]('the length D of its embedding', _is(int))
    outputs = May[Mapping[str, int]]({'global': 0}, 'number of parts by output; 0 for one vector')
    train_only = May(False, 'whether it embeds nothing: embed and embedding_dim are then not needed')

    def embed(self, *features: Tensor) -> Tensor:
        """Returns the (B, D) embedding."""
        raise NotImplementedError


class Pooling(Interface):
    """Turns a map (B, C, H, W) into (B, C)."""

    given = (*_MODEL, 'inputs')
    module = True


class Loss(Interface):
    """Turns a `HeadOutput` and (B,) int64 labels into a scalar; names `context` if it needs it."""

    given = (*_MODEL, 'inputs')
    module = True
    reads_parts = May(True, 'whether it takes (B, P, C) features of P parts')


class Weighter(Interface):
    """Weighs losses: `forward(tasks, progress) -> (total, weights)`. Its state is in parameters and buffers."""

    given = (*_MODEL, 'task_names', 'other_tasks')
    module = True
    curves = May['Callable[[], Mapping[str, Mapping[str, Tensor]]]'](
        dict, 'curves(): values to plot, by title and task'
    )


class Dataset(Interface):
    """Reads one dataset. Its registered name is what tables print."""

    root = May[Any](None, 'its folder')
    split_name = May('', 'which of several splits it reads, such as `trial 3`')
    cameras = May[Mapping[Modality, Sequence[int]] | None](None, 'its cameras by modality; a dry run uses them')
    expected = May[dict[str, Any]]({}, 'identities, visible and infrared images of a complete copy, by split')
    names = May[dict[int, str]]({}, "the user's names of identities")
    own_images = May(False, 'whether these are images of the user, without a published split')
    passed_over = May[Sequence[str]]((), 'what was not read, one line each')
    other_columns = May[Sequence[str]]((), 'columns of the table that are not read')

    def split(self, name: str) -> Sequence[Sample]:
        """Returns the samples of `train`, `val` or `test`, visible first, always in the same order."""
        raise NotImplementedError


class Reader(Interface):
    """Turns a path into (3, H, W) uint8; may prepare all images when it is constructed."""

    given = ('samples', 'first', 'first_config', 'decode', 'on_progress')
    reaches_out = May(False, 'whether it writes outside the folder of a run')
    digests = May[Callable[..., Any] | None](None, 'digests(paths): checksums of files that it has read')


class EvaluationProtocol(Interface):
    """Says which images are query and gallery in each trial."""

    name = Must[str]('a string, printed with every result', _is(str))

    def trials(self, dataset: Any) -> Sequence[Trial]:
        """Returns all trials on the test split of a dataset."""
        raise NotImplementedError


class Similarity(Interface):
    """Ranks a gallery for queries instead of cosine similarity: a learned metric, or a network that compares images."""

    given = ('model',)
    name = Must[str]('a string, printed with the protocol', _is(str))
    fit = May[Fit | None](None, 'fit(embeddings): learn from the training images; needs state_dict, load_state_dict')

    def similarity(self, query: np.ndarray, gallery: np.ndarray) -> Callable[[slice], np.ndarray]:
        """Takes (Q, D) and (G, D) normalized embeddings; the result returns (q, G) for a slice of the queries."""
        raise NotImplementedError


class Reranker(Interface):
    """Computes other similarities from all queries and gallery images."""

    name = Must[str]('a string, printed beside its metrics', _is(str))

    def similarity(self, query: np.ndarray, gallery: np.ndarray) -> Callable[[slice], np.ndarray]:
        """Takes (Q, D) and (G, D) embeddings; the result returns (q, G) for a slice of the queries."""
        raise NotImplementedError


class Sampler(Interface):
    """Draws identity-balanced batches as a pure function of (seed, epoch)."""

    given = ('samples', 'seed', 'rank', 'world_size')

    def __len__(self) -> int:
        """Returns the number of batches in an epoch."""
        raise NotImplementedError

    def batches(self, epoch: int) -> Sequence[Sequence[int]]:
        """Returns the batches of an epoch as indices into the training samples."""
        raise NotImplementedError


class Transform(Interface):
    """Maps one image to another; names `modality` if it needs it."""

    defaults = ('size',)


class Step(Interface):
    """Updates the model on one batch; returns a record with `loss`, a float."""

    given = ('model', 'fabric', 'components')
    epoch_ended = May[Callable[[Progress], None]](lambda progress: None, 'epoch_ended(progress): an epoch is done')
    ema_weights = May[Callable[[], AbstractContextManager[None]] | None](
        None, 'ema_weights(): a context in which the model holds the weights that are scored and saved'
    )
    schedules = May[Sequence[Any]]((), 'its learning-rate schedules')
    order = May[Sequence[Any]]((), 'the turns of several optimizers')
    resumable = May[Sequence[str]]((), 'patterns of its settings that may change when a run is resumed')

    def __call__(self, batch: Batch, progress: Progress) -> Mapping[str, Any]:
        """Updates the model; `progress` is the state before this step."""
        raise NotImplementedError

    def state_dict(self) -> Mapping[str, Any]:
        """Returns tensors and plain values."""
        raise NotImplementedError

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores them."""
        raise NotImplementedError


class Optimizer(Interface):
    """An optimizer of torch."""

    given = ('params',)


class Schedule(Interface):
    """A learning-rate schedule of torch."""

    given = ('optimizer',)


class Logger(Interface):
    """Has any of the run's hooks; see `vireid/plugin_manager/hooks.py`."""

    reaches_out = May(False, 'whether it contacts a server')


INTERFACES: dict[str, type[Interface]] = {
    'models': Model, 'translators': Translator, 'backbones': Backbone, 'necks': Neck, 'heads': Head,
    'poolings': Pooling, 'losses': Loss, 'weighters': Weighter, 'datasets': Dataset, 'readers': Reader,
    'protocols': EvaluationProtocol, 'similarities': Similarity, 'rerankers': Reranker, 'samplers': Sampler,
    'transforms': Transform, 'steps': Step, 'optimizers': Optimizer, 'schedules': Schedule, 'loggers': Logger,
}  # fmt: skip
KINDS = tuple(INTERFACES)


def given(kind: str) -> set[str]:
    """Returns what the framework passes to a component of a kind, and a config cannot set."""
    return {*INTERFACES[kind].given, 'build_part'}
