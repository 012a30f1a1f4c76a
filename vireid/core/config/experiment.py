"""An experiment: the validated sections of a config, and methods that build each one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import field, fields
from typing import TYPE_CHECKING, Annotated, Any

from vireid.core.config.frozen import Frozen, FrozenList, freeze, section, thaw
from vireid.core.config.overrides import set_value
from vireid.core.config.parameter_freezing import freeze as freeze_parameters
from vireid.core.config.settings import (
    EvaluationSettings,
    ImageSettings,
    LossSettings,
    Seed,
    TrainingSettings,
    contradictions,
)
from vireid.core.config.transform_chain import TransformChain
from vireid.core.epochs import require_reachable
from vireid.core.registry.contracts import require_trainable
from vireid.core.registry.manager import Manager
from vireid.core.registry.schema import Component, Section, check
from vireid.core.registry.signature import Signature, signature_of
from vireid.core.types import MODALITIES, Modality, Sample
from vireid.errors import Conflict, Mismatch, UnknownKey, VireidError, WrongValue, raise_all
from vireid.interfaces import Dataset, EvaluationProtocol, Reranker, Sampler, Similarity

Config = Mapping[str, Any]  # a component's `type` and arguments

if TYPE_CHECKING:  # sections can be read without torch
    from torch import Tensor, nn


@section
class Sections:
    """The sections of a config with their types and defaults.

    Attributes:
        dataset: config of a dataset component.
        protocol: config of a protocol component.
        images: see `ImageSettings`.
        sampler: config of a sampler component.
        model: config of a model component; `CrossModalModel` if it has no `type`.
        step: config of a step component.
        losses: see `LossSettings`.
        training: see `TrainingSettings`.
        evaluation: see `EvaluationSettings`.
        loggers: configs of logger components.
        stages: config files to train first, in this order; each is initialized from the weights of the previous one,
            and this config from the weights of the last.
        refit: settings laid over the config for a second training, once `evaluation.select='validation'` has chosen the
            number of steps: `dict(dataset=dict(val_share=0.0))` trains again, from the start, on all people.
        requires: packages that provide components of this config, such as `vireid-gated-fusion>=0.1`; checked first.
        plugins: Python files that provide components of this config; only recorded here, since the manager loads them.
        seed: random seed for weights, batches and augmentation, from 0.
        name: name of the run; by default that of the config file.
    """

    dataset: Annotated[Config, Component('datasets')]
    protocol: Annotated[Config, Component('protocols')]
    images: Annotated[ImageSettings, Section(ImageSettings)]
    sampler: Annotated[Config, Component('samplers')]
    model: Annotated[Config, Component('models', default='CrossModalModel')]
    step: Annotated[Config, Component('steps')]
    training: Annotated[TrainingSettings, Section(TrainingSettings)]
    losses: Annotated[LossSettings, Section(LossSettings)] = LossSettings()
    evaluation: Annotated[EvaluationSettings, Section(EvaluationSettings)] = EvaluationSettings()
    loggers: Sequence[Annotated[Config, Component('loggers')]] = field(default_factory=FrozenList)
    stages: Sequence[str] = field(default_factory=FrozenList)
    refit: dict[str, Any] | None = None
    requires: Sequence[str] = field(default_factory=FrozenList)
    plugins: Sequence[str] = field(default_factory=FrozenList)
    seed: Seed = 0
    name: str = 'experiment'


DROPPABLE = (UnknownKey, WrongValue)  # errors whose key can be dropped to check the rest
SETTINGS = {
    'images': ImageSettings, 'training': TrainingSettings, 'losses': LossSettings, 'evaluation': EvaluationSettings
}  # fmt: skip


# attributes of earlier versions
MOVED = {
    'image_settings': 'images', 'training_settings': 'training', 'loss_settings': 'losses',
    'evaluation_settings': 'evaluation',
}  # fmt: skip


def typed(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arguments of `Sections` for a validated config."""
    return {
        name: SETTINGS[name](**freeze(value)) if name in SETTINGS else freeze(value) for name, value in config.items()
    }


def _agrees(name: str, given: Any, value: Any) -> bool:
    if name not in SETTINGS:
        return bool(given == value)
    return not isinstance(value, SETTINGS[name]) or bool(SETTINGS[name](**given) == value)


