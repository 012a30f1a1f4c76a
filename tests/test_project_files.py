"""What is written down twice in the files around the package, and what these files promise."""

from __future__ import annotations

import ast
import os
import re
import tomllib
from pathlib import Path

import pytest
import yaml

import vireid
from vireid.cli.commands import NAMES

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
PYTHONS = [text.rpartition(' :: ')[2] for text in PROJECT['classifiers'] if re.search(r':: 3\.\d+$', text)]


@pytest.fixture(scope='module')
def workflow():
    return yaml.safe_load((ROOT / '.github/workflows/ci.yml').read_text())


@pytest.fixture(scope='module')
def citation():
    return yaml.safe_load((ROOT / 'CITATION.cff').read_text())


def test_the_version_is_that_of_the_changelog_and_the_citation(citation):
    assert 'version' in PROJECT['dynamic']  # read from vireid/__init__.py
    newest, date = re.findall(r'^## \[(\d\S*)\] - (\S+)$', (ROOT / 'CHANGELOG.md').read_text(), re.MULTILINE)[0]
    assert (newest, date) == (citation['version'], citation['date-released'])
    assert vireid.__version__ == newest or '.dev' in vireid.__version__  # between two releases


def test_the_citation_has_the_required_fields(citation):
    """Those of the Citation File Format 1.2.0."""
    assert citation['cff-version'] == '1.2.0'
    for field in ('message', 'title'):
        assert isinstance(citation[field], str)
    assert all('name' in author or 'family-names' in author for author in citation['authors'])
    assert citation['license'] == PROJECT['license']


def test_ci_runs_on_the_pythons_that_the_package_names(workflow):
    oldest = PROJECT['requires-python'].removeprefix('>=')
    assert PYTHONS[0] == oldest
    matrix = workflow['jobs']['tests']['strategy']['matrix']
    assert matrix['python'] == PYTHONS
    for system in ('macos-latest', 'windows-latest'):
        assert [job['python'] for job in matrix['include'] if job['os'] == system] == [PYTHONS[0], PYTHONS[-1]]
    assert workflow['jobs']['smoke']['strategy']['matrix']['python'] == [PYTHONS[0], PYTHONS[-1]]


def test_ci_calls_targets_and_scripts_that_exist(workflow):
    targets = set(re.findall(r'^([\w-]+):', (ROOT / 'Makefile').read_text(), re.MULTILINE))
    lines = [step['run'] for job in workflow['jobs'].values() for step in job['steps'] if 'run' in step]
    called = {line.split()[1] for line in lines if line.startswith('make ')}
    assert {'lint', 'site', 'coverage'} <= called <= targets
    scripts = [word for line in lines for word in line.split() if word.endswith('.py')]
    assert scripts == ['tools/smoke_test.py']
    assert all((ROOT / script).is_file() for script in scripts)


def test_pre_commit_runs_the_tools_of_make_lint_from_the_environment():
    lint = (ROOT / 'Makefile').read_text().split('\nlint: ')[1].split('\n\n')[0]
    tools = {line.split()[0].removeprefix('$(BIN)/') for line in lint.splitlines()[1:]}
    (local,) = yaml.safe_load((ROOT / '.pre-commit-config.yaml').read_text())['repos']
    assert local['repo'] == 'local'
    assert {hook['entry'].split()[0] for hook in local['hooks']} == tools
    assert {hook['language'] for hook in local['hooks']} == {'system'}


def test_type_checkers_see_the_public_names():
    """`__init__.pyi` has the names that `__init__.py` imports on first use, from the same modules."""
    stub = ast.parse((ROOT / 'vireid/__init__.pyi').read_text())
    imported = {
        alias.asname: node.module for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert imported == vireid._LAZY
    assert (ROOT / 'vireid/py.typed').is_file()


def test_extras_that_the_messages_name_exist():
    named = {
        extra
        for path in (ROOT / 'vireid').rglob('*.py')
        for extras in re.findall(r'vireid\[([\w,]+)\]', path.read_text())
        for extra in extras.split(',')
    }
    assert named
    assert named <= set(PROJECT['optional-dependencies'])


def test_the_smoke_test_uses_commands_that_exist():
    """It runs far from the repository, where nothing else would notice."""
    tree = ast.parse((ROOT / 'tools/smoke_test.py').read_text())
    commands = next(
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], 'id', '') == 'COMMANDS'
    )
    assert isinstance(commands, ast.Tuple)
    words = [each.elts[0].value for each in commands.elts]  # type: ignore[attr-defined]
    assert words[0] == '--version'
    assert {'train', 'test', 'report'} <= set(words[1:]) <= set(NAMES)


def test_ci_runs_all_tests_the_lint_and_the_site() -> None:
    """The tests that are marked `long` too, which `make test` leaves out."""
    lines = (ROOT / '.ci/run').read_text().splitlines()
    assert [line for line in lines if line.startswith('make')] == [
        f'make {target}' for target in ('test-long', 'test', 'lint', 'site')
    ]
    assert 'set -euo pipefail' in lines
    assert os.access(ROOT / '.ci/run', os.X_OK)


def test_benchmarks_are_described():
    described = (ROOT / 'benchmarks/README.md').read_text()
    assert [path.name for path in (ROOT / 'benchmarks').glob('*.py') if path.name not in described] == []
