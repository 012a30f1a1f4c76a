#!/usr/bin/env python3
"""Writes docs/models.md: parameters and operations of the papers, hybrids and compared systems (`make docs`)."""

from pathlib import Path

from vireid.cli.count import table

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / 'configs'
SECTIONS = {
    'The papers on SYSU-MM01 (395 training identities)': (395, ['tffn_sysu.py', 'dmcf_sysu.py']),
    'The papers on RegDB (206)': (206, ['tffn_regdb.py', 'dmcf_regdb.py']),
    'Ablations': (395, ['tffn_table3/*.py', 'dmcf_table2/*.py', 'dmcf_table3/*.py']),
    'Hybrids': (395, ['hybrid_*.py']),
    'The compared systems': (395, ['systems/*.py']),
    'Demos (84)': (84, ['tffn_demo.py', 'dmcf_demo.py']),
}


def document() -> str:
    """Returns the page."""
    parts = [
        '# Models',
        'Written by `make docs` and compared with the configs by the tests. Parameters: all of the network that is '
        'trained, and those that embedding one image uses (its own stream, no classifiers, nothing that is for '
        'training only). GFLOPs: operations of embedding one image, convolutions and matrix products only, a '
        'multiplication and an addition counting as two. Your own config: `vireid count my_config.py`.',
    ]
    for title, (identities, patterns) in SECTIONS.items():
        paths = [path for pattern in patterns for path in sorted(CONFIGS.glob(pattern))]
        parts += [f'## {title}', table(paths, identities)]
    return '\n\n'.join(parts) + '\n'


if __name__ == '__main__':
    (ROOT / 'docs' / 'models.md').write_text(document(), encoding='utf-8')
