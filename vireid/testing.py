"""For the tests of plugins: does every component keep what its kind promises?

```python
from vireid.testing import check_plugin
import my_plugin

def test_my_plugin():
    check_plugin(my_plugin)
```
"""

from __future__ import annotations

import copy
import pickle
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vireid.core.errors import VireidError
from vireid.core.plugins import PluginManager, create_manager
from vireid.core.types import INFRARED, MODALITIES, VISIBLE, Context, FeatureSpec, HeadOutput, Progress, Sample

PERSONS, PICTURES, CHANNELS, SIZE = 4, 2, 16, (64, 32)
COUNT = PERSONS * PICTURES  # of each modality
CONTEXT: dict[str, Any] = {
    'num_identities': PERSONS,
    'pretrained': False,
    'image_size': SIZE,
    'training': None,
    'steps_per_epoch': 5,
}
_VECTOR = FeatureSpec(CHANNELS)
_MAP = FeatureSpec(CHANNELS, 'map', size=(6, 3))
# what a neck or head may read; one of these has to fit
INPUTS = ((_VECTOR,), (_MAP,), (_VECTOR,) * 2, (_MAP,) * 2, (_VECTOR,) * 3)


def check_plugin(
    plugin: ModuleType | object, configs: Mapping[str, Mapping[str, Any]] | None = None, name: str = 'checked'
) -> dict[str, str]:
    """Builds every component of a plugin on tiny input, and checks what its kind promises.

    Of networks (backbones, necks, heads, poolings, losses, weighters): shapes as declared, float32, finite, a gradient,
    the same output for the same input in evaluation, no random number read or moved there, pickling, and a state dict
    that another instance takes. Of transforms, samplers and re-rankers: shapes, and that they are functions of their
    input and seed. The other kinds need data or a run, and are looked up only.

    Args:
        plugin: the module (or object) whose hooks register the components.
        configs: by component name, its arguments where the defaults are not enough.
        name: what messages call the plugin.

    Returns:
        By `kind name`, what was checked: `checked`, or `looked up`.

    Raises:
        VireidError: with everything that is not kept, all at once.
    """
    manager = create_manager(tell=lambda line: None)
    if all(component.plugin != name for component in manager.components.listing()):
        manager = _with_builtin()
        manager.register(plugin, name)
    own = [c for c in manager.components.listing() if c.plugin == name]
    if not own:
        raise VireidError(f'{name} registers no component', todo='add some in register_components')
    done: dict[str, str] = {}
    problems: list[str] = []
    for component in own:
        where = f'{component.kind} {component.name!r}'
        arguments = dict((configs or {}).get(component.name, {}))
        try:
            target = manager.components.get(component.kind, component.name)
            check = CHECKS.get(component.kind)
            if check is not None:
                check(_Builder(manager, component.kind, {'type': component.name, **arguments}, target))
            done[f'{component.kind} {component.name}'] = 'looked up' if check is None else 'checked'
        except (VireidError, _Broken) as error:
            problems.append(f'{where}: {error}')
        except Exception as error:  # whatever the component raises is told
            problems.append(f'{where} raised {type(error).__name__}: {error}')
    if problems:
        raise VireidError('\n'.join(problems), todo='docs/architecture.md says what each kind has to offer')
    return done


class _Broken(Exception):
    """A promise that is not kept."""


class _Builder:
    """Builds one component with what its kind is given."""

    def __init__(self, manager: PluginManager, kind: str, config: dict[str, Any], target: Callable[..., Any]) -> None:
        self.manager, self.kind, self.config, self.target = manager, kind, config, target

    def __call__(self, **context: Any) -> Any:
        torch.manual_seed(0)
        return self.manager.components.build(self.kind, self.config, where=self.config['type'], **context)


def _with_builtin() -> PluginManager:
    import vireid.plugins

    manager = PluginManager()
    manager.register(vireid.plugins, 'builtin')
    return manager


def _require(kept: Any, promise: str) -> None:
    if not kept:
        raise _Broken(promise)


def _states() -> tuple[Any, ...]:
    numpy = np.random.get_state()
    return torch.get_rng_state().tolist(), [str(part) for part in numpy], random.getstate()


