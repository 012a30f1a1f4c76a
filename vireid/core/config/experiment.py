"""An experiment: a config's sections, checked, and each built on demand."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Annotated, Any, Literal

from vireid.core.config.origin import data_name
from vireid.core.config.requirements import require
from vireid.core.errors import VireidError, did_you_mean
from vireid.core.registry.contracts import require_trainable
from vireid.core.registry.plugins import PluginManager, create_manager
from vireid.core.registry.schema import Schema
from vireid.core.registry.signatures import Parameter, Part, Signature, accepts, raise_all, signature_of
from vireid.core.types import Dataset, EvaluationProtocol, Reranker, Sample, Sampler

if TYPE_CHECKING:  # sections can be read without torch
    from torch import Tensor, nn


@dataclass(frozen=True)
class ImageSettings:
    """The `images` section.

    Attributes:
        size: (height, width) in pixels that the network sees; handed to transforms that take a `size`.
        train: transforms of training pictures, in order; the last ones produce float32.
        test: transforms of test pictures.
        workers: loader processes; None means none on the CPU, and on a GPU one less than the cores, at most 8.
        reader: config of a component among `readers`, such as a cache; None decodes the files each time.
        on_bad_image: what a training picture that cannot be read does: `stop` the run, or `skip`: another one of the
            same person and modality stands for it, and the result counts them. Scoring always stops.
        check: what is made sure of before the first step: that the `files` of all pictures are there, have bytes and
            may be read, unless a `reader` stands before them; that all `pictures` can be decoded, which takes minutes;
            or `nothing`.
    """

    size: tuple[int, int]
    train: list[Annotated[dict, Part('transforms')]]
    test: list[Annotated[dict, Part('transforms')]]
    workers: int | None = None
    reader: Annotated[dict | None, Part('readers')] = None
    on_bad_image: Literal['stop', 'skip'] = 'stop'
    check: Literal['files', 'pictures', 'nothing'] = 'files'


READING = ('workers', 'reader', 'check', 'on_bad_image')  # image settings that change no picture


@dataclass(frozen=True)
class LossSettings:
    """The `losses` section.

    Attributes:
        across_ranks: with several processes, necks, heads and losses see the pictures of all of them, with gradients:
            what the backbone makes is gathered. By default each process sees its own.
    """

    across_ranks: bool = False


@dataclass(frozen=True)
class TrainingSettings:
    """The `training` section.

    Attributes:
        epochs: length of the run in epochs; give this or `steps`.
        steps: length of the run in steps.
        precision: of training, as lightning-fabric names it; `16-mixed` needs a GPU. `auto` is `bf16-mixed` on hardware
            that multiplies bf16 by itself, else `32-true`; see `core/precision.py`. Scoring is always float32.
        accelerator: `auto`, `cpu`, `cuda` and whatever else lightning-fabric knows.
        devices: how many on this machine, or `auto`.
        nodes: machines; each is started by torchrun or Slurm, with as many processes as `devices`.
        strategy: of several processes: `ddp`, where each has all weights. `auto` is `ddp` if there are several.
        evaluate_every: epochs between evaluations; the run always ends with one. None: only then.
        checkpoint_every: steps between checkpoints, besides the one at each epoch's end. None: only those.
        sync_batchnorm: with several processes, BatchNorm sees the pictures of all of them.
        compile: let torch compile the model's training pass; where that fails, it is run as it is, and that is said.
        keep: how many checkpoints there are: `last.pt`, and before it `last-1.pt` and so on, for when it is damaged.
    """

    epochs: int | None = None
    steps: int | None = None
    precision: Literal['auto', '32-true', 'bf16-mixed', '16-mixed'] = '32-true'
    accelerator: Literal['auto', 'cpu', 'cuda', 'gpu', 'mps', 'tpu'] = 'auto'
    devices: int | Literal['auto'] = 1
    nodes: int = 1
    strategy: str = 'auto'
    evaluate_every: int | None = None
    checkpoint_every: int | None = None
    keep: int = 2
    sync_batchnorm: bool = False
    compile: bool = False

    def total_steps(self, steps_per_epoch: int) -> int:
        """Length of the run in steps."""
        return self.steps if self.steps is not None else (self.epochs or 0) * steps_per_epoch


@dataclass(frozen=True)
class EvaluationSettings:
    """The `evaluation` section.

    Attributes:
        batch_size: images embedded at a time.
        flip: also score, beside the plain row, embeddings averaged with those of the mirror images.
        rerank: config of a component among `rerankers`, whose figures are printed beside the plain ones.
        select: the weights that the run ends with: `last`; those best on the dataset's `val` split (`validation`); or
            those best on trial 0 of the test (`test`), which is what most published figures are.
        select_by: the figure of the protocol's first row that `select` goes by.
    """

    batch_size: int = 64
    flip: bool = False
    rerank: Annotated[dict | None, Part('rerankers')] = None
    select: Literal['last', 'validation', 'test'] = 'last'
    select_by: Literal['R1', 'R5', 'R10', 'R20', 'mAP', 'mINP'] = 'R1'


@dataclass(frozen=True)
class Experiment:
    """The sections of a config and the components they name.

    Attributes:
        dataset: config of a component among `datasets`.
        protocol: config of a component among `protocols`.
        images: see `ImageSettings`.
        sampler: config of a component among `samplers`.
        model: config of a component among `models`; `CrossModalModel` if it has no `type`.
        step: config of a component among `steps`.
        losses: see `LossSettings`.
        training: see `TrainingSettings`.
        evaluation: see `EvaluationSettings`.
        loggers: configs of components among `loggers`.
        requires: packages that bring components of this config, such as `vireid-gated-fusion>=0.1`; checked first.
        plugins: Python files that bring components of this config; a record: whoever makes the `manager` loads them.
        seed: of weights, batches and augmentation, from 0.
        name: what the run is called; set from the config's file name.
    """

    dataset: Annotated[dict, Part('datasets')]
    protocol: Annotated[dict, Part('protocols')]
    images: Annotated[dict, ImageSettings]
    sampler: Annotated[dict, Part('samplers')]
    model: Annotated[dict, Part('models', default='CrossModalModel')]
    step: Annotated[dict, Part('steps')]
    training: Annotated[dict, TrainingSettings]
    losses: Annotated[dict, LossSettings] = field(default_factory=dict)
    evaluation: Annotated[dict, EvaluationSettings] = field(default_factory=dict)
    loggers: list[Annotated[dict, Part('loggers')]] = field(default_factory=list)
    requires: list[str] = field(default_factory=list)
    plugins: list[str] = field(default_factory=list)
    seed: int = 0
    name: str = 'experiment'
    manager: PluginManager = field(default_factory=create_manager, repr=False)

    @classmethod
    def from_config(cls, config: Mapping[str, Any], manager: PluginManager) -> Experiment:
        """Checks a config against the signatures of all it names; nothing is built.

        Raises:
            VireidError: for what is unknown, missing, of the wrong type or contradictory, all of it at once.
        """
        raise_all(check_config(config, manager))
        return cls(**config, manager=manager)

    def to_config(self) -> dict[str, Any]:
        """Returns the sections as plain values, as written to `config.yaml` and into checkpoints."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != 'manager'}

    @property
    def image_settings(self) -> ImageSettings:
        """The `images` section."""
        return ImageSettings(**self.images)

    @property
    def training_settings(self) -> TrainingSettings:
        """The `training` section."""
        return TrainingSettings(**self.training)

    @property
    def loss_settings(self) -> LossSettings:
        """The `losses` section."""
        return LossSettings(**self.losses)

    @property
    def evaluation_settings(self) -> EvaluationSettings:
        """The `evaluation` section."""
        return EvaluationSettings(**self.evaluation)

    @property
    def data_name(self) -> str:
        """What the pictures are, for tables and files: a dataset's name, or that they are generated."""
        return data_name(self.dataset)

    def build(self, kind: str, section: str, **context: Any) -> Any:
        """Builds the component of one section."""
        return self.manager.components.build(kind, getattr(self, section), where=section, **context)

    def build_dataset(self) -> Dataset:
        """Builds the reader; it checks the folder's layout."""
        return self.build('datasets', 'dataset')

    def build_protocol(self) -> EvaluationProtocol:
        """Builds the evaluation protocol."""
        return self.build('protocols', 'protocol')

    def build_sampler(self, samples: Sequence[Sample], rank: int = 0, world_size: int = 1) -> Sampler:
        """Builds the sampler over training samples for one of `world_size` processes."""
        return self.build('samplers', 'sampler', samples=samples, seed=self.seed, rank=rank, world_size=world_size)

    def build_model(
        self, num_identities: int, pretrained: bool = True, steps_per_epoch: int | None = None
    ) -> nn.Module:
        """Builds the model for that many training identities; its random weights are a function of `seed`.

        `pretrained=False` spares pretrained weights that a checkpoint is about to replace; `steps_per_epoch` is None
        as long as no data was read. A component of the model may name either, and `image_size`, `training` and
        `across_ranks`.

        Raises:
            VireidError: if the model cannot be built, or cannot do what `losses` asks for.
        """
        import torch

        torch.manual_seed(self.seed)
        config = {'type': 'CrossModalModel', **self.model}
        across = self.loss_settings.across_ranks
        if across and 'across_ranks' not in self.manager.components.signature('models', config['type']).parameters:
            raise VireidError(
                f'losses.across_ranks is True and {config["type"]} takes no across_ranks: it cannot gather',
                todo='take losses.across_ranks away, or let the model take it and gather what its losses compare',
            )
        return self.manager.components.build(
            'models',
            config,
            where='model',
            num_identities=num_identities,
            pretrained=pretrained,
            image_size=tuple(self.image_settings.size),
            training=self.training_settings,
            across_ranks=across,
            steps_per_epoch=steps_per_epoch,
        )

    def build_step(self, model: nn.Module, fabric: Any) -> Any:
        """Builds the update rule around a model."""
        require_trainable(model)
        return self.build('steps', 'step', model=model, fabric=fabric, components=self.manager.components)

    def build_transform(self, part: str) -> Chain:
        """Builds the transforms `train` or `test`."""
        size = tuple(self.image_settings.size)
        return Chain(
            [
                self.manager.components.build('transforms', config, where=f'images.{part}.{i}', defaults={'size': size})
                for i, config in enumerate(self.images[part])
            ]
        )

    def build_reader(
        self, part: str, samples: Sequence[Sample], on_progress: Callable[[int, int], None] | None = None
    ) -> Callable[[str], Tensor] | None:
        """Builds what turns paths into pictures for the transforms `train` or `test`; a cache fills itself here.

        None where the config names no reader: the files are decoded each time.

        A reader may name `samples`, `first` (the part's first transform), `first_config` (what it was built from) and
        `on_progress`, called with (done, total) pictures.
        """
        if self.image_settings.reader is None:
            return None
        size = tuple(self.image_settings.size)
        config = self.images[part][0] if self.images[part] else None
        where = f'images.{part}.0'
        return self.manager.components.build(
            'readers',
            self.image_settings.reader,
            where='images.reader',
            samples=samples,
            first=self.manager.components.build('transforms', config or {}, where=where, defaults={'size': size}),
            first_config={'size': size, **(config or {})},
            on_progress=on_progress,
        )

    def build_reranker(self) -> Reranker | None:
        """Builds the re-ranker, if one is asked for."""
        config = self.evaluation_settings.rerank
        if config is None:
            return None
        return self.manager.components.build('rerankers', config, where='evaluation.rerank')

    def build_loggers(self) -> list[Any]:
        """Builds the loggers, in order."""
        return [
            self.manager.components.build('loggers', config, where=f'loggers.{i}')
            for i, config in enumerate(self.loggers)
        ]


