"""A training step makes a GPU wait once: where its record is read."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from vireid.diagnostics.step_loop import StepLoop
from vireid.launch.resolve import resolve
from vireid.plugin_manager.manager import create_manager

CONFIGS = Path(__file__).parents[3] / 'configs'
# their results, or the sizes of their results, depend on values: on a GPU, the CPU waits for these
WAITING = {
    '_local_scalar_dense', 'bincount', 'equal', 'is_nonzero', 'masked_select', 'nonzero', 'repeat_interleave',
    'unique_consecutive', 'unique_dim', '_unique2',
}  # fmt: skip
MASKS = (torch.bool, torch.uint8)


class Waits(TorchDispatchMode):
    """Lists the operations for which the CPU would wait for a GPU.

    Copies to another device also wait, but a CPU has none to show.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.partition('::')[2]
        masked = name.startswith('index') and len(args) > 1 and isinstance(args[1], (list, tuple))
        masked = masked and any(isinstance(part, Tensor) and part.dtype in MASKS for part in args[1])
        # torch's optimizers keep their step counts on the CPU
        if (name in WAITING or masked) and not any('torch/optim' in f.filename for f in traceback.extract_stack()):
            self.found.append(name)
        return func(*args, **(kwargs or {}))


def waits(step: StepLoop, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    def read(tensor: Tensor) -> Any:
        counted.found.append('tolist')
        return numbers(tensor)

    step()  # what is done once is no matter
    numbers = Tensor.tolist
    with Waits() as counted, monkeypatch.context() as patched:
        patched.setattr(Tensor, 'tolist', read)
        patched.setattr(step.fabric, 'to_device', lambda batch: batch)  # copies lists of the labels on the CPU
        step()
    return counted.found


@pytest.mark.parametrize(
    ('config', 'overrides'),
    [
        ('tffn_demo', {}),
        ('dmcf_demo', {}),
        ('tffn_demo', {'step.clip_norm': 5.0}),
        ('tffn_demo', {'step.skip_nonfinite': 3}),
        ('hybrid_tffn_uncertainty', {'images.size': [96, 48], 'model.backbone.depth': 18}),
    ],
)
def test_a_step_waits_once(config: str, overrides: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    given = {'training.precision': '32-true', 'training.accelerator': 'cpu', 'model.backbone.weights': None}
    experiment = resolve(CONFIGS / f'{config}.py', manager=create_manager()).with_overrides({**given, **overrides})
    assert waits(StepLoop(experiment), monkeypatch) == ['tolist']


def test_a_wait_in_a_loss_would_be_seen() -> None:
    mask = torch.tensor([True, False])
    with Waits() as counted:
        for use in (lambda: mask.sum().item(), lambda: torch.arange(2)[mask], lambda: mask.nonzero()):
            use()
    assert counted.found == ['_local_scalar_dense', 'index', 'nonzero']
