"""docs/zoo.md: the table of published releases, and what stands there while there is none."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from pathlib import Path

import pytest

from vireid.errors import Changed
from vireid.statistics.scores import METRICS

ROOT = Path(__file__).parents[2]
spec = importlib.util.spec_from_file_location('zoo_page', ROOT / 'tools' / 'zoo_page.py')
zoo_page = importlib.util.module_from_spec(spec)
spec.loader.exec_module(zoo_page)


def release(folder: Path, **values: object) -> Path:
    """Writes a release without weights; `R1` is its rank-1."""
    folder.mkdir()
    rank_1 = values.pop('R1', 0.5)
    metric = {'mean': rank_1, 'seeds': [rank_1 - 0.02, rank_1 + 0.02], 'people': [0.0, 1.0]}
    row = {'name': 'all', 'variant': '', 'trials': 10, 'identities': 96, 'metrics': dict.fromkeys(METRICS, metric)}
    texts = dict.fromkeys(('permission', 'split', 'select'), '') | {'weights': '0' * 64, 'license': 'CC-BY-NC-4.0'}
    record = {'format': 1, 'name': 'tffn', **texts, 'data': 'SYSU-MM01', 'protocol': 'sysu/agw', 'identities': 395}
    record |= {'steps': 9, 'seeds': [0, 1], 'initialized': False, 'versions': {}, 'rows': [row], 'not_measured': []}
    (folder / 'release.json').write_text(json.dumps(record | values))
    (folder / 'README.md').write_text('# tffn\n')
    sums = [
        f'{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n'
        for name in ('release.json', 'README.md')
    ]
    (folder / 'SHA256SUMS').write_text(''.join(sums) + f'{"0" * 64}  model.safetensors\n')
    return folder


def test_the_page_is_what_the_tool_writes():
    folders = sorted(path.parent for path in ROOT.glob('zoo/*/release.json'))
    assert zoo_page.PAGE.read_text() == zoo_page.document(folders)


def test_an_empty_zoo_says_how_to_add_the_first_entry():
    page = zoo_page.document([])
    assert '[Add the first entry](#add-an-entry)' in page
    assert '\n## Add an entry\n' in page
    assert 'vireid publish' in page.split('## Add an entry')[1]


def test_one_row_per_release_the_best_of_each_protocol_first(tmp_path):
    folders = [release(tmp_path / 'b', name='worse', R1=0.4), release(tmp_path / 'a', name='better', R1=0.6)]
    rows = [line for line in zoo_page.table(folders).splitlines() if line.startswith('| [')]
    assert [row.split(']')[0] for row in rows] == ['| [better', '| [worse']
    assert '| SYSU-MM01 | sysu/agw, all | 2 | 60.00 (58.0 to 62.0) |' in rows[0]
    assert rows[0].endswith('| CC-BY-NC-4.0 |')


def test_a_name_is_text_and_no_markup(tmp_path):
    row = zoo_page.table([release(tmp_path / 'x', name='a](http://x) | <b>')]).splitlines()[2]
    assert '<b>' not in row.replace('\\<b', '')
    assert row.replace('\\|', '').count('|') == 8


@pytest.mark.parametrize('change', ['README.md', 'release.json', 'stranger.txt'])
def test_a_release_that_was_changed_is_refused(tmp_path, change):
    folder = release(tmp_path / 'x')
    with (folder / change).open('a') as file:
        file.write('\n')
    with pytest.raises(Changed, match=change):
        zoo_page.table([folder])