def sections() -> Signature:
    """Returns what a config may say, as a signature: its sections, and what each may hold."""
    found = signature_of(Experiment).parameters
    return Signature('the config', {n: p for n, p in found.items() if n != 'manager'}, noun='section')


def check_config(config: Mapping[str, Any], manager: PluginManager, filled: Collection[str] = ()) -> list[VireidError]:
    """Finds all that is wrong with a config, without building what it names.

    Args:
        config: its sections.
        manager: the plugins whose components it may name.
        filled: paths that may be missing, since they come from elsewhere, such as `dataset.root` from a flag.
    """
    wanted = config.get('requires', [])
    if accepts(list[str], wanted) and (lacking := require(wanted, manager.plugins)):
        return lacking  # alone: what is missing explains the names that are not known
    known = sections()
    problems = []
    given = dict(config)
    for key in [key for key in given if key not in known.parameters]:
        del given[key]
        names = ', '.join(known.parameters)
        problems.append(VireidError(f'{key}: no such section{did_you_mean(key, known.parameters)}', allowed=names))
    for key, parameter in known.parameters.items():
        if parameter.required and key not in given:
            problems.append(VireidError(f'the config has no section {key!r}', todo='take it from a _base_'))
    present = Signature(known.name, {n: Parameter(p.hint) for n, p in known.parameters.items()})
    problems += Schema(manager.components, filled).check_call(present, given, '')
    return problems + _out_of_range(given)


