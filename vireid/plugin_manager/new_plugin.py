"""`vireid plugins new`: a package with a neck or a loss, a config that uses it, and a passing test."""

from __future__ import annotations

import re
from pathlib import Path

from vireid.errors import AlreadyExists, WrongValue

PYPROJECT = """[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "{name}"
version = "0.1.0"
description = "A {part} for vireid"
requires-python = ">=3.11"
dependencies = ["vireid"]

[project.optional-dependencies]
test = ["pytest"]

# lets vireid find the package; `vireid plugins` lists it under this name
[project.entry-points."vireid.plugins"]
{name} = "{module}"

[tool.setuptools]
packages = ["{module}", "{module}.configs"]
"""
INIT = '''"""The plugin and what it registers. Modules of components are imported when a config first names them."""

from pathlib import Path

import vireid

VIREID_API = 1  # version of vireid's hooks that this plugin is written for


@vireid.hookimpl
def register_components(add):
    """Registers the components of this package."""
    add('{kind}', '{title}', '{module}.{part}:{title}')


@vireid.hookimpl
def register_configs(add):
    """Provides the configs of this package as `{name}::{config}`."""
    add(Path(__file__).parent / 'configs')
'''
NECK = '''"""A neck: reads features of the graph and outputs a new one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from vireid import FeatureSpec
from vireid.errors import Mismatch


class {title}(nn.Module):
    """A weighted sum of features; the learned weights are positive and sum to 1.

    Args:
        inputs: two or more features of the same shape.

    Raises:
        Mismatch: if the shapes differ or there are fewer than two features.
    """

    def __init__(self, inputs: Sequence[FeatureSpec]) -> None:
        super().__init__()
        if len(inputs) < 2 or len(set(inputs)) > 1:
            raise Mismatch(f'{title} got the inputs {{inputs}}', allowed='two or more of the same shape')
        self.output = inputs[0]  # the spec of the output
        self.scores = nn.Parameter(torch.zeros(len(inputs)))

    def forward(self, *features: Tensor, context: object) -> Tensor:
        """(B, C) or (B, C, H, W) features -> a feature of the same shape."""
        weights = self.scores.softmax(dim=0)
        return sum(weight * feature for weight, feature in zip(weights, features, strict=True))
'''
LOSS = '''"""A loss: reads the output of a head."""

from __future__ import annotations

from torch import Tensor, nn
from vireid import HeadOutput


class {title}(nn.Module):
    """Mean squared distance of each feature to the mean feature of its identity in the batch."""

    reads_parts = False  # a head with parts has a (B, P, C) feature; this loss reads (B, C) only

    def forward(self, output: HeadOutput, identities: Tensor) -> Tensor:
        """Output with a (B, C) feature, (B,) labels -> loss, ()."""
        same = (identities[:, None] == identities).to(output.feature.dtype)  # (B, B)
        means = same @ output.feature / same.sum(dim=1, keepdim=True)  # (B, C)
        return (output.feature - means).square().mean()
'''
CONFIG = """# A small TFFN with {title}. To try it without data:
# vireid train {name}::{config} --dry-run
# requires = ['{name}>=0.1']  # uncomment to share this config: if the package is missing, the error says so
_base_ = 'vireid::tffn_demo.py'

model = dict({place})
"""
# for each part: its kind, its source, and its place in the config
PARTS = {
    'neck': ('necks', NECK, "necks=dict(mlfm=dict(type='{title}'))"),
    'loss': ('losses', LOSS, "heads=dict(mlfm=dict(losses=dict(own=dict(type='{title}', weight=0.1))))"),
}
TEST = """from pathlib import Path

import {module}
from vireid.cli import main
from vireid.testing import check_plugin

CONFIG = Path({module}.__file__).parent / 'configs/{config}'


def test_components_meet_their_interface():
    assert check_plugin({module}) == {{'{kind} {title}': 'checked'}}


def test_the_config_builds_and_trains_one_step(capsys):
    plugin = [] if '{title}' in installed(capsys) else ['--plugin', {module}.__file__]
    assert main(['train', str(CONFIG), '--dry-run', *plugin]) == 0
    assert '{title}' in capsys.readouterr().out


def installed(capsys) -> str:
    main(['plugins', '--components'])
    return capsys.readouterr().out
"""
README = """# {name}

The {part} `{title}` for vireid.

```
pip install -e '.[test]'
pytest
vireid plugins
vireid components {kind} {title}
vireid train {name}::{config} --dry-run
```
"""


def write_plugin(name: str, into: Path, part: str = 'neck') -> list[Path]:
    """Writes the package of a plugin.

    Args:
        name: name of the package, such as `vireid-mean-fusion`.
        into: the folder in which to create the package's folder.
        part: what the package provides, one of `PARTS`.

    Returns:
        The files written.

    Raises:
        WrongValue: if the name is invalid.
        AlreadyExists: if the folder exists.
    """
    if not re.fullmatch(r'[a-z][a-z0-9]*(-[a-z0-9]+)*', name) or name == 'vireid':
        raise WrongValue(
            f'{name!r} is not a valid plugin name',
            allowed='lowercase letters and digits with single dashes, such as vireid-my-fusion',
        )
    folder = into / name
    if folder.exists():
        raise AlreadyExists(f'{folder} already exists', todo='choose another name, or delete the folder')
    module = name.replace('-', '_')
    title = ''.join(word.capitalize() for word in name.removeprefix('vireid-').split('-'))
    kind, source, place = PARTS[part]
    config = f'tffn_{part}.py'
    words = {'name': name, 'module': module, 'title': title, 'part': part, 'kind': kind, 'config': config}
    words['place'] = place.format(title=title)
    texts = {
        'pyproject.toml': PYPROJECT,
        'README.md': README,
        f'{module}/__init__.py': INIT,
        f'{module}/{part}.py': source,
        f'{module}/configs/{config}': CONFIG,
        f'tests/test_{module}.py': TEST,
    }
    written = []
    for path, text in texts.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text.format(**words), encoding='utf-8')
        written.append(target)
    return written
