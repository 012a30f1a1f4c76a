"""An experiment: a config's sections, checked, and each built on demand."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Annotated, Any

from vireid.core.config.frozen import FrozenList, freeze, section, thaw
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
from vireid.core.errors import VireidError, raise_all
from vireid.core.interfaces import Dataset, EvaluationProtocol, Reranker, Sampler, Similarity
from vireid.core.registry.contracts import require_trainable
from vireid.core.registry.manager import Manager
from vireid.core.registry.schema import Component, Section, check
from vireid.core.registry.signature import Signature, names_argument, signature_of
from vireid.core.types import MODALITIES, Modality, Sample

Config = Mapping[str, Any]  # of a component: its `type` and arguments

if TYPE_CHECKING:  # sections can be read without torch
    from torch import Tensor, nn


@section
class Sections:
    """The sections of a config, each with its type; what is not given has its default.

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
        stages: config files that are trained first, in this order; each starts from the weights of the one before it,
            and this config from the weights of the last one.
        requires: packages with components of this config, such as `vireid-gated-fusion>=0.1`; checked first.
        plugins: Python files with components of this config; a record: whoever creates the manager loads them.
        seed: random seed of weights, batches and augmentation, from 0.
        name: of the run; by default that of the config file.
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
    requires: Sequence[str] = field(default_factory=FrozenList)
    plugins: Sequence[str] = field(default_factory=FrozenList)
    seed: Seed = 0
    name: str = 'experiment'


MISFITS = ('unknown-key', 'wrong-value')  # codes of errors whose key can be ignored, to check the rest
SETTINGS = {
    'images': ImageSettings, 'training': TrainingSettings, 'losses': LossSettings, 'evaluation': EvaluationSettings
}  # fmt: skip


