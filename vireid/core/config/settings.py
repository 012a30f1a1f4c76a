"""The settings in each section of a config, their ranges, and checks for contradictions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le

from vireid.boundary.image_files import ScaleRaw
from vireid.boundary.paths import MAX_LENGTH, is_name
from vireid.core.config.frozen import freeze, section
from vireid.core.epochs import Epochs
from vireid.core.registry.schema import Component, Section
from vireid.core.types import MODALITIES
from vireid.errors import Conflict, MissingKey, VireidError, WrongValue

Positive = Annotated[int, Ge(1), Le(10**9)]
Processes = Annotated[int, Ge(1), Le(1024)]
Workers = Annotated[int, Ge(0), Le(1024)]
Pixels = Annotated[int, Ge(1), Le(8192)]
Seed = Annotated[int, Ge(0), Le(2**63 - 1)]


@section
class ViewSettings:
    """An additional view of training images, as an auxiliary modality: the same image with other augmentation.

    Attributes:
        of: the modality whose images are viewed again, with their identities and cameras.
        train: transforms of the view, in place of `images.train`.
    """

    of: Literal['visible', 'infrared']
    train: list[Annotated[dict, Component('transforms', epochs=Epochs | None)]]


@section
class ImageSettings:
    """The `images` section.

    Attributes:
        size: (height, width) of the network's input in pixels; passed to transforms that take a `size`.
        train: transforms of training images, in order; the output must be float32. A transform with `epochs=(6, None)`
            is applied only from epoch 6 on, counted from 0; with `(0, 6)`, in the first six.
        test: transforms of test images.
        views: additional views of training images, by the name of the auxiliary modality they form.
        workers: loader processes; None means 0 on the CPU, and on a GPU the number of cores minus 1, at most 8.
        on_device: send training images to the device as uint8, and apply `ToFloat` and the transforms after it there.
            Random transforms draw different numbers than in the loader, from the same distribution.
        reader: config of a reader component, such as a cache; None decodes the files each time.
        on_bad_image: what to do if a training image cannot be read: `stop` the run, or `skip` it, which uses another
            image of the same identity and modality and counts it in the result. Evaluation always stops.
        check: what to check before the first step: that all image `files` exist, are not empty and are readable
            (skipped if there is a `reader`); that all `images` can be decoded, which takes minutes; or `nothing`.
            Unless it is `nothing`, no image may be both trained on and scored, or be its own match.
        max_pixels: larger images are rejected before decoding, which takes up to 20 bytes per pixel.
        scale_raw: how to map gray values of more than 8 bits, such as thermal counts or degrees, to black and white:
            the `percentiles` 1 and 99 of each image, or fixed (low, high) values. None rejects such images.
    """

    size: tuple[Pixels, Pixels]
    train: list[Annotated[dict, Component('transforms', epochs=Epochs | None)]]
    test: list[Annotated[dict, Component('transforms')]]
    views: dict[str, Annotated[ViewSettings, Section(ViewSettings)]] = field(default_factory=dict)
    workers: Workers | None = None
    on_device: bool = False
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
        across_ranks: with several processes, gather the backbone's features, with gradients, so that necks, heads and
            losses see the images of all processes. By default each process sees its own.
    """

    across_ranks: bool = False


