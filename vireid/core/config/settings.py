"""The settings that a config's sections hold, their ranges, and what contradicts what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le

from vireid.boundary.image_files import ScaleRaw
from vireid.boundary.paths import LONGEST, is_name
from vireid.core.config.frozen import freeze, section
from vireid.core.errors import VireidError
from vireid.core.registry.schema import Component, Section
from vireid.core.types import MODALITIES

Positive = Annotated[int, Ge(1), Le(10**9)]
Processes = Annotated[int, Ge(1), Le(1024)]
Workers = Annotated[int, Ge(0), Le(1024)]
Pixels = Annotated[int, Ge(1), Le(8192)]
Seed = Annotated[int, Ge(0), Le(2**63 - 1)]


@section
class ViewSettings:
    """A second view of training images, as a modality of its own: the same image, differently augmented.

    Attributes:
        of: the modality whose images are seen again, with their identities and cameras.
        train: transforms of the view, instead of `images.train`.
    """

    of: Literal['visible', 'infrared']
    train: list[Annotated[dict, Component('transforms')]]


@section
class ImageSettings:
    """The `images` section.

    Attributes:
        size: (height, width) in pixels that the network sees; handed to transforms that take a `size`.
        train: transforms of training images, in order; the last ones produce float32.
        test: transforms of test images.
        views: further views of training images, by the name of the auxiliary modality that they make.
        workers: loader processes; None means none on the CPU, and on a GPU one less than the cores, at most 8.
        reader: config of a component among `readers`, such as a cache; None decodes the files each time.
        on_bad_image: what a training image that cannot be read does: `stop` the run, or `skip`: another one of the
            same identity and modality replaces it, and the result counts them. Scoring always stops.
        check: what is made sure of before the first step: that the `files` of all images are there, have bytes and
            may be read, unless a `reader` stands before them; that all `images` can be decoded, which takes minutes;
            or `nothing`. Unless it is `nothing`, no image may be both trained on and scored, or be its own match.
        max_pixels: a larger image is refused before it is decoded, which takes up to 20 bytes a pixel.
        scale_raw: how grey values of more than 8 bits, such as thermal counts or degrees, become grey levels: the
            `percentiles` 1 and 99 of each image, or (low, high) of all images, are black and white. None refuses them.
    """

    size: tuple[Pixels, Pixels]
    train: list[Annotated[dict, Component('transforms')]]
    test: list[Annotated[dict, Component('transforms')]]
    views: dict[str, Annotated[ViewSettings, Section(ViewSettings)]] = field(default_factory=dict)
    workers: Workers | None = None
    reader: Annotated[dict | None, Component('readers')] = None
    on_bad_image: Literal['stop', 'skip'] = 'stop'
    check: Literal['files', 'images', 'nothing'] = 'files'
    max_pixels: Positive = 32_000_000
    scale_raw: ScaleRaw = None

    def __post_init__(self) -> None:
        views = {
            name: view if isinstance(view, ViewSettings) else ViewSettings(**view) for name, view in self.views.items()
        }
        object.__setattr__(self, 'views', freeze(views))
        object.__setattr__(self, 'size', tuple(self.size))
        if isinstance(self.scale_raw, list):
            object.__setattr__(self, 'scale_raw', tuple(self.scale_raw))


@section
class LossSettings:
    """The `losses` section.

    Attributes:
        across_ranks: with several processes, necks, heads and losses see the images of all of them, with gradients:
            what the backbone makes is gathered. By default each process sees its own.
    """

    across_ranks: bool = False


@section
class TrainingSettings:
    """The `training` section.

    Attributes:
        epochs: length of the run in epochs; give this or `steps`.
        steps: length of the run in steps.
        precision: of training, as lightning-fabric names it; `16-mixed` needs a GPU. `auto` is `bf16-mixed` on hardware
            that computes bf16 by itself, and rightly, else `32-true`; see `launch/bf16_trial.py`. Scoring is float32.
        accelerator: `auto`, `cpu`, `cuda` and whatever else lightning-fabric knows.
        devices: how many on this machine, or `auto`.
        nodes: machines; each is started by torchrun or Slurm, with as many processes as `devices`.
        strategy: of several processes: `ddp`, where each has all weights. `auto` is `ddp` if there are several.
        evaluate_every: epochs between evaluations; the run always ends with one. None: only then.
        checkpoint_every: steps between checkpoints, besides the one at each epoch's end. None: only those.
        sync_batchnorm: with several processes, BatchNorm sees the images of all of them.
        compile: let torch compile the model's training pass; where that fails, it is run as it is, and that is said.
        init: checkpoint whose weights the model is initialised with; the run is a new one. `--init` of the command.
        init_partial: of `init`, take what fits, and say how much that is.
        freeze: name patterns of what is not trained, such as 'backbone.*'; BatchNorm's statistics stay too.
        keep: how many checkpoints there are: `last.pt`, and before it `last-1.pt` and so on, for when it is damaged.
    """

    epochs: Positive | None = None
    steps: Positive | None = None
    precision: Literal['auto', '32-true', 'bf16-mixed', '16-mixed'] = '32-true'
    accelerator: Literal['auto', 'cpu', 'cuda', 'gpu', 'mps', 'tpu'] = 'auto'
    devices: Processes | Literal['auto'] = 1
    nodes: Processes = 1
    strategy: str = 'auto'
    evaluate_every: Positive | None = None
    checkpoint_every: Positive | None = None
    init: str | None = None
    init_partial: bool = False
    freeze: list[str] = field(default_factory=list)
    keep: Annotated[int, Ge(1), Le(100)] = 2
    sync_batchnorm: bool = False
    compile: bool = False

    def total_steps(self, steps_per_epoch: int) -> int:
        """Length of the run in steps."""
        return self.steps if self.steps is not None else (self.epochs or 0) * steps_per_epoch


@section
class EvaluationSettings:
    """The `evaluation` section.

    Attributes:
        batch_size: images embedded at a time.
        similarity: config of a component among `similarities`, which ranks the gallery instead of cosine; None is that.
        flip: also score, beside the plain row, embeddings averaged with those of the mirror images.
        rerank: config of a component among `rerankers`, whose metrics are printed beside the plain ones.
        ties: metrics of equally similar images are the `mean` over all their orders; or those of `gallery-order`, which
            the field's code computes, and which the protocol's name then says.
        select: the weights that the run ends with: `last`; those best on the dataset's `val` split (`validation`); or
            those best on trial 0 of the test (`test`), which is what most published metrics are.
        select_by: the metric of the protocol's first row that `select` goes by.
        before_training: score the model before its first step too: it is one of those that `select` chooses from, and
            is kept unless training is better.
    """

    batch_size: Positive = 64
    similarity: Annotated[dict | None, Component('similarities')] = None
    flip: bool = False
    rerank: Annotated[dict | None, Component('rerankers')] = None
    ties: Literal['mean', 'gallery-order'] = 'mean'
    select: Literal['last', 'validation', 'test'] = 'last'
    select_by: Literal['R1', 'R5', 'R10', 'R20', 'mAP', 'mINP'] = 'R1'
    before_training: bool = False


def contradictions(config: Mapping[str, Any]) -> list[VireidError]:
    """Finds settings that contradict each other, or that are not offered any more; what is mistyped is passed over."""

    def at(section: str, key: str, default: Any = None) -> Any:
        values = config.get(section)
        return values.get(key, default) if isinstance(values, Mapping) else default

    problems = []
    name = config.get('name', 'experiment')
    if isinstance(name, str) and not is_name(name):
        text = f'name is {name!r}, and the folder of the run is called that'
        allowed = f'up to {LONGEST} characters that can name a folder on any system: no / \\ : * ? " < > |'
        todo = "set name='my_run', or rename the config file"
        problems.append(VireidError(text, allowed=allowed, todo=todo, path='name'))
    epochs, steps = at('training', 'epochs'), at('training', 'steps')
    if isinstance(config.get('training'), Mapping) and (epochs is None) == (steps is None):
        text = f'training: epochs is {epochs} and steps is {steps}'
        problems.append(VireidError(text, allowed='exactly one of the two', todo='set one to None'))
    several = at('training', 'evaluate_every') is not None or at('evaluation', 'before_training', False)
    if at('evaluation', 'select', 'last') in ('validation', 'test') and not several:
        problems.append(
            VireidError(
                f'evaluation.select is {config["evaluation"]["select"]!r} and training.evaluate_every is None: '
                'there is nothing to choose from',
                todo='say every how many epochs to score: training.evaluate_every=2; or score the model before '
                'training too: evaluation.before_training=True',
                path='evaluation.select',
            )
        )
    if at('evaluation', 'before_training', False) and at('evaluation', 'select', 'last') == 'last':
        text = (
            "evaluation.before_training is True and evaluation.select is 'last': the last weights are kept in any case"
        )
        todo = "choose the better ones: evaluation.select='validation'; or take evaluation.before_training away"
        problems.append(VireidError(text, todo=todo))
    views, reader, first = at('images', 'views', {}), at('images', 'reader'), at('images', 'train')
    for name, view in views.items() if isinstance(views, Mapping) else ():
        if name in MODALITIES:
            text = f'images.views.{name}: {name} images are there already'
            problems.append(VireidError(text, todo='give the view another name'))
        begins = view.get('train') if isinstance(view, Mapping) else None
        if reader is not None and isinstance(begins, list) and isinstance(first, list) and begins[:1] != first[:1]:
            given = f'images.views.{name}.train.0 is {(begins or [None])[0]!r}'
            text = f'{given}, and images.reader keeps images as images.train.0 makes them'
            problems.append(VireidError(text, todo='begin with the same transform, or take the reader (--cache) away'))
    bounds = at('images', 'scale_raw')
    numbers = [b for b in bounds if isinstance(b, (int, float))] if isinstance(bounds, (list, tuple)) else []
    if len(numbers) == 2 and not numbers[0] < numbers[1]:
        text = f'images.scale_raw is {numbers}'
        problems.append(VireidError(text, allowed='[LOW,HIGH], the values that become black and white: LOW < HIGH'))
    if config.get('stages') and at('training', 'init') is not None:
        text = f'training.init is {at("training", "init")!r}, and stages give the initial weights'
        problems.append(VireidError(text, todo='take one of them away'))
    strategy = at('training', 'strategy', 'auto')
    if isinstance(strategy, str) and strategy not in ('auto', 'ddp'):
        why = ': no network of this field outgrows a GPU, so nothing is sharded' if strategy == 'fsdp' else ''
        text = f'training.strategy is {strategy!r}{why}'
        problems.append(VireidError(text, allowed="'auto', 'ddp'", todo="training.strategy='ddp'"))
    return problems