def typed(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values of `Sections` of a config that was checked."""
    return {
        name: SETTINGS[name](**freeze(value)) if name in SETTINGS else freeze(value) for name, value in config.items()
    }


def _agrees(name: str, given: Any, value: Any) -> bool:
    if name not in SETTINGS:
        return given == value
    return not isinstance(value, SETTINGS[name]) or SETTINGS[name](**given) == value


@section
class Experiment(Sections):
    """The sections of a config, checked, with the components that they name. It cannot be changed.

    Create one with `vireid.load_experiment`, or `from_config`; derive another with `with_overrides`.

    Attributes:
        manager: the plugins that the components come from.
        given: the sections as the config has them, without defaults.
    """

    manager: Manager = field(repr=False, compare=False, kw_only=True)
    given: Mapping[str, Any] = field(repr=False, compare=False, kw_only=True)

    def __post_init__(self) -> None:
        # dataclasses.replace would leave `given` behind, and with it config.yaml
        if differ := [name for name, value in self.given.items() if not _agrees(name, value, getattr(self, name))]:
            raise VireidError(
                f'{", ".join(differ)} of an experiment cannot be replaced by itself',
                todo="derive another experiment: experiment.with_overrides({'training.steps': 5})",
            )

    @classmethod
    def from_config(cls, config: Mapping[str, Any], manager: Manager) -> Experiment:
        """Checks a config against the signatures of all components that it names; builds nothing.

        Raises:
            VireidError: for all that is unknown, missing, of the wrong type or contradictory.
        """
        raise_all(check_config(config, manager))
        return cls.unchecked(config, manager)

    @classmethod
    def unchecked(cls, config: Mapping[str, Any], manager: Manager) -> Experiment:
        """Takes a config that `check_config` has checked."""
        return cls(**typed(config), manager=manager, given=freeze(config))

    def with_overrides(self, values: Mapping[str, Any]) -> Experiment:
        """Returns an experiment with other values, by dotted key: `{'training.steps': 100}`.

        Raises:
            VireidError: if a key or value is not accepted.
        """
        config = self.to_config()
        for key, value in values.items():
            if (name := key.partition('.')[0]) in SETTINGS:
                config.setdefault(name, {})
            set_value(config, key, value)
        return type(self).from_config(config, self.manager)

    def to_config(self) -> dict[str, Any]:
        """Returns the sections as plain values, as written to `config.yaml` and into checkpoints."""
        sections: dict[str, Any] = {
            'losses': {}, 'evaluation': {}, 'loggers': [], 'stages': [], 'requires': [], 'plugins': [],
            'seed': self.seed, 'name': self.name,
        } | thaw(self.given)  # fmt: skip
        return {f.name: sections[f.name] for f in fields(Sections)}

    def build(self, kind: str, section: str, **context: Any) -> Any:
        """Builds the component of one section."""
        return self.manager.components.build(kind, thaw(getattr(self, section)), where=section, **context)

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
        config = {'type': 'CrossModalModel', **thaw(self.model)}
        across = self.losses.across_ranks
        network = self.manager.components.get('models', config['type'], where='model')
        if across and 'across_ranks' not in signature_of(network).parameters:
            raise VireidError(
                f'losses.across_ranks is True and {config["type"]} takes no across_ranks: it cannot gather',
                todo='remove losses.across_ranks, or let the model take it and gather what its losses compare',
                path='losses.across_ranks',
            )
        model = self.manager.components.build(
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
        """Builds the update rule around a model."""
        require_trainable(model)
        return self.build('steps', 'step', model=model, fabric=fabric, components=self.manager.components)

    def build_transform(self, part: str) -> Chain:
        """Builds the transforms `train` or `test`."""
        return self._build_chain(self._transforms(part), f'images.{part}')

    def build_views(self) -> dict[str, tuple[Modality, Chain]]:
        """Builds the transforms of the further views of training images, each with the modality it is a view of."""
        return {
            name: (view.of, self._build_chain(view.train, f'images.views.{name}.train'))
            for name, view in self.images.views.items()
        }

    def _transforms(self, part: str) -> Sequence[Config]:
        return {'train': self.images.train, 'test': self.images.test}[part]

    def _build_chain(self, configs: Sequence[Mapping[str, Any]], where: str) -> Chain:
        build, defaults = self.manager.components.build, {'size': tuple(self.images.size)}
        parts = [build('transforms', thaw(c), where=f'{where}.{i}', defaults=defaults) for i, c in enumerate(configs)]
        return Chain(parts, where)

    def build_reader(
        self,
        part: str,
        samples: Sequence[Sample],
        decode: Callable[[str], Tensor],
        on_progress: Callable[[int, int], None] | None = None,
    ) -> Callable[[str], Tensor]:
        """Builds what turns paths into images for the transforms `train` or `test`; a cache fills itself here.

        Where the config names no reader, that is `decode`: the files are decoded each time.

        A reader may name `samples`, `first` (the part's first transform), `first_config` (what it was built from),
        `decode` (see `data.images.decoder`) and `on_progress`, called with (done, total) images.
        """
        if self.images.reader is None:
            return decode
        size = tuple(self.images.size)
        first = next(iter(self._transforms(part)), {})
        where = f'images.{part}.0'
        return self.manager.components.build(
            'readers',
            thaw(self.images.reader),
            where='images.reader',
            samples=samples,
            first=self.manager.components.build('transforms', thaw(first), where=where, defaults={'size': size}),
            first_config={'size': size, **thaw(first)},
            decode=decode,
            on_progress=on_progress,
        )

    def build_reranker(self) -> Reranker | None:
        """Builds the re-ranker, if one is asked for."""
        config = self.evaluation.rerank
        build = self.manager.components.build
        return None if config is None else build('rerankers', thaw(config), where='evaluation.rerank')

    def build_similarity(self, model: nn.Module) -> Similarity | None:
        """Builds what ranks the gallery instead of cosine, if anything does; it may name the `model`."""
        config = self.evaluation.similarity
        build = self.manager.components.build
        return (
            None if config is None else build('similarities', thaw(config), where='evaluation.similarity', model=model)
        )

    def build_loggers(self) -> list[Any]:
        """Builds the loggers, in order."""
        return [
            self.manager.components.build('loggers', thaw(config), where=f'loggers.{i}')
            for i, config in enumerate(self.loggers)
        ]


def sections() -> Signature:
    """Returns what a config may say, as a signature: its sections, and what each may hold."""
    return Signature('the config', signature_of(Sections).parameters)


def check_config(config: Mapping[str, Any], manager: Manager, filled: Collection[str] = ()) -> list[VireidError]:
    """Finds all that is wrong with a config, without building what it names.

    Args:
        config: its sections.
        manager: the plugins whose components it may name.
        filled: paths that may be missing, since they come from elsewhere, such as `dataset.root` from a flag.
    """
    wanted = config.get('requires', [])
    if isinstance(wanted, (list, tuple)) and (lacking := manager.missing([w for w in wanted if isinstance(w, str)])):
        return lacking  # alone: what is missing explains the names that are not known
    found = check(sections(), config, where='', components=manager.components, filled=filled, noun='section')
    return found + contradictions(config)


@dataclass
class Chain:
    """Transforms one after the other; those that name `modality` are given that of the image.

    Attributes:
        transforms: each maps an image to another.
        where: path of their list in the config.
    """

    transforms: Sequence[Callable[..., Tensor]]
    where: str = ''

    def __post_init__(self) -> None:
        self._told = [names_argument(transform, 'modality') for transform in self.transforms]

    def __call__(self, image: Tensor, modality: Modality | None = None) -> Tensor:
        for position in range(len(self.transforms)):
            image = self.apply(position, image, modality)
        return image

    def apply(self, position: int, image: Tensor, modality: Modality | None = None) -> Tensor:
        """Applies one of them."""
        transform = self.transforms[position]
        return transform(image, modality=modality) if self._told[position] else transform(image)