@section
class Experiment(Sections):
    """The validated sections of a config, and the plugins that provide its components. Immutable.

    Create one with `vireid.load_experiment` or `from_config`; derive another with `with_overrides`.

    Attributes:
        manager: the plugins that provide the components.
        given: the sections as written in the config, without defaults.
    """

    manager: Manager = field(repr=False, compare=False, kw_only=True)
    given: Mapping[str, Any] = field(repr=False, compare=False, kw_only=True)

    def __post_init__(self) -> None:
        # dataclasses.replace would leave `given`, and therefore config.yaml, unchanged
        given = self.given.items()
        if differ := [name for name, value in given if not _agrees(name, value, getattr(self, name))]:
            raise Frozen(
                f'{", ".join(differ)} of an experiment cannot be replaced directly',
                todo="derive another experiment: experiment.with_overrides({'training.steps': 5})",
            )

    def __getattr__(self, name: str) -> Any:
        if name in MOVED:
            raise Frozen(f'{name} was renamed', todo=f'use experiment.{MOVED[name]}, which is typed')
        raise AttributeError(f'{type(self).__name__!r} object has no attribute {name!r}')

    @classmethod
    def from_config(cls, config: Mapping[str, Any], manager: Manager) -> Experiment:
        """Validates a config against the signatures of the components it names, without building them.

        Raises:
            VireidError: listing every key that is unknown, missing, of the wrong type or contradictory.
        """
        raise_all(check_config(config, manager))
        return cls.unchecked(config, manager)

    @classmethod
    def unchecked(cls, config: Mapping[str, Any], manager: Manager) -> Experiment:
        """Creates an experiment from a config that `check_config` has already validated."""
        return cls(**typed(config), manager=manager, given=freeze(config))

    def with_overrides(self, values: Mapping[str, Any]) -> Experiment:
        """Returns an experiment with different values, by dotted key: `{'training.steps': 100}`.

        A dict replaces the old value: unlike in `vireid.load_experiment`, it is not merged into it. Names, types and
        required keys are checked here; the wiring of the model is checked when it is built.

        Raises:
            VireidError: if a key or value is invalid.
        """
        config = self.to_config()
        for key, value in values.items():
            if (name := key.partition('.')[0]) in SETTINGS:
                config.setdefault(name, {})
            set_value(config, key, value)
        return type(self).from_config(config, self.manager)

    def to_config(self) -> dict[str, Any]:
        """Returns the sections as plain values, as saved in `config.yaml` and checkpoints."""
        sections: dict[str, Any] = {
            'losses': {}, 'evaluation': {}, 'loggers': [], 'stages': [], 'refit': None, 'requires': [], 'plugins': [],
            'seed': self.seed, 'name': self.name,
        } | thaw(self.given)  # fmt: skip
        return {f.name: sections[f.name] for f in fields(Sections)}

    def build(self, kind: str, section: str, **context: Any) -> Any:
        """Builds the component of one section."""
        return self.manager.components.build(kind, thaw(getattr(self, section)), where=section, **context)

    def build_dataset(self) -> Dataset:
        """Builds the dataset, which checks the folder's layout."""
        dataset: Dataset = self.build('datasets', 'dataset')
        return dataset

    def build_protocol(self) -> EvaluationProtocol:
        """Builds the evaluation protocol."""
        protocol: EvaluationProtocol = self.build('protocols', 'protocol')
        return protocol

    def build_sampler(self, samples: Sequence[Sample], rank: int = 0, world_size: int = 1) -> Sampler:
        """Builds the sampler of training samples for one of `world_size` processes."""
        context = {'samples': samples, 'seed': self.seed, 'rank': rank, 'world_size': world_size}
        sampler: Sampler = self.build('samplers', 'sampler', **context)
        return sampler

    def build_model(
        self, num_identities: int, pretrained: bool = True, steps_per_epoch: int | None = None
    ) -> nn.Module:
        """Builds the model; its random weights are a function of `seed`.

        Components of the model may take any of these arguments, and `image_size`, `modalities`, `training` and
        `across_ranks`.

        Args:
            num_identities: number of training identities.
            pretrained: whether to load pretrained weights; False if a checkpoint will replace them.
            steps_per_epoch: None until the data has been read.

        Raises:
            VireidError: if the model cannot be built, or does not support the `losses` settings.
        """
        import torch

        torch.manual_seed(self.seed)
        config = {'type': 'CrossModalModel', **thaw(self.model)}
        across = self.losses.across_ranks
        network = self.manager.components.get('models', config['type'], where='model')
        if across and 'across_ranks' not in signature_of(network).parameters:
            raise Mismatch(
                f'losses.across_ranks is True, but {config["type"]} has no argument across_ranks',
                todo='remove losses.across_ranks, or add the argument to the model and gather the features its losses '
                'compare',
                path='losses.across_ranks',
            )
        model: nn.Module = self.manager.components.build(
            'models',
            config,
            where='model',
            num_identities=num_identities,
            pretrained=pretrained,
            image_size=tuple(self.images.size),
            modalities=dict.fromkeys((*MODALITIES, *self.images.views), 3),
            training=self.training,
            across_ranks=across,
            steps_per_epoch=steps_per_epoch,
        )
        freeze_parameters(model, self.training.freeze)
        return model

    def build_step(self, model: nn.Module, fabric: Any) -> Any:
        """Builds the step, which updates the model.

        Raises:
            VireidError: if the model cannot be trained, or the step cannot be built.
        """
        require_trainable(model)
        return self.build('steps', 'step', model=model, fabric=fabric, components=self.manager.components)

    def build_transform(self, part: str) -> TransformChain:
        """Builds the `train` or `test` transforms."""
        return self._build_chain(getattr(self.images, part), f'images.{part}')

    def build_views(self) -> dict[str, tuple[Modality, TransformChain]]:
        """Builds the transforms of each additional view of training images, and names the modality that it shows."""
        return {
            name: (view.of, self._build_chain(view.train, f'images.views.{name}.train'))
            for name, view in self.images.views.items()
        }

    def _build_chain(self, configs: Sequence[Mapping[str, Any]], where: str) -> TransformChain:
        build, defaults = self.manager.components.build, {'size': tuple(self.images.size)}
        plain = [{key: value for key, value in thaw(config).items() if key != 'epochs'} for config in configs]
        for i, config in enumerate(configs):
            require_reachable(config.get('epochs'), self.training, f'{where}.{i}')
        parts = [build('transforms', c, where=f'{where}.{i}', defaults=defaults) for i, c in enumerate(plain)]
        return TransformChain(parts, where, [config.get('epochs') for config in configs])

    def build_reader(
        self,
        part: str,
        samples: Sequence[Sample],
        decode: Callable[[str], Tensor],
        on_progress: Callable[[int, int], None] | None = None,
    ) -> Callable[[str], Tensor]:
        """Builds the reader that loads images for the `train` or `test` transforms; a cache is filled here.

        A reader may have the arguments `samples`, `first` (the first transform), `first_config` (its config), `decode`
        and `on_progress`.

        Args:
            part: `train` or `test`.
            samples: the samples to be read.
            decode: loads an image file, see `data.images.decoder`; returned as it is if the config has no reader.
            on_progress: called with (done, total) images.

        Raises:
            VireidError: if the reader is invalid, or the first transform has `epochs`.
        """
        if self.images.reader is None:
            return decode
        size = tuple(self.images.size)
        first = thaw(next(iter(getattr(self.images, part)), {}))
        where = f'images.{part}.0'
        if first.pop('epochs', None) is not None:
            raise Conflict(
                f'{where} has epochs, but a reader applies the first transform once for the whole run',
                todo='put another transform first, or remove images.reader',
                path=f'{where}.epochs',
            )
        reader: Callable[[str], Tensor] = self.manager.components.build(
            'readers',
            thaw(self.images.reader),
            where='images.reader',
            samples=samples,
            first=self.manager.components.build('transforms', first, where=where, defaults={'size': size}),
            first_config={'size': size, **first},
            decode=decode,
            on_progress=on_progress,
        )
        return reader

    def build_reranker(self) -> Reranker | None:
        """Builds the re-ranker; None if the config has none."""
        reranker: Reranker | None = self._build_optional('rerankers', 'rerank', self.evaluation.rerank)
        return reranker

    def build_similarity(self, model: nn.Module) -> Similarity | None:
        """Builds the similarity that replaces cosine similarity, if the config has one; it may take the `model`."""
        config = self.evaluation.similarity
        similarity: Similarity | None = self._build_optional('similarities', 'similarity', config, model=model)
        return similarity

    def _build_optional(self, kind: str, key: str, config: Config | None, **context: Any) -> Any:
        build = self.manager.components.build
        return None if config is None else build(kind, thaw(config), where=f'evaluation.{key}', **context)

    def build_loggers(self) -> list[Any]:
        """Builds the loggers, in order."""
        return [
            self.manager.components.build('loggers', thaw(config), where=f'loggers.{i}')
            for i, config in enumerate(self.loggers)
        ]


def sections() -> Signature:
    """Returns the sections of a config and their types, as a signature."""
    return Signature('the config', signature_of(Sections).parameters)


def check_config(config: Mapping[str, Any], manager: Manager, filled: Collection[str] = ()) -> list[VireidError]:
    """Returns all errors in a config, without building its components.

    Args:
        config: the sections.
        manager: the plugins that provide the components.
        filled: keys that may be missing because they are set elsewhere, such as `dataset.root` by a flag.
    """
    needed = config.get('requires', [])
    if isinstance(needed, (list, tuple)) and (lacking := manager.missing([w for w in needed if isinstance(w, str)])):
        return lacking  # only these: a missing package explains unknown names
    errors = check(sections(), config, where='', components=manager.components, filled=filled, noun='section')
    return errors + contradictions(config)
