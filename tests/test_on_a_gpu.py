"""Training and scoring on a GPU, on a machine without one: with tensors that say they are on a GPU but have no values.

torch's FakeTensorMode computes devices, types and shapes. So this shows what would mix devices or types, and where the
processor would wait for the GPU: to read a value, to learn the shape of a result, or to copy from its own memory. A
wait keeps the processor from preparing the next operations, so each has to have a reason.

It cannot show values, speed, memory, what CUDA's own operations refuse, or anything of a backward pass, which does not
run on such tensors: here, gradients are zeros.
"""

from __future__ import annotations

import copy
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.accelerators import CPUAccelerator
from lightning_fabric.plugins.precision import MixedPrecision, Precision
from lightning_fabric.strategies.single_device import SingleDeviceStrategy
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

import vireid
from vireid.core.config.experiment import Experiment
from vireid.core.config.overrides import Overrides
from vireid.core.config.transform_chain import TransformChain
from vireid.core.types import INFRARED, MODALITIES, VISIBLE, Batch, Progress
from vireid.interfaces import Model
from vireid.launch.generated_people import IDENTITIES, GeneratedDataset, part_of_a_batch
from vireid.launch.on_device import OnDevice
from vireid.launch.random_weights import SkipRandomWeights
from vireid.launch.resolve import resolve
from vireid.plugin_manager.manager import create_manager
from vireid.plugins.heads.joint_critic import another_identity
from vireid.plugins.models.hicmd import _pairs
from vireid.plugins.steps.accumulation import split_identities
from vireid.plugins.transforms.in_place import Normalize
from vireid.plugins.transforms.to_float import ToFloat
from vireid.plugins.weighters.homoscedastic_uncertainty import HomoscedasticUncertainty

PACKAGE = Path(vireid.__file__).parent
CONFIGS = PACKAGE.parent / 'configs'
GPU = torch.device('cuda', 0)
BEGIN, END = Progress(0, 0, 10, 100), Progress(9, 99, 10, 100)  # losses of the first epochs, and of later ones

UNTRAINED = ('hog', 'lomo', 'mlapg')
# files in which a forward pass waits, and what for
WAITS = {
    'aligngan': {'joint_critic': 'pairs images of different identities'},
    'deen': {'cpm': 'which identities the batch has'},
    'hctri': {'hetero_center_triplet': 'which identities the batch has'},
    'hicmd': {'hicmd': 'rejects batches that are not pairs'},
    'msr': {'camera_cross_entropy': 'rejects cameras without a score; a GPU would stop the process'},
    'pmt': {'dcl': 'which identities the batch has', 'msel': 'rejects batches without pairs'},
    'xmodal': {'cross_modality_gap': 'which identities the batch has'},
}
PAPERS = {'tffn': CONFIGS / 'tffn_sysu.py', 'dmcf': CONFIGS / 'dmcf_sysu.py'}
SYSTEMS = {path.stem: path for path in (CONFIGS / 'systems').glob('*.py')}
QUICK = ('tffn', 'dmcf', 'agw_base', 'hctri', 'hog')
NAMES = [
    pytest.param(name, marks=() if name in QUICK else pytest.mark.long) for name in sorted(PAPERS | SYSTEMS)
]  # fmt: skip

aten = torch.ops.aten


