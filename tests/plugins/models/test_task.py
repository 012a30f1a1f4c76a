"""One head with its losses."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from vireid.core.types import Context, HeadOutput
from vireid.plugins.models.task import Task


class Plain(nn.Module):
    def forward(self, feature: Tensor) -> HeadOutput:
        return HeadOutput(feature)


class Square(nn.Module):
    def forward(self, output: HeadOutput, identities: Tensor) -> Tensor:
        return output.feature.square().mean()


class Detached(Square):
    def forward(self, output: HeadOutput, identities: Tensor) -> Tensor:
        return super().forward(output, identities).detach()


def run(loss: nn.Module, feature: Tensor) -> dict[str, list[Tensor]]:
    task = Task(Plain(), {'own': loss}, {'own': 0.5}, {'own': ''}, {'own': 'main'}, {'own': None}, (False,), 'h')
    context = Context({'visible': len(feature)}, torch.arange(len(feature)))
    return task(feature, context=context, progress=None, active=['own'])


def test_the_terms_of_a_task_are_weighted() -> None:
    feature = torch.tensor([[1.0, 3.0]], requires_grad=True)
    assert run(Square(), feature)['main'][0].item() == 2.5


@pytest.mark.parametrize(
    ('loss', 'learns', 'warned'), [(Square(), True, 0), (Detached(), True, 1), (Detached(), False, 0)]
)
def test_a_loss_without_a_gradient_is_warned_of_once(
    loss: nn.Module,
    learns: bool,
    warned: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr('vireid.console.warn._warned', set())
    for _ in range(2):
        run(loss, torch.ones(2, 3, requires_grad=learns))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == warned
    assert all('h.losses.own' in line for line in lines)
