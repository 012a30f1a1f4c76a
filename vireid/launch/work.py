"""What a training step takes: operations, kernels and memory, counted in a step that computes almost nothing."""

from __future__ import annotations

import itertools
import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils import flop_counter
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from vireid.core.config.experiment import Experiment
from vireid.core.registry.contracts import located
from vireid.core.types import VISIBLE, Progress
from vireid.interfaces import Model, Step
from vireid.launch.generated_people import IDENTITIES, GeneratedDataset, part_of_a_batch
from vireid.launch.precision import FLOAT32
from vireid.launch.preflight import on_meta
from vireid.runtime.randomness import preserved

aten = torch.ops.aten
CONVOLUTIONS = {aten.convolution, aten._convolution, aten.convolution_backward, aten.cudnn_convolution}
# torch knows those of its other kernels
ATTENTION = {
    aten._scaled_dot_product_flash_attention_for_cpu: lambda q, k, v, *_, **__: flop_counter.sdpa_flop_count(q, k, v),
    aten._scaled_dot_product_flash_attention_for_cpu_backward: lambda *shapes, **__: (
        flop_counter.sdpa_backward_flop_count(*shapes[:4])
    ),
}
# these take nearly all the time on a CPU; the shapes of their outputs are known without computing them
SKIPPED = {*flop_counter.flop_registry, *ATTENTION, aten.native_batch_norm, aten.native_batch_norm_backward}
FILL = 0.01  # of parameters; zeros would make losses that divide by a norm not finite


@dataclass(frozen=True)
class Work:
    """What a training step of an experiment takes, as a mean over its turns and epochs; memory is the largest.

    Attributes:
        images: images in a batch, with their additional views.
        convolutions: floating-point operations of convolutions for a training image; a multiplication and an addition
            are two.
        products: the same for matrix products.
        kernels: tensor operations of a step, each of which must be launched on a GPU.
        activations: bytes for a training image that the step keeps for its backward pass.
        weights: bytes of weights and their copies in 16 bits, gradients and the state of the optimizers.
        embedding: floating-point operations to embed an image.
    """

    images: int
    convolutions: float
    products: float
    kernels: float
    activations: float
    weights: int
    embedding: float

    @classmethod
    def of(
        cls, counted: Sequence[tuple[float, Counter]], tried: int, images: int, weights: int, embedding: float
    ) -> Work:
        """Summarizes what was counted in steps of a part of a batch.

        Args:
            counted: each turn, with its share of the steps.
            tried: images of this part.
            images: images of the whole batch.
            weights: see the attribute; without copies.
            embedding: see the attribute.
        """
        return cls(
            images,
            sum(share * counter.convolutions for share, counter in counted) / tried,
            sum(share * (counter.operations - counter.convolutions) for share, counter in counted) / tried,
            sum(share * counter.kernels for share, counter in counted),
            max((counter.saved for _, counter in counted), default=0) / tried,
            weights + max((counter.copies for _, counter in counted), default=0),
            embedding,
        )

    @property
    def operations(self) -> float:
        """Floating-point operations of a step."""
        return self.images * (self.convolutions + self.products)

    @property
    def memory(self) -> float:
        """Bytes that a step needs at least."""
        return self.weights + self.images * self.activations


class Counter:
    """Counts the operations, the kernels and the bytes kept for the backward pass while the block runs.

    Args:
        model: the model, whose weights are not counted.
        skip: do not compute convolutions, matrix products and BatchNorm; their outputs are zeros.
    """

    def __init__(self, model: nn.Module, skip: bool = False) -> None:
        self._calls, self._saved = _Calls(skip), SavedBytes(model)
        self._flops = flop_counter.FlopCounterMode(display=False, custom_mapping=ATTENTION)

    def __enter__(self) -> Counter:
        for part in (self._calls, self._flops, self._saved):
            part.__enter__()
        return self

    def __exit__(self, *reason: Any) -> None:
        for part in (self._saved, self._flops, self._calls):
            part.__exit__(*reason)

    @property
    def convolutions(self) -> int:
        """Floating-point operations of convolutions."""
        return sum(count for op, count in self._flops.get_flop_counts().get('Global', {}).items() if op in CONVOLUTIONS)

    @property
    def operations(self) -> int:
        """Floating-point operations of convolutions and matrix products."""
        return self._flops.get_total_flops()

    @property
    def kernels(self) -> int:
        """Number of tensor operations, without views."""
        return self._calls.number

    @property
    def saved(self) -> int:
        """Bytes kept for the backward pass, without weights."""
        return self._saved.total

    @property
    def copies(self) -> int:
        """Bytes of copies of weights kept for it."""
        return self._saved.copies


