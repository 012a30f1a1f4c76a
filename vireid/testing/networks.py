"""Checks of the kinds that a model is made of."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from vireid.core.errors import VireidError
from vireid.core.interfaces import Head, Loss, Neck, Translator
from vireid.core.registry.signature import names_argument
from vireid.core.types import INFRARED, MODALITIES, VISIBLE, Batch, Context, FeatureSpec, HeadOutput, Progress
from vireid.testing.promises import Builder, check_network, require

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
_VECTOR = FeatureSpec(CHANNELS)
_MAP = FeatureSpec(CHANNELS, 'map', size=(6, 3))
# what a neck or head may read; one of these has to fit
INPUTS = ((_VECTOR,), (_MAP,), (_VECTOR,) * 2, (_MAP,) * 2, (_VECTOR,) * 3)


def _feature(spec: FeatureSpec, count: int = 2 * COUNT) -> Any:
    """Makes a random feature; needs a gradient, as one of a network would."""
    shape = (spec.channels,) if spec.kind == 'vector' else (spec.channels, *(spec.size or (6, 3)))
    if spec.layout == 'joint':
        return torch.randn(count, *shape, requires_grad=True)
    return {m: torch.randn(count // 2, *shape, requires_grad=True) for m in MODALITIES}


def _require_spec(value: Any, spec: FeatureSpec, count: int) -> None:
    """Compares a feature with what was declared of it."""
    require(isinstance(spec, FeatureSpec), f'its declared output is {spec!r} and not a FeatureSpec')
    joint = isinstance(value, Tensor)
    require(
        joint == (spec.layout == 'joint'), f'it declares a {spec.layout} feature and makes a {type(value).__name__}'
    )
    for tensor, wanted in [(value, count)] if joint else [(t, count // 2) for t in value.values()]:
        require(
            tensor.dim() == (2 if spec.kind == 'vector' else 4),
            f'it declares a {spec.kind} and makes {tuple(tensor.shape)}',
        )
        require(
            tensor.shape[:2] == (wanted, spec.channels),
            f'it declares {spec.channels} channels for {wanted} images and makes {tuple(tensor.shape)}',
        )
        if spec.kind == 'map' and spec.size is not None:
            require(tensor.shape[2:] == spec.size, f'it declares a map of {spec.size} and makes {tuple(tensor.shape)}')


def _fitting(build: Builder) -> list[tuple[FeatureSpec, ...]]:
    """Returns those inputs the component takes."""
    if build.inputs is not None:
        return [tuple(build.inputs)]
    layout = Neck.layout(build.target)
    fitting, refusals = [], []
    for inputs in INPUTS:
        specs = tuple(
            FeatureSpec(s.channels, s.kind, 'paired' if layout == 'paired' else 'joint', s.size) for s in inputs
        )
        try:
            build(inputs=specs, **CONTEXT)
            fitting.append(specs)
        except VireidError as error:
            refusals.append(f'{error.given} (allowed: {error.allowed})' if error.allowed else error.given)
    require(fitting, f'it takes none of a vector, a map, two or three of them: {refusals[0] if refusals else ""}')
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
        return neck(*features, context=training if labelled else Context(training.counts, None))

    neck = make()
    neck_train_only = Neck.train_only(neck)
    output = check_network(neck, run, make)
    _require_spec(output, neck.output, 2 * COUNT)
    if neck_train_only:
        return
    # testing is one modality at a time
    alone = [f.detach()[:COUNT] if isinstance(f, Tensor) else {INFRARED: f[INFRARED].detach()} for f in features]
    with torch.no_grad():
        found = neck.eval()(*alone, context=Context({INFRARED: COUNT}, None))
    count = len(found) if isinstance(found, Tensor) else len(found[INFRARED])
    require(count == COUNT, f'{COUNT} images of one modality become {count}')


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
    require(list(outputs) == list(declared), f'it declares the outputs {list(declared)} and makes {list(outputs)}')
    for name, found in outputs.items():
        wanted = (2 * COUNT, *((declared[name],) if declared[name] else ()))
        shape = tuple(found.feature.shape)
        require(shape[:-1] == wanted, f'its output {name!r} has the feature {shape}, not {wanted} and its length')
        if found.logits is not None:
            shape = tuple(found.logits.shape)
            require(shape == (*wanted, PERSONS), f'its output {name!r} has logits {shape}, not {(*wanted, PERSONS)}')
    if Head.train_only(head):
        return
    with torch.no_grad():
        shape = tuple(head.eval().embed(*[f.detach() for f in features]).shape)
    require(shape == (2 * COUNT, head.embedding_dim), f'embed makes {shape} and embedding_dim is {head.embedding_dim}')


def _check_pooling(build: Builder) -> None:
    pooled = _feature(_MAP)
    output = check_network(build(**CONTEXT), lambda m: m(pooled), lambda: build(**CONTEXT))
    require(
        tuple(output.shape) == (2 * COUNT, CHANNELS), f'a map of {tuple(pooled.shape)} becomes {tuple(output.shape)}'
    )


def _check_loss(build: Builder) -> None:
    labels = torch.cat([_labels(), _labels()])
    if build.inputs is not None:
        _check_loss_on(build, build.inputs, labels)
        return
    several = (3,) if Loss.reads_parts(build.target) else ()
    for parts in {(), several}:
        feature = torch.randn(2 * COUNT, *parts, CHANNELS, requires_grad=True)
        given = HeadOutput(feature, torch.randn(2 * COUNT, *parts, PERSONS, requires_grad=True))
        _check_loss_on(build, given, labels)


def _check_loss_on(build: Builder, given: HeadOutput, labels: Tensor) -> None:
    loss = check_network(build(**CONTEXT), partial(_call_loss, given, labels), lambda: build(**CONTEXT))
    require(loss.dim() == 0, f'it makes {tuple(loss.shape)} and not one number')
    logits = None if given.logits is None else given.logits.detach().double()
    _require_double(_call_loss(HeadOutput(given.feature.detach().double(), logits), labels, build(**CONTEXT).double()))


def _require_double(value: Tensor) -> None:
    require(value.dtype == torch.float64, f'float64 becomes {value.dtype} in it: promote half precision alone')


def _call_loss(given: HeadOutput, labels: Tensor, loss: Any) -> Tensor:
    return loss(given, labels, **_known(loss))


def _known(part: Any) -> dict[str, Context]:
    """Returns what a head or loss is given if it names the `context`."""
    cameras = torch.arange(2 * COUNT) % 3 + 1
    context = Context(dict.fromkeys(MODALITIES, COUNT), torch.cat([_labels(), _labels()]), cameras)
    return {'context': context} if names_argument(part, 'context') else {}


def _check_weighter(build: Builder) -> None:
    names = ('first', 'second')
    given = {name: torch.tensor(2.0 + n, requires_grad=True) for n, name in enumerate(names)}

    def make() -> Any:
        return build(task_names=names, other_tasks=(), **CONTEXT)

    progress = Progress(9, 47, 5, 50)  # near the end: whatever starts late has started
    output = check_network(make(), lambda m: m(dict(given), progress), make)
    total, weights = output
    require(total.dim() == 0, f'its total is {tuple(total.shape)} and not one number')
    require(list(weights) == list(names), f'it weighs {list(weights)} and was given {list(names)}')
    _require_double(make().double()({name: loss.detach().double() for name, loss in given.items()}, progress)[0])


def _check_translator(build: Builder) -> None:
    images = {m: torch.randn(COUNT, 3, *SIZE, requires_grad=True) for m in MODALITIES}
    labels = {m: _labels() for m in MODALITIES}
    translator = build(**CONTEXT)
    made = check_network(translator, lambda m: m(Batch(dict(images), dict(labels))).images, lambda: build(**CONTEXT))
    channels = {m: found.shape[1] for m, found in made.items()}
    require(channels == dict(translator.modalities), f'it declares {translator.modalities} and makes {channels}')
    if not Translator.train_only(translator):
        with torch.no_grad():
            alone = translator.eval()(Batch({INFRARED: images[INFRARED].detach()}, {})).images
        require(set(alone) == {INFRARED}, f'infrared images alone become {", ".join(alone)}: it is not train_only')


def _check_backbone(build: Builder) -> None:
    def make() -> Any:
        return build(**CONTEXT)

    images = {m: torch.randn(COUNT, 3, *SIZE, requires_grad=True) for m in MODALITIES}
    network = make()
    output = check_network(network, lambda m: m(dict(images)), make)
    require(list(output) == list(network.outputs), f'it declares {list(network.outputs)} and makes {list(output)}')
    for name, spec in network.outputs.items():
        _require_spec(output[name], spec, 2 * COUNT)
    with torch.no_grad():
        alone = network.eval()({VISIBLE: images[VISIBLE].detach()})
    require(list(alone) == list(network.outputs), 'one modality alone gives other features')


CHECKS = {
    'translators': _check_translator,
    'backbones': _check_backbone,
    'necks': _check_neck,
    'heads': _check_head,
    'poolings': _check_pooling,
    'losses': _check_loss,
    'weighters': _check_weighter,
}
