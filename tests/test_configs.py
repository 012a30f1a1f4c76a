"""Every shipped config builds, trains a step and embeds; the paper's ablation changes only what a row says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from vireid.cli.dry_run import dry_run
from vireid.core import config
from vireid.core.experiment import Experiment
from vireid.core.plugins import create_manager

CONFIGS = Path(__file__).parents[1] / 'configs'
FILES = sorted(p.relative_to(CONFIGS) for p in CONFIGS.rglob('*.py') if '_base_' not in p.parts)
SMALL = ['model.backbone.depth=18', 'model.backbone.weights=None', 'images.size=[64,32]', 'training.precision=32-true']

# Table 3: the tasks that are trained, what is compared, attention in MLFM, heads of GLFM
ROWS: dict[str, tuple[list[str], tuple[str, ...], bool | None, int | None]] = {
    'b': (['s4'], ('s4',), None, None),
    'b_deep': (['s2', 's3', 's4'], ('s4',), None, None),
    'b_deep_mlfm': (['s2', 's3', 's4', 'mlfm'], ('mlfm',), True, None),
    'b_deep_glfm': (['s2', 's3', 's4', 'glfm'], ('s4',), None, 4),
    'b_deep_mlfm_glfm': (['s2', 's3', 's4', 'mlfm', 'glfm'], ('mlfm',), True, 4),
    'b_deep_mlfm_without_attention': (['s2', 's3', 's4', 'mlfm'], ('mlfm',), False, None),
    'b_deep_glfm_without_heads': (['s2', 's3', 's4', 'glfm'], ('s4',), None, 1),
}


@pytest.mark.parametrize('path', FILES, ids=str)
def test_builds_and_trains_a_step(path: Path) -> None:
    experiment = Experiment.from_config(config.load(CONFIGS / path, SMALL), create_manager())
    assert 'one step on random images: loss ' in dry_run(experiment)


def test_table_3_has_a_config_for_each_row_and_no_more() -> None:
    assert {p.stem for p in (CONFIGS / 'tffn_table3').glob('*.py')} == set(ROWS)


@pytest.mark.parametrize('row', ROWS)
def test_a_row_of_table_3_is_what_it_says(row: str) -> None:
    read = config.load(CONFIGS / 'tffn_table3' / f'{row}.py', SMALL)
    model = Experiment.from_config(read, create_manager()).build_model(3)
    tasks, embedding, attention, heads = ROWS[row]
    assert list(model.tasks) == tasks
    assert model.embedding == embedding
    assert (model.necks['mlfm'].mask is not None if 'mlfm' in model.necks else None) == attention
    assert (model.necks['glfm'].num_heads if 'glfm' in model.necks else None) == heads


@pytest.mark.parametrize('row', ROWS)
def test_a_row_of_table_3_changes_the_model_and_nothing_else(row: str) -> None:
    full, changed = config.load(CONFIGS / 'tffn_sysu.py'), config.load(CONFIGS / 'tffn_table3' / f'{row}.py')
    assert {**changed, 'model': None} == {**full, 'model': None}
    kept: dict[str, Any] = {k: v for k, v in changed['model']['heads'].items() if v is not None}
    assert all(full['model']['heads'][name] == head for name, head in kept.items())
    assert {**changed['model']['backbone'], 'out_stages': None} == {**full['model']['backbone'], 'out_stages': None}


def test_the_readmes_example_of_a_custom_module_builds(tmp_path: Path) -> None:
    """The two blocks of README's "Add a module", as they stand there."""
    readme = (CONFIGS.parent / 'README.md').read_text()
    section = readme.split('## Add a module')[1].split('## In Python')[0]
    module, changed = (block.split('```')[0] for block in section.split('```python\n')[1:])
    names: dict[str, Any] = {}
    exec(module, names)
    manager = create_manager()
    manager.register(type('Plugin', (), {'register_components': staticmethod(names['register_components'])})(), 'mine')
    path = tmp_path / 'mine.py'
    path.write_text(changed.replace("'configs/", f"'{CONFIGS}/"))
    model = Experiment.from_config(config.load(path, SMALL), manager).build_model(3)
    assert type(model.necks['mlfm']).__name__ == 'GatedSum'