def _out_of_range(config: Mapping[str, Any]) -> list[VireidError]:
    """Finds settings that are out of range or contradict each other; what is of the wrong type is passed over."""

    def at(section: str, key: str, hint: Any, default: Any = None) -> Any:
        values = config.get(section)
        value = values.get(key, default) if isinstance(values, Mapping) else default
        return value if accepts(hint, value) else default

    problems = []
    epochs, steps = at('training', 'epochs', int | None), at('training', 'steps', int | None)
    training = config.get('training')
    if isinstance(training, Mapping) and all(accepts(int | None, training.get(key)) for key in ('epochs', 'steps')):
        if (epochs is None) == (steps is None):
            problems.append(
                VireidError(f'training: epochs is {epochs} and steps is {steps}', allowed='exactly one of the two')
            )
        elif (epochs or steps or 0) < 1:
            problems.append(VireidError('training: the run has no steps', allowed='epochs or steps of at least 1'))
    every = at('training', 'evaluate_every', int | None)
    if at('evaluation', 'select', str, 'last') in ('validation', 'test') and every is None:
        problems.append(
            VireidError(
                f'evaluation.select is {config["evaluation"]["select"]!r} and training.evaluate_every is None: '
                'there is nothing to choose from',
                todo='say every how many epochs to score: training.evaluate_every=2',
            )
        )
    if (strategy := at('training', 'strategy', str, 'auto')) not in ('auto', 'ddp'):
        why = ': no network of this field outgrows a GPU, so nothing is sharded' if strategy == 'fsdp' else ''
        problems.append(
            VireidError(
                f'training.strategy is {strategy!r}{why}', allowed="'auto', 'ddp'", todo="training.strategy='ddp'"
            )
        )
    size = at('images', 'size', tuple[int, int], (1, 1))
    if not 1 <= min(size) <= max(size) <= 8192:
        problems.append(VireidError(f'images.size is {tuple(size)}', allowed='(height, width) of 1 to 8192 pixels'))
    for section, key, least in (
        ('evaluation', 'batch_size', 1),
        ('images', 'workers', 0),
        ('training', 'evaluate_every', 1),
        ('training', 'checkpoint_every', 1),
        ('training', 'keep', 1),
        ('training', 'devices', 1),
        ('training', 'nodes', 1),
    ):
        value = at(section, key, int)
        if value is not None and value < least:
            problems.append(VireidError(f'{section}.{key} is {value}', allowed=f'an integer of at least {least}'))
    seed = config.get('seed', 0)
    if accepts(int, seed) and not 0 <= seed < 2**63:
        problems.append(VireidError(f'seed is {seed}', allowed='an integer of at least 0, of 63 bits'))
    return problems


class Chain:
    """Transforms one after the other."""

    def __init__(self, transforms: Sequence[Callable[[Tensor], Tensor]]) -> None:
        self.transforms = list(transforms)

    def __call__(self, image: Tensor) -> Tensor:
        for transform in self.transforms:
            image = transform(image)
        return image