class Waits(TorchDispatchMode):
    """Records the files of vireid in which the processor waits for a GPU, and goes on with values that may be there.

    A number is 1, a condition true, and integers are 0, 1, 2, 3, 0 and so on, as the labels of each modality in the
    batches here. A mask selects nothing, and no label occurs twice.
    """

    def __init__(self) -> None:
        super().__init__()
        self.files, self.count = set[str](), 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors = [x for x in args if isinstance(x, Tensor)]
        on_gpu = bool(tensors) and tensors[0].device.type == 'cuda'
        if func is aten._to_copy.default or func is aten.copy_.default:
            target = torch.device(kwargs.get('device') or tensors[0].device)
            if {target.type, tensors[-1].device.type} == {'cpu', 'cuda'} and not kwargs.get('non_blocking'):
                self.note()
        elif on_gpu and func is aten.index.Tensor:
            indices = [index for index in args[1] if index is not None]
            masks = [index for index in indices if index.dtype == torch.bool]
            if masks or any(index.device.type == 'cpu' for index in indices):
                self.note()
            if masks:
                (mask,) = indices
                return tensors[0].new_empty((0, *tensors[0].shape[mask.dim() :]))
        elif on_gpu and func is aten.repeat_interleave.Tensor and kwargs.get('output_size') is None:
            self.note()
        elif on_gpu and func in STAND_INS:
            self.note()
            self.count += tensors[0].dtype == torch.int64
            return STAND_INS[func](tensors[0], self.count)
        return func(*args, **kwargs)

    def note(self) -> None:
        """Records the innermost file of vireid that is running."""
        frames = [f.filename for f in traceback.extract_stack() if Path(f.filename).is_relative_to(PACKAGE)]
        self.files.add(Path(frames[-1]).stem if frames else 'elsewhere')


STAND_INS = {
    aten._local_scalar_dense.default: lambda x, n: (
        (n - 1) % 4 if x.dtype == torch.int64 else x.dtype == torch.bool or 1.0
    ),
    aten.equal.default: lambda x, n: True,
    aten.nonzero.default: lambda x, n: x.new_empty((0, x.dim()), dtype=torch.int64),
    aten.masked_select.default: lambda x, n: x.new_empty(0),
    aten._unique2.default: lambda x, n: (
        x.flatten(), torch.zeros_like(x, dtype=torch.int64), torch.ones_like(x.flatten(), dtype=torch.int64)
    ),
}  # fmt: skip


class FakeGPU:
    """Tensors on a GPU that is not there.

    Attributes:
        mode: computes with them.
    """

    def __init__(self) -> None:
        self.mode = FakeTensorMode(allow_non_fake_inputs=False)  # a real tensor among them is one left on the CPU

    @contextmanager
    def recorded(self) -> Iterator[set[str]]:
        """Yields the files in which the block waits."""
        waits = Waits()
        with self.mode, waits:
            yield waits.files

    def moved(self, value: Any) -> Any:
        """Returns a copy of a tensor, batch, list or dict on the GPU."""
        if isinstance(value, Tensor):
            with self.mode:
                return self.mode.from_tensor(value).to(GPU)
        if isinstance(value, dict):
            return {key: self.moved(item) for key, item in value.items()}
        if isinstance(value, Batch):
            return replace(value, **{f.name: self.moved(getattr(value, f.name)) for f in fields(value)})
        return value

    def model(self, experiment: Experiment) -> Any:
        """Builds a model, and moves its parameters and buffers: nothing else of a model follows it to a device."""
        with SkipRandomWeights():
            model = experiment.build_model(IDENTITIES, pretrained=False, steps_per_epoch=10)
        for module in model.modules():
            for name, parameter in module._parameters.items():
                if parameter is not None:
                    moved = nn.Parameter(self.moved(parameter.detach()), parameter.requires_grad)
                    module._parameters[name] = moved
            for name, buffer in module._buffers.items():
                module._buffers[name] = None if buffer is None else self.moved(buffer)
        return model

    def batch(self, experiment: Experiment) -> Batch:
        """Returns a part of a training batch."""
        return self.moved(part_of_a_batch(experiment, GeneratedDataset.of(experiment))[0])


@pytest.fixture
def gpu() -> FakeGPU:
    return FakeGPU()


@pytest.fixture
def autocast(monkeypatch):
    """Lets autocast start without a GPU."""
    monkeypatch.setattr(torch.cuda.amp.common, 'amp_definitely_not_available', lambda: False)
    monkeypatch.setattr(torch.cuda, 'is_bf16_supported', lambda *_, **__: True)


