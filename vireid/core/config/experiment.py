"""An experiment: a config's sections, checked, and each built on demand."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Annotated, Any

from vireid.core.config.freezing import freeze
from vireid.core.config.settings import (
    EvaluationSettings,
    ImageSettings,
    LossSettings,
    Seed,
    TrainingSettings,
    contradictions,
)
from vireid.core.errors import VireidError, raise_all
from vireid.core.registry.contracts import require_trainable
from vireid.core.registry.manager import Manager
from vireid.core.registry.schema import Component, Section, check
from vireid.core.registry.signature import Signature, names_argument, signature_of
from vireid.core.types import MODALITIES, Dataset, EvaluationProtocol, Modality, Reranker, Sample, Sampler, Similarity

if TYPE_CHECKING:  # sections can be read without torch
    from torch import Tensor, nn


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
        stages: config files that are trained before, one after the other, each with the weights of the one before it;
            this one begins with the last one's.
        requires: packages with components of this config, such as `vireid-gated-fusion>=0.1`; checked first.
        plugins: Python files that bring components of this config; a record: whoever makes the `manager` loads them.
        seed: of weights, batches and augmentation, from 0.
        name: what the run is called; set from the config's file name.
    """

    dataset: Annotated[dict, Component('datasets')]
    protocol: Annotated[dict, Component('protocols')]
    images: Annotated[dict, Section(ImageSettings)]
    sampler: Annotated[dict, Component('samplers')]
    model: Annotated[dict, Component('models', default='CrossModalModel')]
    step: Annotated[dict, Component('steps')]
    training: Annotated[dict, Section(TrainingSettings)]
    losses: Annotated[dict, Section(LossSettings)] = field(default_factory=dict)
    evaluation: Annotated[dict, Section(EvaluationSettings)] = field(default_factory=dict)
    loggers: list[Annotated[dict, Component('loggers')]] = field(default_factory=list)
    stages: list[str] = field(default_factory=list)
    requires: list[str] = field(default_factory=list)
    plugins: list[str] = field(default_factory=list)
    seed: Seed = 0
    name: str = 'experiment'
    manager: Manager = field(repr=False, kw_only=True)

    @classmethod
    def from_config(cls, config: Mapping[str, Any], manager: Manager) -> Experiment:
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
        model = self.manager.components.get('models', config['type'], where='model')
        if across and 'across_ranks' not in signature_of(model).parameters:
            raise VireidError(
                f'losses.across_ranks is True and {config["type"]} takes no across_ranks: it cannot gather',
                todo='take losses.across_ranks away, or let the model take it and gather what its losses compare',
            )
        made = self.manager.components.build(
            'models',
            config,
            where='model',
            num_identities=num_identities,
            pretrained=pretrained,
            image_size=tuple(self.image_settings.size),
            modalities=dict.fromkeys((*MODALITIES, *self.image_settings.views), 3),
            training=self.training_settings,
            across_ranks=across,
            steps_per_epoch=steps_per_epoch,
        )
        freeze(made, self.training_settings.freeze)
        return made

    def build_step(self, model: nn.Module, fabric: Any) -> Any:
        """Builds the update rule around a model."""
        require_trainable(model)
        return self.build('steps', 'step', model=model, fabric=fabric, components=self.manager.components)

    def build_transform(self, part: str) -> Chain:
        """Builds the transforms `train` or `test`."""
        return self._build_chain(self.images[part], f'images.{part}')

    def build_views(self) -> dict[str, tuple[Modality, Chain]]:
        """Builds the transforms of the further views of training images, each with the modality it is a view of."""
        return {
            name: (view['of'], self._build_chain(view['train'], f'images.views.{name}.train'))
            for name, view in self.image_settings.views.items()
        }

    def _build_chain(self, configs: Sequence[Mapping[str, Any]], where: str) -> Chain:
        build, defaults = self.manager.components.build, {'size': tuple(self.image_settings.size)}
        parts = [build('transforms', c, where=f'{where}.{i}', defaults=defaults) for i, c in enumerate(configs)]
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
        if self.image_settings.reader is None:
            return decode
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
            decode=decode,
            on_progress=on_progress,
        )

    def build_reranker(self) -> Reranker | None:
        """Builds the re-ranker, if one is asked for."""
        config = self.evaluation_settings.rerank
        build = self.manager.components.build
        return None if config is None else build('rerankers', config, where='evaluation.rerank')

    def build_similarity(self, model: nn.Module) -> Similarity | None:
        """Builds what ranks the gallery instead of cosine, if anything does; it may name the `model`."""
        config = self.evaluation_settings.similarity
        build = self.manager.components.build
        return None if config is None else build('similarities', config, where='evaluation.similarity', model=model)

    def build_loggers(self) -> list[Any]:
        """Builds the loggers, in order."""
        return [
            self.manager.components.build('loggers', config, where=f'loggers.{i}')
            for i, config in enumerate(self.loggers)
        ]


def sections() -> Signature:
    """Returns what a config may say, as a signature: its sections, and what each may hold."""
    found = signature_of(Experiment).parameters
    return Signature('the config', {n: p for n, p in found.items() if n != 'manager'})


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