@section
class TrainingSettings:
    """The `training` section.

    Attributes:
        epochs: length of the run in epochs; set this or `steps`.
        steps: length of the run in steps; after 0 steps, the initial model is fitted and scored.
        precision: training precision in lightning-fabric's terms; `16-mixed` needs a GPU. `auto` is `bf16-mixed` on
            hardware with native and correct bf16, else `32-true`; see `launch/bf16_check.py`. Evaluation has its own.
        accelerator: one of lightning-fabric's accelerators, or `auto`.
        devices: number of devices on this machine, or `auto`.
        nodes: number of machines; start each with torchrun or Slurm, with one process per device.
        strategy: how several processes train: `ddp`, where each has all weights. `auto` is `ddp` if there are several.
        evaluate_every: epochs between evaluations; a run always ends with one. None: only that one.
        checkpoint_every: steps between checkpoints, besides the one after each epoch. None: only those.
        sync_batchnorm: with several processes, BatchNorm uses the images of all of them.
        memory_format: memory format of the weights of convolutions: `contiguous` or `channels_last`. `auto` is
            `channels_last` on a CPU, and on a GPU in half precision; it is not timed, so that the same command gives
            the same numbers. The format changes rounding, so a resumed run keeps it.
        compile: compile the model's training pass with torch; if that fails, warn and run it uncompiled.
        init: checkpoint to initialize a new run from; same as the flag `--init`.
        init_partial: load only the matching weights of `init` and report coverage.
        init_except: name patterns of tensors that start afresh instead of from `init`, such as 'tasks.critic.*'; either
            network may lack them.
        freeze: name patterns of modules and parameters that are not trained, such as 'backbone.*'; BatchNorm
            statistics are frozen too.
        keep: number of checkpoints to keep: `last.pt`, and earlier ones as `last-1.pt` and so on in case of damage.
    """

    epochs: Positive | None = None
    steps: Annotated[int, Ge(0), Le(10**9)] | None = None
    precision: Literal['auto', '32-true', 'bf16-mixed', '16-mixed'] = '32-true'
    accelerator: Literal['auto', 'cpu', 'cuda', 'gpu', 'mps', 'tpu'] = 'auto'
    devices: Processes | Literal['auto'] = 1
    nodes: Processes = 1
    strategy: str = 'auto'
    evaluate_every: Positive | None = None
    checkpoint_every: Positive | None = None
    init: str | None = None
    init_partial: bool = False
    init_except: list[str] = field(default_factory=list)
    freeze: list[str] = field(default_factory=list)
    keep: Annotated[int, Ge(1), Le(100)] = 2
    sync_batchnorm: bool = False
    memory_format: Literal['auto', 'contiguous', 'channels_last'] = 'auto'
    compile: bool = False

    def total_steps(self, steps_per_epoch: int) -> int:
        """Returns the length of the run in steps."""
        return self.steps if self.steps is not None else (self.epochs or 0) * steps_per_epoch


@section
class EvaluationSettings:
    """The `evaluation` section.

    Attributes:
        batch_size: images per batch.
        precision: precision of the embeddings: `bf16-mixed` is faster on hardware with bf16, changes metrics slightly,
            and is added to the protocol's name.
        similarity: config of a similarity component to rank the gallery with; None is cosine similarity.
        flip: also report flip test-time augmentation: embeddings averaged with those of the mirrored images.
        rerank: config of a re-ranker component, whose metrics are reported in an additional row.
        ties: how to score equally similar images: the `mean` over all their orders, or in `gallery-order`, as most
            published code does; the latter is added to the protocol's name.
        select: the final weights: the `last` ones, the best on the dataset's `val` split (`validation`), or the best on
            trial 0 of the test split (`test`), which is what most published metrics are.
        select_by: the metric that `select` maximizes, from the first row of the table.
        before_training: also score the model before the first step, as a candidate for `select` that is kept unless
            training improves on it.
    """

    batch_size: Positive = 64
    precision: Literal['32-true', 'bf16-mixed'] = '32-true'
    similarity: Annotated[dict | None, Component('similarities')] = None
    flip: bool = False
    rerank: Annotated[dict | None, Component('rerankers')] = None
    ties: Literal['mean', 'gallery-order'] = 'mean'
    select: Literal['last', 'validation', 'test'] = 'last'
    select_by: Literal['R1', 'R5', 'R10', 'R20', 'mAP', 'mINP'] = 'R1'
    before_training: bool = False