@contextmanager
def _no_random_numbers(what: str) -> Iterator[None]:
    before = _states()
    yield
    _require(_states() == before, f'{what} reads or moves global random numbers in evaluation')


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, HeadOutput):
        return [t for t in (value.feature, value.logits) if t is not None]
    return [t for part in (value.values() if isinstance(value, Mapping) else value) for t in _tensors(part)]


def _check_network(module: Any, run: Callable[[Any], Any], build: Callable[[], Any], grows: bool = True) -> Any:
    """Checks what every network promises; `run` calls one on the same input each time. Returns its output."""
    _require(isinstance(module, nn.Module), f'it is a {type(module).__name__} and not a torch.nn.Module')
    module.train()
    output = run(module)
    for tensor in _tensors(output):
        _require(tensor.dtype == torch.float32, f'its output is {tensor.dtype} and not float32')
        _require(torch.isfinite(tensor).all(), 'its output is not finite')
    if grows:
        parameters = [p for p in module.parameters() if p.requires_grad]
        total = torch.stack([t.square().sum() for t in _tensors(output)]).sum()
        _require(total.requires_grad, 'no gradient goes through it')
        total.backward()
        _require(
            not parameters or any(p.grad is not None for p in parameters), 'none of its parameters gets a gradient'
        )
    module.eval()
    with torch.no_grad():
        expected = [t.clone() for t in _tensors(run(module))]
        with _no_random_numbers('it'):
            again = _tensors(run(module))
        _require(all(map(torch.equal, expected, again)), 'the same input gives another output in evaluation')
        twin = pickle.loads(pickle.dumps(module))
        _require(all(map(torch.equal, expected, _tensors(run(twin)))), 'its pickle gives another output')
        other = build().eval()
        other.load_state_dict(copy.deepcopy(module.state_dict()))
        found = _tensors(run(other))
        _require(all(map(torch.equal, expected, found)), 'another instance with its state dict gives another output')
    return output


