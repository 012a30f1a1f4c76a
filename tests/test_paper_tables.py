"""docs/systems/README.md holds the papers' comparison tables, with a config for each row."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / 'docs' / 'systems' / 'README.md'
spec = importlib.util.spec_from_file_location('paper_tables', Path(__file__).parent / 'fixtures' / 'paper_tables.py')
paper_tables = importlib.util.module_from_spec(spec)
spec.loader.exec_module(paper_tables)
TABLES = {
    'TFFN, Table 1: RegDB': paper_tables.TFFN_TABLE_1,
    'TFFN, Table 2: SYSU-MM01': paper_tables.TFFN_TABLE_2,
    'DMCF, Table 1: RegDB and SYSU-MM01': paper_tables.DMCF_TABLE_1,
}


def rows(title: str) -> list[list[str]]:
    """Returns the cells of the table under a heading, without its two header lines."""
    section = PAGE.read_text().split(f'### {title}\n')[1].split('\n#')[0]
    lines = [line for line in section.splitlines() if line.startswith('|')]
    return [[cell.strip() for cell in line.strip('|').split('|')] for line in lines[2:]]


@pytest.mark.parametrize('title', TABLES)
def test_the_page_has_every_row_and_number_of_the_papers_tables(title):
    found = {}
    for name, *numbers in rows(title):
        label, target = re.fullmatch(r'\[(.+?)\]\((.+)\)', name).groups()
        label = label.replace('MLAPG (printed as MLBP)', 'MLBP')
        assert (PAGE.parent / target).is_file(), target
        found[label] = tuple(None if number == '-' else float(number) for number in numbers)
    assert found == TABLES[title]
    assert list(found) == list(TABLES[title])  # in the paper's order


def test_every_config_of_a_system_has_a_page_that_the_list_links():
    text = PAGE.read_text().split('## ')[0]
    listed = {name for row in re.findall(r'^\|[^|]+\|([^|]+)\|', text, re.M) for name in re.findall(r'`(\w+)`', row)}
    configs = {path.stem for path in (ROOT / 'configs' / 'systems').glob('*.py')}
    assert configs <= listed | {name for name in configs if name.startswith('aligngan_') or name.startswith('d2rl_')}
    for page in re.findall(r'\]\((\w+\.md)\)', text):
        assert (PAGE.parent / page).is_file(), page