class SavedBytes:
    """Counts the bytes that a step saves for its backward pass: the activations, each storage once, without weights.

    Attributes:
        total: bytes of the activations.
        copies: bytes of copies of weights in 16 bits, which do not depend on the number of images.
    """

    def __init__(self, model: nn.Module) -> None:
        self.total = self.copies = 0
        shapes = {tuple(p.shape) for p in model.parameters() if p.dim() > 1}
        self._shapes = shapes | {shape[::-1] for shape in shapes if len(shape) == 2}  # products save them transposed
        self._seen = {p.untyped_storage().data_ptr() for p in [*model.parameters(), *model.buffers()]}
        self._hooks = saved_tensors_hooks(self._pack, lambda tensor: tensor)

    def _pack(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._seen:
            self._seen.add(storage.data_ptr())
            if tensor.element_size() == 2 and tuple(tensor.shape) in self._shapes:
                self.copies += storage.nbytes()
            else:
                self.total += storage.nbytes()
        return tensor

    def __enter__(self) -> SavedBytes:
        self._hooks.__enter__()
        return self

    def __exit__(self, *reason: Any) -> None:
        self._hooks.__exit__(*reason)


class _Calls(TorchDispatchMode):
    """Counts tensor operations, and skips the expensive ones if asked to."""

    def __init__(self, skip: bool) -> None:
        super().__init__()
        self.number, self._skip = 0, skip

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.number += not func.is_view
        kwargs = kwargs or {}
        if not self._skip or func._overloadpacket not in SKIPPED:
            return func(*args, **kwargs)
        given, named = tree_map_only(Tensor, lambda t: t.to('meta'), (tuple(args), dict(kwargs)))
        return tree_map_only(Tensor, lambda t: torch.zeros(t.shape, dtype=t.dtype), func(*given, **named))


def count_work(experiment: Experiment, identities: int) -> Work:
    """Counts what a training step takes, in about two seconds and on the CPU, whatever the config says.

    The step is a real one, of a few random images, but convolutions, matrix products and BatchNorm only have their
    shapes worked out.

    Args:
        experiment: the experiment.
        identities: number of training identities, which sets the size of classifiers; at least `IDENTITIES` is counted.

    Raises:
        VireidError: if the experiment cannot be built, or its step fails.
    """
    precision = experiment.training.precision
    here = {'accelerator': 'cpu', 'devices': 1, 'nodes': 1, 'strategy': 'auto', 'precision': FLOAT32}
    epochs = experiment.training.epochs
    experiment = experiment.with_overrides({f'training.{k}': v for k, v in here.items()} | {'images.reader': None})
    logging.getLogger('lightning_fabric').setLevel(logging.ERROR)
    with preserved(), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        model: Any = _blank(experiment, max(identities, IDENTITIES))
        weights = bytes_of([*model.parameters(), *model.buffers()])
        if not any(parameter.requires_grad for parameter in model.parameters()):
            return Work(0, 0.0, 0.0, 0.0, 0.0, weights, _embedding(model, experiment.images.size))
        reduced = precision if precision == FLOAT32 else 'bf16-mixed'
        fabric = Fabric(accelerator='cpu', devices=1, precision=reduced, plugins=LightningEnvironment())  # type: ignore[arg-type]
        step = experiment.build_step(model, fabric)
        batch, images = part_of_a_batch(experiment, GeneratedDataset.of(experiment))
        tried, turns = sum(map(len, batch.images.values())), max(1, len(Step.order(step)))
        model.train()
        counted: list[tuple[float, Counter]] = []
        for (epoch, share), number in itertools.product(spans_of(model, epochs), range(turns)):
            with located(model), Counter(model, skip=True) as counter:
                step(batch, Progress(epoch, epoch * turns + number, turns, (epoch + 1) * turns))
            counted.append((share / turns, counter))
        weights += bytes_of([p for p in model.parameters() if p.requires_grad]) + bytes_of(step.state_dict())
        model.eval()
        return Work.of(counted, tried, images, weights, _embedding(model, experiment.images.size))


def _blank(experiment: Experiment, identities: int) -> nn.Module:
    """Builds the model without computing its random weights."""

    def build() -> nn.Module:
        return experiment.build_model(identities, pretrained=False)

    model = on_meta(build)
    kept = [value for module in model.modules() for value in vars(module).values()]
    if any(isinstance(value, Tensor) and value.is_meta for value in kept):
        return build()  # `to_empty` does not reach a tensor that is neither a parameter nor a buffer
    if any(t.is_meta for t in [*model.parameters(), *model.buffers()]):
        model.to_empty(device='cpu')
        with torch.no_grad():
            for tensor in [*model.parameters(), *model.buffers()]:
                tensor.fill_(FILL if tensor.is_floating_point() else 0)
    return model


def spans_of(model: nn.Module, epochs: int | None) -> list[tuple[int, float]]:
    """Returns the epochs from which other parts of the model are used, and the share of the run until the next."""
    starts = [0, *Model.changes(model)]
    total = max(epochs or 0, starts[-1] + 1)
    return [(start, (end - start) / total) for start, end in zip(starts, [*starts[1:], total], strict=True)]


def _embedding(model: Any, size: tuple[int, int]) -> float:
    with Counter(model, skip=True) as counter, torch.no_grad():
        model.embed(torch.zeros(1, 3, *size), VISIBLE)
    return float(counter.operations)


def bytes_of(value: Any) -> int:
    """Returns the bytes of all tensors in nested lists and dicts."""
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else ()
    return sum(map(bytes_of, items))
