"""Models filled from files: those of a run, and those that somebody else's script wrote."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from vireid.boundary import checkpoint
from vireid.errors import Mismatch, NoMatch, NotFinite, UnsafeFile
from vireid.launch.weights import initialize_from, restore_model


class Net(nn.Module):
    def __init__(self, identities: int = 4, width: int = 3) -> None:
        super().__init__()
        self.conv = nn.Linear(2, width)
        self.norm = nn.BatchNorm1d(width)
        self.classifier = nn.Linear(width, identities)


@pytest.fixture
def file(tmp_path: Path) -> Callable[[Any], str]:
    def write(content: Any) -> str:
        torch.save(content, tmp_path / 'given.pth')
        return str(tmp_path / 'given.pth')

    return write


def wrapped(model: nn.Module, prefix: str = 'module.') -> dict[str, Any]:
    return {'state_dict': {f'{prefix}{name}': tensor for name, tensor in model.state_dict().items()}, 'epoch': 3}


def equal(model: nn.Module, other: nn.Module, *names: str) -> bool:
    ours, theirs = model.state_dict(), other.state_dict()
    return all(torch.equal(ours[name], theirs[name]) for name in names or ours)


class TestInitialize:
    def test_a_state_dict_of_another_script_is_taken_and_said(self, file, capsys):
        model, other = Net(), Net()
        source = file(wrapped(other))
        about, seen = initialize_from(model, source, partial=False)
        assert equal(model, other)
        assert (about['file'], about['weights']) == (source, checkpoint.digest(other.state_dict()))
        assert len(seen) == 0
        assert capsys.readouterr().out == (
            f"weights {source}: 8 of 8 tensors, taken from 'state_dict' without the prefix 'module.'\n"
        )

    def test_old_files_have_no_counters(self, file):
        model, other = Net(), Net()
        state = {name: tensor for name, tensor in other.state_dict().items() if 'tracked' not in name}
        initialize_from(model, file(state), partial=False)
        assert equal(model, other)

    @pytest.mark.parametrize('of_run', [True, False])
    def test_a_classifier_of_other_identities_is_left_out_and_said(self, file, capsys, of_run):
        model, other = Net(identities=4), Net(identities=9)
        source = file(wrapped(other))
        if of_run:
            checkpoint.save(source, {'model': other.state_dict(), 'config': {}})
        before = model.classifier.weight.clone()
        initialize_from(model, source, partial=False, identities=4)
        assert equal(model, other, 'conv.weight', 'norm.running_mean')
        assert torch.equal(model.classifier.weight, before)
        line = f'from {source}: skipped, since this run has 4 identities: classifier.weight, classifier.bias'
        assert line in capsys.readouterr().out

    def test_another_shape_is_an_error_if_it_is_not_the_identities(self, file):
        source = file(wrapped(Net(identities=9, width=5)))
        with pytest.raises(Mismatch, match=r'training\.init: .*\(conv\.weight is \(5, 2\)'):
            initialize_from(Net(identities=4), source, partial=False, identities=4)
        with pytest.raises(Mismatch, match=r'classifier\.weight is \(9, 3\)'):  # nor if their number is not known
            initialize_from(Net(), file(wrapped(Net(identities=9))), partial=False)

    def test_a_part_that_is_missing_or_unknown_needs_partial(self, file, capsys):
        source = file(wrapped(nn.Sequential()) | {'model': {'conv.weight': torch.ones(3, 2), 'x': torch.ones(1)}})
        with pytest.raises(Mismatch, match=r'7 .*\(conv\.bias, .*; 1 .*\(x\)(.|\n)*--partial'):
            initialize_from(Net(), source, partial=False)
        model = Net()
        initialize_from(model, source, partial=True)
        assert torch.equal(model.conv.weight, torch.ones(3, 2))
        lines = capsys.readouterr().out.splitlines()
        assert lines[0] == f"weights {source}: 1 of 8 tensors, taken from 'model'; left out: x"
        assert lines[1].split() == ['from', f'{source}:', 'conv', '6', 'of', '9', 'values', '(67%)']

    def test_parts_start_afresh_by_name_and_either_network_may_lack_them(self, file):
        model, other = Net(), Net(identities=9)
        before = model.classifier.weight.clone()
        source = file({**other.state_dict(), 'critic.weight': torch.ones(1)})
        initialize_from(model, source, partial=False, fresh=('classifier.*', 'critic.*'))
        assert equal(model, other, 'conv.weight', 'norm.running_mean')
        assert torch.equal(model.classifier.weight, before)
        with pytest.raises(NoMatch, match=r"training\.init_except\.0: .*'clasifier\.\*'"):
            initialize_from(model, source, partial=False, fresh=('clasifier.*',))

    def test_weights_of_a_backbone_alone_are_sent_to_their_place(self, file):
        source = file({'state_dict': {'layer1.0.conv1.weight': torch.ones(64)}})
        with pytest.raises(Mismatch, match=rf'{source} .*layer1\.0\.conv1\.weight') as caught:
            initialize_from(Net(), source, partial=True)
        assert caught.value.todo.endswith(f'--cfg-options model.backbone.weights={source}')

    @pytest.mark.parametrize('partial', [False, True])
    def test_integers_are_no_weights(self, file, partial):
        source = file({name: tensor.to(torch.int8) for name, tensor in Net().state_dict().items() if tensor.dim()})
        with pytest.raises(Mismatch, match=r'conv\.weight .*torch\.int8, .*torch\.float32'):
            initialize_from(Net(), source, partial=partial)

    def test_an_integer_tensor_is_left_out_and_said_even_beside_other_identities(self, file, capsys):
        state = {**Net(identities=9).state_dict(), 'conv.weight': torch.ones(3, 2, dtype=torch.int8)}
        with pytest.raises(Mismatch, match=r'conv\.weight .*torch\.int8'):
            initialize_from(Net(identities=4), file(state), partial=False, identities=4)
        initialize_from(Net(identities=4), file(state), partial=True)
        assert '; left out: conv.weight, classifier.weight, classifier.bias' in capsys.readouterr().out

    @pytest.mark.parametrize('of_run', [True, False])
    def test_weights_that_are_not_finite_are_refused(self, file, of_run):
        state = {**Net().state_dict(), 'conv.bias': torch.tensor([1, float('nan'), 1])}
        source = file(state)
        if of_run:
            checkpoint.save(source, {'model': state, 'config': {}})
        with pytest.raises(NotFinite, match=r'1 of 3 .*conv\.bias .*NaN') as caught:
            initialize_from(Net(), source, partial=False)
        assert caught.value.path == 'training.init'
        initialize_from(Net(), source, partial=False, fresh=('conv.bias',))

    def test_a_list_of_tensors_is_called_that(self, file):
        with pytest.raises(Mismatch, match=r'list .*9 tensors, .*dict'):
            initialize_from(Net(), file(list(Net().state_dict().values())), partial=False)

    def test_a_whole_module_is_refused(self, file):
        with pytest.raises(UnsafeFile, match=r'torch\.nn\.modules\.linear\.Linear'):
            initialize_from(Net(), file(nn.Linear(2, 3)), partial=False)


class TestRestore:
    @pytest.mark.parametrize('identities', [10**9, 2**31 - 1])
    def test_a_file_that_says_it_is_of_a_billion_identities_takes_no_memory(self, identities):
        """Their classifier alone would take 12 GB."""

        class Experiment:
            def build_model(self, number: int, pretrained: bool) -> nn.Module:
                return Net(number)

        with pytest.raises(Mismatch, match=rf'classifier\.weight is \(4, 3\), .*\({identities}, 3\)'):
            restore_model(Experiment(), {'num_identities': identities, 'model': Net().state_dict()}, 'x.pt')
        model = restore_model(Experiment(), {'num_identities': 4, 'model': Net().state_dict()}, 'x.pt')
        assert not model.training
        assert model.conv.weight.device.type == 'cpu'

    def test_a_constructor_that_needs_values_is_built_as_it_is(self):
        class Experiment:
            def build_model(self, number: int, pretrained: bool) -> nn.Module:
                made = Net(number)
                made.conv.bias.data.fill_(made.conv.weight.sum().item())
                return made

        weights = Net().state_dict()
        model = restore_model(Experiment(), {'num_identities': 4, 'model': weights}, 'x.pt')
        assert torch.equal(model.conv.bias, weights['conv.bias'])

    def test_a_model_that_diverged_is_refused(self):
        class Experiment:
            def build_model(self, number: int, pretrained: bool) -> nn.Module:
                return Net(number)

        weights = {**Net().state_dict(), 'norm.running_var': torch.full((3,), float('inf'))}
        with pytest.raises(NotFinite, match=r"'x\.pt': 3 of 3 .*norm\.running_var .*NaN"):
            restore_model(Experiment(), {'num_identities': 4, 'model': weights}, 'x.pt')
