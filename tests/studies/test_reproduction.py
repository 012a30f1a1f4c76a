"""A paper's tables again: which figures may be compared, and what a verdict means."""

from __future__ import annotations

import importlib.util
import re
import shutil
from pathlib import Path

import pytest

from vireid.core.config.overrides import Overrides
from vireid.errors import IncompleteData, Mismatch, MissingKey, UnsupportedFile
from vireid.plugin_manager.manager import create_manager
from vireid.statistics.seeds import repeat_interval
from vireid.studies.ablation import Table, unique_runs
from vireid.studies.reproduction import SPLITS, find_data, plan
from vireid.studies.reproduction_cells import Cell, table_markdown, table_text
from vireid.studies.reproduction_estimate import _time

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / 'configs'
spec = importlib.util.spec_from_file_location('paper_tables', ROOT / 'tests' / 'fixtures' / 'paper_tables.py')
paper_tables = importlib.util.module_from_spec(spec)
spec.loader.exec_module(paper_tables)
DMCF = {name: (values[:4], values[4:]) for name, values in paper_tables.DMCF_TABLE_1.items()}
PRINTED = {
    'papers/tffn_table1': ('RegDB', paper_tables.TFFN_TABLE_1),
    'papers/tffn_table2': ('SYSU-MM01', paper_tables.TFFN_TABLE_2),
    'tffn_table3': ('SYSU-MM01', paper_tables.TFFN_TABLE_3),
    'papers/dmcf_table1_regdb': ('RegDB', {name: own for name, (own, _) in DMCF.items() if own[0] is not None}),
    'papers/dmcf_table1_sysu': ('SYSU-MM01', {name: own for name, (_, own) in DMCF.items()}),
}


def made(data: Path, folder: str = 'tffn_table3', only=('b',), options=(), type='SYSU-MM01', seeds=(0, 1)):
    overrides = Overrides(values={'dataset.root': str(data)}, options=options)
    return plan([Table.read(CONFIGS / folder)], type, overrides, create_manager(), Path('runs'), seeds, only=only)


class TestTables:
    @pytest.mark.parametrize('folder', PRINTED)
    def test_they_hold_what_the_paper_prints(self, folder):
        table = Table.read(CONFIGS / folder)
        data, printed = PRINTED[folder]
        names = ('R1', 'R10', 'mAP') if len(next(iter(printed.values()))) == 3 else ('R1', 'R10', 'R20', 'mAP')
        assert table.data == data
        assert {row['label']: tuple(row[name] for name in names) for row in table.rows.values()} == printed

    @pytest.mark.parametrize('folder', ['papers/tffn_table1', 'papers/dmcf_table1_regdb'])
    def test_on_regdb_every_row_has_a_run_for_each_split(self, folder, regdb_root, monkeypatch):
        assert SPLITS['RegDB'] == tuple(range(1, 11))
        monkeypatch.setitem(SPLITS, 'RegDB', (1, 10))  # eight less to resolve
        whole = made(regdb_root, folder, only=(), type='RegDB', seeds=[0])
        ((table, jobs),) = whole.tables
        splits = [(job.row, job.experiment.dataset['split']) for job in jobs]
        assert splits == [(row, split) for split in (1, 10) for row in table.rows]
        assert len({job.folder for job in jobs}) == len({job.label for job in jobs}) == len(jobs)
        assert {job.experiment.protocol['type'] for job in jobs} == {'regdb/agw'}
        assert whole.reasons == {}  # the settings of the table itself are no difference

    def test_a_row_that_is_not_trained_runs_once(self, sysu_root):
        ((_, jobs),) = made(sysu_root, 'papers/dmcf_table1_sysu', only=('hog', 'bdtr')).tables
        assert [(job.row, job.seed) for job in jobs] == [('hog', 0), ('bdtr', 0), ('bdtr', 1)]

    def test_the_network_of_two_tables_is_trained_once(self, sysu_root):
        tables = [Table.read(CONFIGS / 'papers/tffn_table2'), Table.read(CONFIGS / 'tffn_table3')]
        overrides = Overrides(values={'dataset.root': str(sysu_root)})
        whole = plan(tables, 'SYSU-MM01', overrides, create_manager(), Path('runs'), [0])
        assert sum(len(jobs) for _, jobs in whole.tables) == 14
        assert len(unique_runs(whole.tables)) == 13


