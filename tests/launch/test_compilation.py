"""A compiled training pass: one graph for the whole run, and a warning where that is not so."""

from __future__ import annotations

import pytest
import torch
from packaging.version import Version
from torch import nn

from vireid.core.types import Batch, Progress
from vireid.launch.compilation import compile_forward


@pytest.fixture(autouse=True)
def traced_only(monkeypatch):
    """Without the compiler of torch, which takes minutes: what is traced runs as it is."""
    whole = torch.compile
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    monkeypatch.setattr(torch, 'compile', lambda function: whole(function, backend='eager'))
    yield
    torch._dynamo.reset()


class Scaled(nn.Module):
    """Its result depends on the step, in one of several ways."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.layer = how, nn.Linear(3, 3)

    def forward(self, images: torch.Tensor, step: int) -> torch.Tensor:
        images = self.layer(images)
        if self.how == 'break':
            torch._dynamo.graph_break()
        if self.how == 'recompile' and step == 5:
            images = images * 2
        return images


def run(how: str, calls: int) -> None:
    model = Scaled(how)
    compile_forward(model)
    for step in range(calls):
        plain = Scaled.forward(model, torch.ones(2, 3), step)
        assert torch.equal(model(torch.ones(2, 3), step), plain)


def test_what_is_traced_once_says_nothing(capsys):
    run('', 8)
    assert capsys.readouterr().err == ''


def test_graph_breaks_are_listed_once(capsys):
    run('break', 2)
    err = capsys.readouterr().err
    assert err.startswith('warning: the compiled model has graph breaks, which make it slower: ')
    assert err.count('warning') == 1


def test_compiling_again_and_again_is_told_once(capsys):
    run('recompile', 9)
    err = capsys.readouterr().err
    assert err.count('warning') == 1
    assert 'the model was compiled again in call' in err


@pytest.mark.skipif(Version(torch.__version__) < Version('2.13'), reason='older compilers break the graph')
def test_a_network_is_one_graph_from_step_to_step(make_tiny, small_sysu, capsys):
    """Also when the epoch changes."""
    experiment = make_tiny(small_sysu)
    model = experiment.build_model(3, False, 2)
    compile_forward(model)
    size = tuple(experiment.images.size)
    labels = {m: torch.tensor([0, 0, 1, 1]) for m in ('visible', 'infrared')}
    for step in range(6):
        images = {m: torch.rand(4, 3, *size) for m in labels}
        batch = Batch(images, labels, {m: torch.ones(4, dtype=torch.long) for m in labels})
        batch.progress = Progress(step // 2, step, 2, 6)
        model(batch)
    assert capsys.readouterr().err == ''
    assert torch._dynamo.utils.counters['stats']['unique_graphs'] == 1