def _feature(spec: FeatureSpec, count: int = 2 * COUNT) -> Any:
    """Makes a random feature; needs a gradient, as one of a network would."""
    shape = (spec.channels,) if spec.kind == 'vector' else (spec.channels, *(spec.size or (6, 3)))
    if spec.layout == 'joint':
        return torch.randn(count, *shape, requires_grad=True)
    return {m: torch.randn(count // 2, *shape, requires_grad=True) for m in MODALITIES}


def _require_spec(value: Any, spec: FeatureSpec, count: int) -> None:
    """Compares a feature with what was declared of it."""
    _require(isinstance(spec, FeatureSpec), f'its declared output is {spec!r} and not a FeatureSpec')
    joint = isinstance(value, Tensor)
    _require(
        joint == (spec.layout == 'joint'), f'it declares a {spec.layout} feature and makes a {type(value).__name__}'
    )
    for tensor, wanted in [(value, count)] if joint else [(t, count // 2) for t in value.values()]:
        _require(
            tensor.dim() == (2 if spec.kind == 'vector' else 4),
            f'it declares a {spec.kind} and makes {tuple(tensor.shape)}',
        )
        _require(
            tensor.shape[:2] == (wanted, spec.channels),
            f'it declares {spec.channels} channels for {wanted} pictures and makes {tuple(tensor.shape)}',
        )
        if spec.kind == 'map' and spec.size is not None:
            _require(tensor.shape[2:] == spec.size, f'it declares a map of {spec.size} and makes {tuple(tensor.shape)}')


def _fitting(build: _Builder) -> list[tuple[FeatureSpec, ...]]:
    """Returns those inputs the component takes."""
    layout = getattr(build.target, 'layout', 'joint')
    fitting, refusals = [], []
    for inputs in INPUTS:
        specs = tuple(
            FeatureSpec(s.channels, s.kind, 'paired' if layout == 'paired' else 'joint', s.size) for s in inputs
        )
        try:
            build(inputs=specs, **CONTEXT)
            fitting.append(specs)
        except VireidError as error:
            refusals.append(error.given)
    _require(fitting, f'it takes none of a vector, a map, two or three of them: {refusals[0] if refusals else ""}')
    return fitting


def _labels() -> Tensor:
    return torch.arange(PERSONS).repeat_interleave(PICTURES)


def _check_neck(build: _Builder) -> None:
    for specs in _fitting(build):
        _check_neck_on(build, specs)


def _check_neck_on(build: _Builder, specs: tuple[FeatureSpec, ...]) -> None:
    training = Context(dict.fromkeys(MODALITIES, COUNT), torch.cat([_labels(), _labels()]))
    features = [_feature(spec) for spec in specs]

    def make() -> Any:
        return build(inputs=specs, **CONTEXT)

    def run(neck: Any) -> Any:
        labelled = neck.training or neck_train_only
        return neck(*features, context=training if labelled else Context(training.counts, None))

    neck = make()
    neck_train_only = getattr(neck, 'train_only', False)
    output = _check_network(neck, run, make)
    _require_spec(output, neck.output, 2 * COUNT)
    if neck_train_only:
        return
    # testing is one modality at a time
    alone = [f.detach()[:COUNT] if isinstance(f, Tensor) else {INFRARED: f[INFRARED].detach()} for f in features]
    with torch.no_grad():
        found = neck.eval()(*alone, context=Context({INFRARED: COUNT}, None))
    count = len(found) if isinstance(found, Tensor) else len(found[INFRARED])
    _require(count == COUNT, f'{COUNT} pictures of one modality become {count}')


def _check_head(build: _Builder) -> None:
    for specs in _fitting(build):
        _check_head_on(build, specs)


def _check_head_on(build: _Builder, specs: tuple[FeatureSpec, ...]) -> None:
    features = [_feature(spec) for spec in specs]

    def make() -> Any:
        return build(inputs=specs, **CONTEXT)

    head = make()
    output = _check_network(head, lambda module: module(*features), make)
    outputs = {'global': output} if isinstance(output, HeadOutput) else output
    declared = dict(getattr(head, 'outputs', {'global': 0}))
    _require(list(outputs) == list(declared), f'it declares the outputs {list(declared)} and makes {list(outputs)}')
    for name, found in outputs.items():
        wanted = (2 * COUNT, *((declared[name],) if declared[name] else ()))
        shape = tuple(found.feature.shape)
        _require(shape[:-1] == wanted, f'its output {name!r} has the feature {shape}, not {wanted} and its length')
        if found.logits is not None:
            shape = tuple(found.logits.shape)
            _require(shape == (*wanted, PERSONS), f'its output {name!r} has logits {shape}, not {(*wanted, PERSONS)}')
    with torch.no_grad():
        shape = tuple(head.eval().embed(*[f.detach() for f in features]).shape)
    _require(shape == (2 * COUNT, head.embedding_dim), f'embed makes {shape} and embedding_dim is {head.embedding_dim}')


def _check_pooling(build: _Builder) -> None:
    pooled = _feature(_MAP)
    output = _check_network(build(**CONTEXT), lambda m: m(pooled), lambda: build(**CONTEXT))
    _require(
        tuple(output.shape) == (2 * COUNT, CHANNELS), f'a map of {tuple(pooled.shape)} becomes {tuple(output.shape)}'
    )


def _check_loss(build: _Builder) -> None:
    labels = torch.cat([_labels(), _labels()])
    several = (3,) if getattr(build.target, 'reads_parts', True) else ()
    for parts in {(), several}:
        feature = torch.randn(2 * COUNT, *parts, CHANNELS, requires_grad=True)
        given = HeadOutput(feature, torch.randn(2 * COUNT, *parts, PERSONS, requires_grad=True))
        loss = _check_network(build(**CONTEXT), partial(_call_loss, given, labels), lambda: build(**CONTEXT))
        _require(loss.dim() == 0, f'it makes {tuple(loss.shape)} and not one number')


def _call_loss(given: HeadOutput, labels: Tensor, loss: Any) -> Tensor:
    return loss(given, labels)


def _check_weighter(build: _Builder) -> None:
    names = ('first', 'second')
    given = {name: torch.tensor(2.0 + n, requires_grad=True) for n, name in enumerate(names)}

    def make() -> Any:
        return build(task_names=names, other_tasks=(), **CONTEXT)

    progress = Progress(9, 47, 5, 50)  # near the end: whatever starts late has started
    output = _check_network(make(), lambda m: m(dict(given), progress), make)
    total, weights = output
    _require(total.dim() == 0, f'its total is {tuple(total.shape)} and not one number')
    _require(list(weights) == list(names), f'it weighs {list(weights)} and was given {list(names)}')


def _check_backbone(build: _Builder) -> None:
    def make() -> Any:
        return build(**CONTEXT)

    pictures = {m: torch.randn(COUNT, 3, *SIZE, requires_grad=True) for m in MODALITIES}
    network = make()
    output = _check_network(network, lambda m: m(dict(pictures)), make)
    _require(list(output) == list(network.outputs), f'it declares {list(network.outputs)} and makes {list(output)}')
    for name, spec in network.outputs.items():
        _require_spec(output[name], spec, 2 * COUNT)
    with torch.no_grad():
        alone = network.eval()({VISIBLE: pictures[VISIBLE].detach()})
    _require(list(alone) == list(network.outputs), 'one modality alone gives other features')


def _check_transform(build: _Builder) -> None:
    from vireid.core.data import seeded

    transform = build(size=SIZE) if 'size' in _parameters(build.target) else build()
    whole = torch.randint(256, (3, 90, 50), dtype=torch.uint8)
    outputs: list[Tensor] = []
    refusals: list[Exception] = []
    for picture in (whole, whole.float() / 255):
        try:
            found = []
            for _ in range(2):
                with seeded('check', 0):
                    found.append(transform(picture.clone()))
            outputs += found[:1]
        except Exception as error:  # one of the two will do
            refusals.append(error)
            continue
        _require(isinstance(found[0], Tensor) and found[0].dim() == 3, f'it makes {type(found[0]).__name__}')
        _require(
            torch.equal(*found), 'its chance is not that of torch, numpy or random: the same seed gives another picture'
        )
    if not outputs:
        raise refusals[0]
    pickle.loads(pickle.dumps(transform))


def _check_sampler(build: _Builder) -> None:
    samples = tuple(
        Sample(f'{m}{person}{shot}', person, 1 if m == VISIBLE else 2, m)
        for m in MODALITIES
        for person in range(8)
        for shot in range(4)
    )

    def draw(epoch: int, rank: int = 0, world_size: int = 1) -> list[list[int]]:
        sampler = build(samples=samples, seed=3, rank=rank, world_size=world_size)
        found = [list(map(int, batch)) for batch in sampler.batches(epoch)]
        _require(len(found) == len(sampler), f'len says {len(sampler)} batches and there are {len(found)}')
        return found

    torch.manual_seed(0)  # as building does
    with _no_random_numbers('it'):
        first = draw(0)
    _require(first == draw(0), 'the same seed and epoch give other batches')
    _require(first != draw(1), 'every epoch has the same batches')
    _require(first != draw(0, 1, 2), 'two processes are given the same batches')
    _require(
        all(0 <= index < len(samples) for batch in first for index in batch), 'it names samples that are not there'
    )
    for batch in first:
        _require({samples[index].modality for index in batch} == set(MODALITIES), 'a batch lacks a modality')


def _check_reranker(build: _Builder) -> None:
    rng = np.random.default_rng(0)
    query, gallery = (rng.standard_normal((n, 8)).astype(np.float32) for n in (7, 11))
    query, gallery = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (query, gallery))
    reranker = build()
    _require(isinstance(getattr(reranker, 'name', None), str), 'it has no name for the table')
    before = query.copy(), gallery.copy()
    similarity = reranker.similarity(query, gallery)
    whole = similarity(slice(0, 7))
    _require(whole.shape == (7, 11) and np.isfinite(whole).all(), f'similarities are {whole.shape}, or not finite')
    parts = np.concatenate([similarity(slice(0, 3)), similarity(slice(3, 7))])
    _require(np.allclose(whole, parts, atol=1e-5), 'a slice of the queries gives other similarities than all of them')
    _require((query == before[0]).all() and (gallery == before[1]).all(), 'it changes the embeddings')


def _parameters(target: Callable[..., Any]) -> set[str]:
    from vireid.core.signatures import parameters

    return set(parameters(target))


CHECKS: dict[str, Callable[[_Builder], None]] = {
    'backbones': _check_backbone,
    'necks': _check_neck,
    'heads': _check_head,
    'poolings': _check_pooling,
    'losses': _check_loss,
    'weighters': _check_weighter,
    'transforms': _check_transform,
    'samplers': _check_sampler,
    'rerankers': _check_reranker,
}
