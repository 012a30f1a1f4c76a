"""Contract checks for the parts of a model."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from vireid.core.registry.contracts import described
from vireid.core.registry.signature import named_arguments, names_argument
from vireid.core.types import INFRARED, MODALITIES, VISIBLE, Batch, Context, FeatureSpec, HeadOutput, Progress
from vireid.errors import VireidError
from vireid.interfaces import Head, Loss, Neck, Translator
from vireid.testing.promises import Broken, Builder, check_network, require

PERSONS, PICTURES, CHANNELS, SIZE = 4, 2, 16, (64, 32)
COUNT = PERSONS * PICTURES  # of each modality
CONTEXT: dict[str, Any] = {
    'num_identities': PERSONS,
    'pretrained': False,
    'image_size': SIZE,
    'modalities': dict.fromkeys(MODALITIES, 3),
    'training': None,
    'steps_per_epoch': 5,
}
PROGRESS = Progress(9, 47, 5, 50)  # near the end, so that every schedule has started
_VECTOR = FeatureSpec(CHANNELS)
_MAP = FeatureSpec(CHANNELS, 'map', size=(6, 3))
# inputs of a neck or head; at least one has to fit
INPUTS = ((_VECTOR,), (_MAP,), (_VECTOR,) * 2, (_MAP,) * 2, (_VECTOR,) * 3)


def _feature(spec: FeatureSpec, count: int = 2 * COUNT) -> Any:
    """Returns a random feature that requires a gradient, as the output of a network does."""
    shape = (spec.channels,) if spec.kind == 'vector' else (spec.channels, *(spec.size or (6, 3)))
    if spec.layout == 'joint':
        return torch.randn(count, *shape, requires_grad=True)
    return {m: torch.randn(count // 2, *shape, requires_grad=True) for m in MODALITIES}


def _require_spec(value: Any, spec: FeatureSpec, count: int) -> None:
    """Compares a feature with its declaration."""
    require(isinstance(spec, FeatureSpec), f'its declared output is {spec!r}, not a FeatureSpec')
    joint = isinstance(value, Tensor)
    require(
        joint == (spec.layout == 'joint'), f'it declares a {spec.layout} feature but outputs a {type(value).__name__}'
    )
    count *= spec.copies
    for tensor, rows in [(value, count)] if joint else [(t, count // 2) for t in value.values()]:
        require(
            tensor.dim() == (2 if spec.kind == 'vector' else 4),
            f'it declares a {spec.kind} but outputs {tuple(tensor.shape)}',
        )
        require(
            tensor.shape[:2] == (rows, spec.channels),
            f'it declares {spec.channels} channels and {rows} rows but outputs {tuple(tensor.shape)}',
        )
        if spec.kind == 'map' and spec.size is not None:
            require(
                tensor.shape[2:] == spec.size, f'it declares a map of {spec.size} but outputs {tuple(tensor.shape)}'
            )


def _fitting(build: Builder) -> list[tuple[FeatureSpec, ...]]:
    """Returns the inputs that the component accepts."""
    if build.inputs is not None:
        return [tuple(build.inputs)]
    layout = Neck.layout(build.target)
    fitting, reasons = [], []
    for inputs in INPUTS:
        specs = tuple(
            FeatureSpec(s.channels, s.kind, 'paired' if layout == 'paired' else 'joint', s.size) for s in inputs
        )
        try:
            build(inputs=specs, **CONTEXT)
            fitting.append(specs)
        except VireidError as error:
            reasons.append(f'{error.given} (allowed: {error.allowed})' if error.allowed else error.given)
    require(fitting, f'it accepts none of a vector, a map, two or three of them: {reasons[0] if reasons else ""}')
    return fitting


def _labels() -> Tensor:
    return torch.arange(PERSONS).repeat_interleave(PICTURES)


def _check_neck(build: Builder) -> None:
    for specs in _fitting(build):
        _check_neck_on(build, specs)


def _check_neck_on(build: Builder, specs: tuple[FeatureSpec, ...]) -> None:
    training = Context(dict.fromkeys(MODALITIES, COUNT), torch.cat([_labels(), _labels()]))
    features = [_feature(spec) for spec in specs]

    def make() -> Any:
        return build(inputs=specs, **CONTEXT)

    def run(neck: Any) -> Any:
        labelled = neck.training or neck_train_only
        known = {'progress': PROGRESS if neck.training else None} if names_argument(neck, 'progress') else {}
        return neck(*features, context=training if labelled else Context(training.counts, None), **known)

    neck = make()
    neck_train_only = Neck.train_only(neck)
    output = check_network(neck, run, make)
    _require_spec(output, neck.output, 2 * COUNT)
    if neck_train_only:
        return
    # evaluation embeds one modality at a time
    alone = [f.detach()[:COUNT] if isinstance(f, Tensor) else {INFRARED: f[INFRARED].detach()} for f in features]
    with torch.no_grad():
        embedded = neck.eval()(*alone, context=Context({INFRARED: COUNT}, None))
    count, needed = len(embedded if isinstance(embedded, Tensor) else embedded[INFRARED]), COUNT * neck.output.copies
    require(count == needed, f'{COUNT} images of one modality become {count} rows, but it declares {needed}')


def _check_head(build: Builder) -> None:
    for specs in _fitting(build):
        _check_head_on(build, specs)


def _check_head_on(build: Builder, specs: tuple[FeatureSpec, ...]) -> None:
    features = [_feature(spec) for spec in specs]

    def make() -> Any:
        return build(inputs=specs, **CONTEXT)

    head = make()
    output = check_network(head, lambda module: module(*features, **_known(module)), make)
    outputs = {'global': output} if isinstance(output, HeadOutput) else output
    declared = dict(Head.outputs(head))
    require(list(outputs) == list(declared), f'it declares the outputs {list(declared)} but returns {list(outputs)}')
    for name, head_output in outputs.items() if Head.layout(head) == 'joint' else ():
        needed = (2 * COUNT, *((declared[name],) if declared[name] else ()))
        shape = tuple(head_output.feature.shape)
        require(shape[:-1] == needed, f'its output {name!r} has a feature of shape {shape}, not (*{needed}, length)')
        if head_output.logits is not None:
            shape = tuple(head_output.logits.shape)
            require(shape == (*needed, PERSONS), f'its output {name!r} has logits {shape}, not {(*needed, PERSONS)}')
    if Head.train_only(head):
        return
    with torch.no_grad():
        shape = tuple(head.eval().embed(*[f.detach() for f in features]).shape)
    require(
        shape == (2 * COUNT, head.embedding_dim), f'embed returns {shape} but embedding_dim is {head.embedding_dim}'
    )


def _check_pooling(build: Builder) -> None:
    pooled = _feature(_MAP)
    output = check_network(build(**CONTEXT), lambda m: m(pooled), lambda: build(**CONTEXT))
    require(
        tuple(output.shape) == (2 * COUNT, CHANNELS), f'a map of {tuple(pooled.shape)} becomes {tuple(output.shape)}'
    )


def _check_loss(build: Builder) -> None:
    copies = Loss.least_copies(build(**CONTEXT))
    labels = torch.cat([_labels(), _labels()]).repeat_interleave(copies)
    if build.inputs is not None:
        _check_loss_on(build, build.inputs, labels)
        return
    several = (3,) if Loss.reads_parts(build.target) else ()
    for parts in dict.fromkeys(((), several)):  # without parts first: only what then fails is due to parts
        feature = torch.randn(len(labels), *parts, CHANNELS, requires_grad=True)
        given = HeadOutput(feature, torch.randn(len(labels), *parts, PERSONS, requires_grad=True))
        try:
            _check_loss_on(build, given, labels)
        except Exception as error:  # a loss may raise anything
            if not parts:
                raise
            message = str(error) if isinstance(error, Broken) else f'{type(error).__name__}: {error}'
            raise Broken(
                f'with features of {parts[0]} parts, {tuple(feature.shape)}: {message}; '
                'set reads_parts = False if it needs one vector per image'
            ) from error


def _check_loss_on(build: Builder, given: HeadOutput, labels: Tensor) -> None:
    loss = check_network(build(**CONTEXT), partial(_call_loss, given, labels), lambda: build(**CONTEXT))
    require(loss.dim() == 0, f'it returns shape {tuple(loss.shape)}, not a scalar')
    logits = None if given.logits is None else given.logits.detach().double()
    _require_double(_call_loss(HeadOutput(given.feature.detach().double(), logits), labels, build(**CONTEXT).double()))


def _require_double(value: Tensor) -> None:
    require(value.dtype == torch.float64, f'it turns float64 into {value.dtype}: promote only half precision')


def _call_loss(given: HeadOutput, labels: Tensor, loss: Any) -> Tensor:
    value: Tensor = loss(given, labels, **_known(loss, Loss.least_copies(loss)))
    require(isinstance(value, Tensor), f'it returns {described(value)}, not a tensor of one number')
    return value


def _known(part: Any, copies: int = 1) -> dict[str, Any]:
    """Returns the `context` and `progress` arguments if a head or loss has them."""
    cameras = torch.arange(2 * COUNT) % 3 + 1
    context = Context(dict.fromkeys(MODALITIES, COUNT), torch.cat([_labels(), _labels()]), cameras).copied(copies)
    known = {'context': context, 'progress': PROGRESS}
    return {name: known[name] for name in named_arguments(part, *known)}


def _check_weighter(build: Builder) -> None:
    names = ('first', 'second')
    given = {name: torch.tensor(2.0 + n, requires_grad=True) for n, name in enumerate(names)}

    def make() -> Any:
        return build(task_names=names, other_tasks=(), **CONTEXT)

    output = check_network(make(), lambda m: m(dict(given), PROGRESS), make)
    total, weights = output
    require(total.dim() == 0, f'its total has shape {tuple(total.shape)}, not a scalar')
    require(list(weights) == list(names), f'it weights {list(weights)}, but the tasks are {list(names)}')
    _require_double(make().double()({name: loss.detach().double() for name, loss in given.items()}, PROGRESS)[0])
    try:  # outside the epochs of its losses, a task is absent
        some = list(make()({'second': given['second']}, PROGRESS)[1])
    except KeyError as error:
        some = [f'nothing: KeyError {error}']
    require(
        some == ['second'], f'of the two tasks, it receives only the second, and weights {some[0] if some else "none"}'
    )


def _check_translator(build: Builder) -> None:
    images = {m: torch.randn(COUNT, 3, *SIZE, requires_grad=True) for m in MODALITIES}
    labels = {m: _labels() for m in MODALITIES}
    translator = build(**CONTEXT)
    maps = Translator.maps(translator)

    def run(module: Any) -> dict[str, Any]:
        known = {'progress': PROGRESS, 'needed': set(maps)}
        named = {name: known[name] for name in named_arguments(module, *known)}
        batch = module(Batch(dict(images), dict(labels)), **named)
        return {'images': batch.images, **{name: batch.maps.get(name, {}) for name in maps}}

    output = check_network(translator, run, lambda: build(**CONTEXT))
    channels = {m: image.shape[1] for m, image in output['images'].items()}
    require(channels == dict(translator.modalities), f'it declares {translator.modalities} but outputs {channels}')
    for name, spec in maps.items():
        require(output[name], f'it declares the map {name!r} but does not add it to batch.maps')
        require(spec.layout == 'paired', f'its map {name!r} is declared as {spec.layout}, not paired')
        _require_spec(output[name], spec, 2 * COUNT)
    if not Translator.train_only(translator):
        with torch.no_grad():
            alone = translator.eval()(Batch({INFRARED: images[INFRARED].detach()}, {})).images
        require(set(alone) == {INFRARED}, f'infrared images alone become {", ".join(alone)}, but it is not train_only')


def _check_backbone(build: Builder) -> None:
    def make() -> Any:
        return build(**CONTEXT)

    images = {m: torch.randn(COUNT, 3, *SIZE, requires_grad=True) for m in MODALITIES}
    network = make()
    output = check_network(network, lambda m: m(dict(images)), make)
    require(list(output) == list(network.outputs), f'it declares {list(network.outputs)} but outputs {list(output)}')
    for name, spec in network.outputs.items():
        _require_spec(output[name], spec, 2 * COUNT)
    with torch.no_grad():
        alone = network.eval()({VISIBLE: images[VISIBLE].detach()})
    require(list(alone) == list(network.outputs), 'a single modality gives other features')


CHECKS = {
    'translators': _check_translator,
    'backbones': _check_backbone,
    'necks': _check_neck,
    'heads': _check_head,
    'poolings': _check_pooling,
    'losses': _check_loss,
    'weighters': _check_weighter,
}