def small(name: str, *options: str) -> Experiment:
    """Returns the config of a paper or a system at the size of the studies on synthetic people."""
    base = CONFIGS / '_base_'
    if name in UNTRAINED:
        return resolve((PAPERS | SYSTEMS)[name], Overrides(options=options), manager=create_manager())
    over = base / f'systems_small_{name}.py'
    # Hi-CMD's penalty is a gradient, and its erasing draws numbers on the CPU, which have no values here either
    own = ['model.penalty=0', 'model.erasing=None'] if name == 'hicmd' else []
    own += [] if name == 'pmt' else ['model.backbone.depth=18']
    overrides = Overrides(
        over=[over if over.exists() else base / 'systems_small.py'], options=['dataset.root=/none', *own, *options]
    )
    return resolve((PAPERS | SYSTEMS)[name], overrides, manager=create_manager())


@pytest.mark.parametrize('name', NAMES)
def test_embedding_stays_on_the_gpu(gpu, name):
    experiment = small(name)
    model, batch = gpu.model(experiment).eval(), gpu.batch(experiment)
    images = {m: batch.images[m] for m in MODALITIES}
    with gpu.recorded() as waits, torch.no_grad():
        for modality, own in images.items():
            assert model.embed(own, modality).device == GPU
        if embed_joint := Model.embed_joint(model):
            assert embed_joint(images).device == GPU
    assert waits == ({'unit_range'} if name in UNTRAINED else set())  # rejects normalized images


@pytest.mark.parametrize('precision', [torch.float32, torch.float16])
@pytest.mark.parametrize('name', [p for p in NAMES if p.values[0] not in UNTRAINED])
def test_the_losses_stay_on_the_gpu(gpu, autocast, name, precision):
    experiment = small(name)
    model, batch = gpu.model(experiment).train(), gpu.batch(experiment)
    with gpu.recorded() as waits, torch.autocast('cuda', torch.float16, enabled=precision == torch.float16):
        for progress in (BEGIN, END):
            # as lightning-fabric passes them
            given = MixedPrecision('16-mixed', 'cuda').convert_input(batch) if precision == torch.float16 else batch
            losses = model(replace(given, progress=progress))
            assert {loss.device for loss in losses.values()} == {GPU}
            if model.weighter is not None:
                total, weights = model.weighter({n: loss.float() for n, loss in losses.items()}, progress)
                assert {x.device for x in (total, *weights.values())} == {GPU}
    assert waits == set(WAITS.get(name, {}))


class Accelerator(CPUAccelerator):
    """Prepares no device."""

    def setup_device(self, device: torch.device) -> None:
        pass


def fabric_of(precision: str) -> Any:
    """Returns a Fabric for a GPU whose backward pass sets zeros as gradients."""
    plugin = Precision() if precision == '32-true' else MixedPrecision(precision, 'cuda')
    fabric: Any = Fabric(strategy=SingleDeviceStrategy(torch.device('cpu'), Accelerator(), precision=plugin))
    fabric.launch()
    fabric.strategy._root_device = GPU
    fabric.to_device = lambda module: module

    def backward(total: Tensor, inputs: Any = None, **_: Any) -> None:
        scaler = getattr(fabric.strategy.precision, 'scaler', None)
        if scaler is not None:
            scaler.scale(total)
        for parameter in fabric.parameters if inputs is None else inputs:
            if parameter.requires_grad:
                parameter.grad = torch.zeros_like(parameter)

    fabric.backward = backward
    return fabric


# they read the metrics with the gradient norm, whether the loss scaler found an overflow, and the identities
METRICS, OVERFLOW, PARTS = 'weighing', 'optimization', 'accumulation'
TURNS = ['step.optimizers.network.clip_norm=1.0', 'step.optimizers.discriminator.skip_nonfinite=2']