class TestComparable:
    def test_a_complete_copy_with_the_settings_of_the_paper(self, sysu_root):
        assert made(sysu_root).reasons == {}

    def test_settings_of_the_machine_are_no_difference(self, sysu_root):
        options = ['images.workers=0', 'training.precision=bf16-mixed', 'evaluation.batch_size=8', 'loggers=[]']
        assert made(sysu_root, options=options).reasons == {}

    @pytest.mark.parametrize(
        ('option', 'both'),
        [
            ('training.epochs=1', '1, not 70'),
            ('images.size=[144,72]', '[144, 72], not [288, 144]'),
            ('protocol.trials=2', '2, not 10'),
        ],
    )
    def test_other_settings_are_named(self, sysu_root, option, both):
        whole = made(sysu_root, options=[option])
        assert whole.reasons == {('tffn_table3', 'b'): f'another {option.partition("=")[0]} ({both})'}

    def test_half_of_the_images_are_counted(self, sysu_root, tmp_path):
        for name in ('exp', 'cam1', 'cam2', 'cam3', 'cam4', 'cam6'):  # one camera is missing
            (tmp_path / name).symlink_to(sysu_root / name)
        reason = made(tmp_path).reasons['', '']
        assert reason.startswith('not the SYSU-MM01 of the paper: train has ')
        assert 'visible instead of 22,258' in reason
        assert 'infrared' not in reason  # all of these are there

    def test_half_of_the_people_are_refused_by_the_reader(self, sysu_root, tmp_path):
        shutil.copytree(sysu_root / 'exp', tmp_path / 'exp')
        for camera in range(1, 7):
            for folder in sorted((sysu_root / f'cam{camera}').iterdir())[::2]:
                (tmp_path / f'cam{camera}').mkdir(exist_ok=True)
                (tmp_path / f'cam{camera}' / folder.name).symlink_to(folder)
        with pytest.raises(IncompleteData, match=re.escape(str(tmp_path))):
            made(tmp_path)


class TestData:
    def test_the_dataset_is_found_by_its_files(self, sysu_root, regdb_root):
        assert find_data(str(sysu_root), create_manager()) == 'SYSU-MM01'
        assert find_data(str(regdb_root), create_manager()) == 'RegDB'

    def test_another_dataset(self, tmp_path):
        (tmp_path / 'visible').mkdir()
        with pytest.raises(UnsupportedFile, match=re.escape(str(tmp_path))):
            find_data(str(tmp_path), create_manager())

    def test_none(self):
        with pytest.raises(MissingKey, match='--data-root'):
            find_data(None, create_manager())

    def test_tables_of_another_dataset(self, regdb_root):
        with pytest.raises(Mismatch, match=r'RegDB.* SYSU-MM01'):
            made(regdb_root, type='RegDB')


class TestVerdict:
    ours = (49.0, 50.0, 51.0)

    def cell(self, published: float, **values) -> Cell:
        return Cell(**{'row': 'B', 'metric': 'R1', 'published': published, 'family': 'sysu/agw', 'values': self.ours,
                       'repeats': 1, **values})  # fmt: skip

    def test_inside_is_within_the_interval_of_a_repetition(self):
        low, high = (100 * limit for limit in repeat_interval([0.49, 0.50, 0.51]))
        assert self.cell(50.0).interval == (low, high)
        assert [self.cell(value).verdict for value in (low - 0.01, low, high, high + 0.01)] == [
            'outside', 'inside', 'inside', 'outside'
        ]  # fmt: skip

    def test_a_mean_over_ten_splits_is_expected_closer(self):
        (low, high), (least, most) = self.cell(50.0).interval, self.cell(50.0, repeats=10).interval
        assert low < least < most < high

    def test_one_run_proves_nothing(self):
        assert self.cell(50.0, values=(50.0,)).verdict == 'not comparable'

    def test_a_reason_overrules_the_numbers(self):
        assert self.cell(50.0, reason='synthetic people').verdict == 'not comparable'

    def test_the_tables_count_the_verdicts_and_give_the_reasons(self):
        table = Table.read(CONFIGS / 'tffn_table3')
        cells = [
            self.cell(50.0), self.cell(50.0, family='sysu/official'),
            self.cell(90.0, metric='R10'), self.cell(50.0, metric='R10', family='sysu/official'),
            self.cell(50.0, row='C', reason='another training.steps'),
            self.cell(50.0, row='C', family='sysu/official', reason='another training.steps'),
        ]  # fmt: skip
        for text in (table_text(table, cells), table_markdown(table, cells)):
            assert 'sysu/agw: 1 of 2 figures inside, 1 outside' in text
            assert 'sysu/official: 2 of 2 figures inside, 0 outside' in text
            assert 'not comparable (C): another training.steps' in text


@pytest.mark.parametrize(
    ('hours', 'text'),
    [(0.001, 'less than a minute'), (0.02, '1 minute'), (0.31, '19 minutes'), (3.4, '3.4 hours'), (72, '3.0 days')],
)
def test_times_have_fitting_units(hours, text):
    assert _time(hours) == text
