"""`--dry-run`: what is printed is measured, what cannot be built is told at once, and nothing is written or read."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import torch

from vireid.cli import main
from vireid.core.config import files as config
from vireid.core.config.experiment import Experiment
from vireid.core.config.overrides import Overrides
from vireid.core.types import INFRARED, VISIBLE
from vireid.diagnostics.count_table import table
from vireid.diagnostics.dry_run import dry_run, mermaid
from vireid.errors import Mismatch, MissingKey, VireidError, WrongValue
from vireid.launch.generated_people import GeneratedDataset
from vireid.launch.work import SavedBytes
from vireid.plugin_manager.manager import create_manager

pytestmark = pytest.mark.usefixtures('narrow_resnet')

CONFIGS = Path(__file__).parents[2] / 'configs'
SMALL = ['model.backbone.depth=18', 'model.backbone.weights=None', 'images.size=[64,32]', 'training.precision=32-true']


def experiment(name: str, *options: str) -> Experiment:
    return Experiment.from_config(config.load(CONFIGS / f'{name}.py', [*SMALL, *options]), create_manager())


@pytest.fixture(scope='module')
def text() -> str:
    """What is told of a hybrid."""
    return dry_run(experiment('hybrid_dmcf_glfm', 'protocol.trials=2'))


class TestFigures:
    def test_parameters_and_work_are_those_of_vireid_count(self, text):
        counted = table([CONFIGS / 'hybrid_dmcf_glfm.py'], 100, Overrides(options=SMALL)).splitlines()[2].split(' | ')
        parameters, gflops = int(counted[3].replace(',', '')), float(counted[5])
        assert f'{parameters / 1e6:.2f} M parameters' in text
        assert float(re.search(r'compute: +([\d.]+) GFLOPs to embed', text)[1]) == pytest.approx(gflops, abs=0.01)

    def test_what_a_step_keeps_is_counted_once_for_each_storage_and_without_weights(self):
        linear = torch.nn.Linear(10, 20)
        images = torch.randn(3, 10)
        with SavedBytes(linear) as saved:
            made = linear(images)  # keeps its input, 3 x 10 floats
            loss = (made * made).sum()  # keeps one storage of 3 x 20, twice
        assert saved.total == 4 * (30 + 60)
        loss.backward()

    def test_memory_adds_up_and_grows_with_the_batch(self):
        def memory(*options: str) -> tuple[float, int, float]:
            text = dry_run(experiment('tffn_sysu', 'images.size=[96,48]', *options))
            total, pictures, *parts = re.search(
                r'at least ([\d.]+) GB for a step of (\d+) images \(weights ([\d.]+), gradients ([\d.]+), '
                r'optimizer ([\d.]+), activations ([\d.]+)\)', text,
            ).groups()  # fmt: skip
            assert float(total) == pytest.approx(sum(map(float, parts)), abs=0.03)
            return float(parts[1]), int(pictures), float(parts[3])

        gradients, pictures, activations = memory()
        assert pictures == 4 * (4 + 4)
        more = memory('sampler.identities=8')
        assert more[:2] == (gradients, 64)
        assert more[2] == pytest.approx(2 * activations, abs=0.02)

    def test_figures_of_random_images_are_not_shown_as_results(self, text):
        assert 'one evaluation of random images: sysu/agw, 4 trials of all single-shot, indoor single-shot' in text
        assert 'R1' not in text
        assert 'mAP' not in text


class TestWiring:
    def test_every_feature_and_task_has_a_line_and_the_weighter_too(self, text):
        lines = [line.split() for line in text.splitlines()]
        whole = experiment('hybrid_dmcf_glfm').model
        for name, neck in whole['necks'].items():
            assert any(line[:2] == [name, neck['type']] for line in lines), name
        for name, head in whole['heads'].items():
            assert any(line[:3] == ['task', name, head['type']] for line in lines), name
        assert any(line[:2] == ['loss', whole['weighter']['type']] for line in lines)

    @pytest.mark.parametrize('name', ['tffn_sysu', 'dmcf_sysu', 'hybrid_dmcf_glfm'])
    def test_the_graph_as_mermaid_has_every_edge_and_no_name_that_is_not_there(self, name):
        with torch.device('meta'):
            built = experiment(name).build_model(3, pretrained=False)
        lines = mermaid(built)
        assert lines[0] == 'flowchart LR'
        edges = [re.findall(r'\b(\w+)(?:\[.*?\]|\(\[.*?\]\))? --> (\w+)', line) for line in lines]
        found = {edge for pairs in edges for edge in pairs}
        wanted = {(f'f_{read}', f'f_{neck}') for neck, reads in built.inputs.items() for read in reads}
        wanted |= {(f'f_{read}', f't_{task}') for task, reads in built.head_inputs.items() for read in reads}
        assert wanted <= found
        defined = set(re.findall(r'^  (\w+)[\[(]', '\n'.join(lines), re.MULTILINE))
        defined |= set(re.findall(r'--> (\w+)[\[(]', '\n'.join(lines)))
        assert {end for edge in found for end in edge} <= defined

    def test_the_flag_prints_it_below_the_table(self, capsys):
        assert main(['train', str(CONFIGS / 'tffn_demo.py'), '--graph', '--cfg-options', *SMALL]) == 0
        out = capsys.readouterr().out
        assert out.index('one step on random images') < out.index('flowchart LR')


class TestWithout:
    def test_no_data_no_file_and_no_gpu_is_needed(self, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        flags = ['--precision', '16-mixed', '--flip', '--rerank', '--cache', 'images', '--devices', '4']
        options = ['training.accelerator=cuda', 'model.backbone.weights=None', 'images.size=[48,24]']
        assert main(['train', str(CONFIGS / 'tffn_demo.py'), '--dry-run', *flags, '--cfg-options', *options]) == 0
        assert 'note:      tried in 32-true, on the CPU; the run itself uses 16-mixed' in capsys.readouterr().out
        assert os.listdir(tmp_path) == []

    # tests/test_configs.py tries each config, and so each dataset's protocol
    def test_a_dataset_that_does_not_name_its_cameras(self):
        protocol = 'protocol={"type": "cross", "drop_same_camera": True}'
        assert 'cross, CMC by identity' in dry_run(experiment('tffn_own', protocol))

    def test_generated_people_of_training_and_test_are_others(self):
        dataset = GeneratedDataset({VISIBLE: (1, 2), INFRARED: (3,)}, (20, 10))
        train, test = ({s.identity for s in dataset.split(name)} for name in ('train', 'test'))
        assert not train & test
        assert dataset.read(dataset.split('test')[0].path).shape == (3, 20, 10)


class TestErrors:
    def test_all_that_cannot_be_built_is_told_at_once(self):
        options = [
            'model.heads.s2.channels=-4', 'model.necks.mlfm.inputs=["s2", "stage3"]', 'model.backbone.shared_from=2',
            'images.test.0.size=[1, 2, 3]', 'protocol.modes=[]', 'model.weighter.tasks.nothing="adaptive"',
        ]  # fmt: skip
        with pytest.raises(VireidError) as caught:
            dry_run(experiment('tffn_sysu', *options))
        text = str(caught.value)
        for path in ('model.heads.s2', 'model.necks.mlfm', 'images.test.0', 'protocol', 'model.weighter'):
            assert re.search(rf'^{re.escape(path)}: ', text, re.MULTILINE), (path, text)
        assert 'model.heads.s3' not in text  # it could not be tried, and that is no error of its own

    def test_a_checkpoint_to_start_from_has_to_be_there(self, capsys):
        arguments = ['train', str(CONFIGS / 'tffn_sysu.py'), '--dry-run', '--init', '/no/such.pt', '--cfg-options']
        assert main([*arguments, *SMALL]) == 2
        assert 'training.init: no checkpoint /no/such.pt' in capsys.readouterr().err

    def test_a_real_run_tells_the_same_and_that_the_data_are_missing(self, capsys, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        options = [*SMALL, 'model.heads.s2.channels=-4', 'protocol.modes=[]']
        arguments = ['train', str(CONFIGS / 'tffn_sysu.py'), '--data-root', '/no/such', '--cfg-options', *options]
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert 'model.heads.s2: channels is -4' in error
        assert 'protocol: modes' in error
        assert '/no/such does not exist' in error

    @pytest.mark.parametrize(
        ('option', 'kind', 'fact'),
        [
            ("images.train=[{'type': 'Resize'}]", Mismatch, r'images\.train .*3 x 64 x 32 uint8'),
            ("images.test=[{'type': 'ToFloat'}]", Mismatch, r'images\.test .*3 x 128 x 32 float32'),
            ('images.train.2.size=[400,400]', WrongValue, r'images\.train\.2: RandomCrop .*3 x 84 x 52 uint8'),
            ('images.train.6.scale=[]', WrongValue, r'images\.train\.6: RandomErasing'),
            ("step.schedule=[{'type': 'CosineAnnealingLR', 'T_max': 0}]", WrongValue, r'step\.schedule'),
            ('seed=100000000000000000000000', WrongValue, r'\bseed .*100000000000000000000000'),
            ('training.devices=-1', WrongValue, r'training\.devices .*-1'),
            ('training.accelerator=abacus', WrongValue, r"training\.accelerator .*'abacus'"),
            (
                "model.heads={'a.b': {'type': 'GlobalHead', 'losses': {'id': {'type': 'CrossEntropy'}}}}",
                VireidError,
                r"'a\.b'",
            ),
            (
                "model.heads.s2.losses={'keys': {'type': 'CrossEntropy'}}",
                WrongValue,
                r"model\.heads\.s2\.losses: .*'keys'",
            ),
            ('model.necks.mlfm.inputs=[]', MissingKey, r'model\.necks\.mlfm .*inputs'),
            ("model.heads.s2.losses={'id': None}", MissingKey, r"model\.heads\.s2\.losses .*\{'id': None\}"),
        ],
        ids=lambda value: value[:40] if isinstance(value, str) else value.__name__,
    )
    def test_errors_found_only_by_building_name_the_config_key(self, option, kind, fact):
        with pytest.raises(VireidError, match=fact) as caught:
            dry_run(experiment('tffn_sysu', option))
        assert type(caught.value) is kind