@pytest.mark.parametrize(
    ('name', 'precision', 'options', 'expected'),
    [
        ('agw_base', '32-true', [], {METRICS}),
        ('agw_base', 'bf16-mixed', ['step.clip_norm=1.0', 'step.ema=0.9', 'step.skip_nonfinite=2'], {METRICS}),
        ('agw_base', '16-mixed', ['step.clip_norm=1.0'], {METRICS, OVERFLOW}),
        ('agw_base', '32-true', ['step.accumulate=2'], {METRICS, PARTS}),
        ('cmgan', '16-mixed', TURNS, {METRICS, OVERFLOW}),
    ],
)
def test_a_step_waits_only_for_what_it_reports(gpu, autocast, name, precision, options, expected):
    experiment = small(name, *options)
    model, batch = gpu.model(experiment).train(), gpu.batch(experiment)
    fabric = fabric_of(precision)
    fabric.parameters = list(model.parameters())
    with gpu.recorded() as waits:
        step = experiment.build_step(model, fabric)
        waits.clear()
        for progress in (BEGIN, BEGIN.next()):
            record = step(batch, progress)
            assert {type(value) for value in record['tasks'].values()} == {float}
    assert waits == expected


def test_images_sent_as_uint8_become_float_on_the_gpu_without_waiting(gpu):
    images = torch.zeros(4, 3, 16, 8, dtype=torch.uint8)
    batch = gpu.moved(Batch({VISIBLE: images}, {VISIBLE: torch.arange(4)}))
    chain = TransformChain([ToFloat(), Normalize((0.5, 0.5, 0.5), (0.2, 0.2, 0.2))])
    for values in ('mean', 'std'):
        with gpu.mode:
            setattr(chain.transforms[1], values, gpu.mode.from_tensor(getattr(chain.transforms[1], values)))
    with gpu.recorded() as waits:
        finished = OnDevice(fabric_of('32-true'), chain, 0)(batch).images[VISIBLE]
    assert (finished.device, finished.dtype, finished.shape, waits) == (GPU, torch.float32, images.shape, set())


def test_copies_of_a_batch_stay_on_the_gpu(gpu):
    batch = gpu.batch(small('agw_base'))
    with gpu.recorded() as waits:
        for other in (copy.copy(batch), MixedPrecision('bf16-mixed', 'cuda').convert_input(batch)):
            assert {x.device for part in (other.identities, other.cameras) for x in part.values()} == {GPU}
    assert not waits


def test_a_part_of_a_batch_is_on_the_gpu(gpu):
    batch = gpu.batch(small('agw_base'))
    with gpu.recorded():
        parts = split_identities(batch, 2)
    assert {x.device for part in parts for x in (*part.images.values(), *part.identities.values())} == {GPU}


def test_rows_of_another_identity_are_on_the_gpu(gpu):
    labels = gpu.moved(torch.tensor([1, 1, 2, 2]))
    with gpu.recorded():
        assert another_identity(labels).device == GPU


def test_pairs_without_one_modality_are_rejected_on_a_gpu_too(gpu):
    batch = gpu.moved(Batch({VISIBLE: torch.zeros(2, 3, 8, 4)}, {VISIBLE: torch.tensor([0, 1])}))
    with gpu.recorded(), pytest.raises(vireid.errors.Mismatch, match=f'2 {VISIBLE} and 0 {INFRARED}'):
        _pairs(batch)


def test_some_of_the_tasks_are_weighed_without_waiting(gpu):
    weighter = HomoscedasticUncertainty(('a', 'b', 'c'), start=0.0)
    weighter.log_variance = nn.Parameter(gpu.moved(torch.zeros(3)))
    weighter.begun = gpu.moved(torch.tensor(False))
    tasks = gpu.moved({name: torch.tensor(2.0) for name in ('a', 'c')})
    with gpu.recorded() as waits:
        total, weights = weighter(tasks, BEGIN)
    assert (total.device, set(weights), waits) == (GPU, {'a', 'c'}, set())
