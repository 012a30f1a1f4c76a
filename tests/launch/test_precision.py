"""`training.precision='auto'` is resolved once, for the machine, and says why."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from vireid.boundary import checkpoint
from vireid.core.config import files as config
from vireid.core.config.settings import TrainingSettings
from vireid.launch import precision
from vireid.launch.launch import train

AUTO = TrainingSettings(precision='auto')
STEPS = ['training.epochs=None', 'training.steps=1', 'model.backbone.type=Pooled']


@pytest.fixture
def with_bf16(monkeypatch: pytest.MonkeyPatch):
    """Lets the processor have bf16, or not."""

    def set_to(has: bool) -> None:
        monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
        monkeypatch.setattr(torch.backends.mps, 'is_available', lambda: False)
        monkeypatch.setattr(precision, '_processor_has_bf16', lambda: has)

    return set_to


def test_auto_is_bf16_where_the_processor_has_it_and_float32_elsewhere(with_bf16):
    with_bf16(True)
    assert precision.choose(AUTO) == precision.Precision('bf16-mixed', 'auto: this processor has bf16', tentative=True)
    with_bf16(False)
    assert precision.choose(AUTO) == precision.Precision('32-true', 'auto: this processor has no bf16')


def test_what_the_config_sets_is_kept_and_warned_of_where_it_is_slow(with_bf16):
    asked = TrainingSettings(precision='bf16-mixed')
    with_bf16(True)
    assert precision.choose(asked) == precision.Precision('bf16-mixed', 'set by the config')
    with_bf16(False)
    found = precision.choose(asked)
    assert (found.name, found.reason) == ('bf16-mixed', 'set by the config')
    assert found.warning == (
        'precision is bf16-mixed, but this processor has no bf16: a step may take ten times as long as in 32-true'
    )
    assert precision.choose(TrainingSettings()) == precision.Precision('32-true', 'the default')


@pytest.mark.parametrize('has', [True, False])
def test_a_gpu_is_asked_rather_than_the_processor(monkeypatch, with_bf16, has):
    with_bf16(not has)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'get_device_name', lambda: 'A GPU')
    monkeypatch.setattr(torch.cuda, 'is_bf16_supported', lambda including_emulation: has)
    assert precision.choose(AUTO).name == ('bf16-mixed' if has else '32-true')
    assert precision.choose(AUTO).reason == f'auto: A GPU has {"" if has else "no "}bf16'
    assert precision.choose(replace(AUTO, accelerator='cpu')).name == ('32-true' if has else 'bf16-mixed')


@pytest.mark.parametrize('kept', ['32-true', 'bf16-mixed'])
def test_a_resumed_run_keeps_its_precision(with_bf16, kept):
    before = precision.Precision(kept, 'auto: the processor of then')
    with_bf16(kept == '32-true')  # the machine would choose the other one
    found = precision.choose(AUTO, before, 'last.pt')
    assert (found.name, found.reason) == (before.name, before.reason)
    assert f'last.pt was trained in {kept} and resumes in it' in found.warning
    with_bf16(kept == 'bf16-mixed')
    assert precision.choose(AUTO, before, 'last.pt') == before
    # config.yaml of the run has the name that `auto` became
    assert precision.choose(TrainingSettings(precision=kept), before, 'last.pt').reason == before.reason


def test_a_checkpoint_that_says_nothing_was_trained_in_the_default():
    assert precision.of_checkpoint({'config': {'training': {}}}).name == '32-true'
    assert precision.of_checkpoint(None) is None


@pytest.mark.skipif(platform.machine() != 'x86_64', reason='oneDNN has these limits on x86')
def test_the_limit_set_for_onednn_is_obeyed():
    """A processor that may use AVX2 only is what most laptops are; oneDNN asks once in a process."""
    code = """
        import os
        from vireid.launch.precision import native_bf16
        for limit in ('AVX2', 'AVX512_CORE'):
            if os.fork() == 0:
                os.environ['ONEDNN_MAX_CPU_ISA'] = limit
                print(limit, native_bf16('cpu'), flush=True)
                os._exit(0)
            os.wait()
    """
    found = subprocess.run(
        [sys.executable, '-c', textwrap.dedent(code)], capture_output=True, text=True, check=True, timeout=600
    )
    assert found.stdout == (
        "AVX2 (False, 'this processor has no bf16')\nAVX512_CORE (False, 'this processor has no bf16')\n"
    )


def test_a_run_stores_what_auto_became_and_goes_on_with_it_elsewhere(
    with_bf16, small_sysu: Path, tmp_path: Path, make_tiny, capsys
):
    with_bf16(True)
    auto = [*STEPS, 'training.precision=auto', 'loggers=[{"type": "Console"}]', 'training.accelerator=cpu']
    train(make_tiny(small_sysu, *auto), tmp_path)
    assert 'bf16-mixed (auto: this processor has bf16) on cpu' in capsys.readouterr().out
    result = json.loads((tmp_path / 'result.json').read_text())
    assert result['precision'] == 'bf16-mixed'
    assert result['precision_reason'] == 'auto: this processor has bf16'
    assert config.load(tmp_path / 'config.yaml')['training']['precision'] == 'bf16-mixed'
    last = tmp_path / 'checkpoints' / 'last.pt'
    assert checkpoint.load(last)['config']['training']['precision'] == 'bf16-mixed'

    with_bf16(False)
    train(make_tiny(small_sysu, *auto, 'training.steps=2'), tmp_path, resume=last)
    printed = capsys.readouterr()
    assert 'bf16-mixed (auto: this processor has bf16) on cpu' in printed.out
    assert f'warning: {last} was trained in bf16-mixed and resumes in it; a new run would use 32-true' in printed.err
    assert 'a step may take ten times as long' in printed.err
    again = json.loads((tmp_path / 'result.json').read_text())
    assert (again['precision'], again['precision_reason']) == (result['precision'], result['precision_reason'])