def contradictions(config: Mapping[str, Any]) -> list[VireidError]:
    """Returns an error for each contradiction between settings; skips values of the wrong type."""

    def at(section: str, key: str, default: Any = None) -> Any:
        values = config.get(section)
        return values.get(key, default) if isinstance(values, Mapping) else default

    problems: list[VireidError] = []
    name = config.get('name', 'experiment')
    if isinstance(name, str) and not is_name(name):
        text = f'name is {name!r}, which is not a valid folder name'
        allowed = f'up to {MAX_LENGTH} characters that are valid in folder names on all systems: no / \\ : * ? " < > |'
        todo = "set name='my_run', or rename the config file"
        problems.append(WrongValue(text, allowed=allowed, todo=todo, path='name'))
    epochs, steps = at('training', 'epochs'), at('training', 'steps')
    if isinstance(config.get('training'), Mapping) and (epochs is None) == (steps is None):
        text = f'training: epochs is {epochs} and steps is {steps}'
        problems.append(Conflict(text, allowed='exactly one of them', todo='set one to None'))
    several = at('training', 'evaluate_every') is not None or at('evaluation', 'before_training', False)
    if at('evaluation', 'select', 'last') in ('validation', 'test') and not several:
        problems.append(
            MissingKey(
                f'evaluation.select is {config["evaluation"]["select"]!r} but training.evaluate_every is None, so '
                'there is nothing to select from',
                todo='set the number of epochs between evaluations: training.evaluate_every=2; or also score the model '
                'before training: evaluation.before_training=True',
                path='evaluation.select',
            )
        )
    if at('evaluation', 'before_training', False) and at('evaluation', 'select', 'last') == 'last':
        text = "evaluation.before_training is True but evaluation.select is 'last', which always keeps the last weights"
        todo = "keep the best weights: evaluation.select='validation'; or remove evaluation.before_training"
        problems.append(Conflict(text, todo=todo))
    views, reader, first = at('images', 'views', {}), at('images', 'reader'), at('images', 'train')
    for name, view in views.items() if isinstance(views, Mapping) else ():
        if name in MODALITIES:
            text = f'images.views.{name}: {name} is the name of an existing modality'
            problems.append(WrongValue(text, todo='choose another name for the view'))
        begins = view.get('train') if isinstance(view, Mapping) else None
        if reader is not None and isinstance(begins, list) and isinstance(first, list) and begins[:1] != first[:1]:
            given = f'images.views.{name}.train.0 is {(begins or [None])[0]!r}'
            text = f'{given}, but images.reader stores the output of images.train.0'
            problems.append(Conflict(text, todo='start with the same transform, or remove the reader (--cache)'))
    bounds = at('images', 'scale_raw')
    numbers = [b for b in bounds if isinstance(b, (int, float))] if isinstance(bounds, (list, tuple)) else []
    if len(numbers) == 2 and not numbers[0] < numbers[1]:
        text = f'images.scale_raw is {numbers}'
        problems.append(WrongValue(text, allowed='[LOW,HIGH] with LOW < HIGH, the values mapped to black and white'))
    if config.get('stages') and at('training', 'init') is not None:
        text = f'training.init is {at("training", "init")!r}, but stages already provide the initial weights'
        problems.append(Conflict(text, todo='remove one of them'))
    if config.get('refit') is not None:
        select = at('evaluation', 'select', 'last')
        if config.get('stages'):
            problems.append(Conflict('refit and stages cannot be combined', todo='remove one of them', path='refit'))
        elif select != 'validation':
            text = f'refit needs a number of steps selected on validation people, but evaluation.select is {select!r}'
            todo = "set evaluation.select='validation', or refit=None"
            problems.append(Conflict(text, todo=todo, path='refit'))
    if at('training', 'init_partial', False) and at('training', 'init') is None and not config.get('stages'):
        text = 'training.init_partial is True, but there are no initial weights'
        todo = 'name them: --init FILE, or training.init; or remove --partial (training.init_partial)'
        problems.append(MissingKey(text, todo=todo, path='training.init_partial'))
    strategy = at('training', 'strategy', 'auto')
    if isinstance(strategy, str) and strategy not in ('auto', 'ddp'):
        why = ': sharding is not supported; networks in this field fit on one GPU' if strategy == 'fsdp' else ''
        text = f'training.strategy is {strategy!r}{why}'
        problems.append(WrongValue(text, allowed="'auto', 'ddp'", todo="training.strategy='ddp'"))
    return problems
