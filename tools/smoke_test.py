"""Installs a wheel into an empty environment and uses it far from the repository: trains, scores, and reports.

    python -m build
    python tools/smoke_test.py dist/vireid-0.1.0-py3-none-any.whl
    python tools/smoke_test.py dist/vireid-0.1.0-py3-none-any.whl --extras report    # with figures

The environment is of the Python that runs this script, and is removed afterwards. PyTorch is installed into it, which
takes minutes and several gigabytes. Exit status 0 if everything works.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

TINY = (
    'model.backbone.depth=18', 'model.backbone.out_stages=[2,3]', 'model.necks.s4.inputs=stage3',
    *(f'model.necks.{name}.channels=32' for name in ('s2', 's3', 's4')),
    'images.size=[64,32]', 'sampler.identities=2', 'sampler.visible=2', 'sampler.infrared=2',
    'training.steps=None', 'training.epochs=2', 'training.evaluate_every=1',
)  # fmt: skip
RUN = 'runs/tffn_demo'
COMMANDS = (
    ('--version',),
    ('components', 'necks'),
    ('config', 'check', 'vireid::tffn_demo.py', 'vireid::tffn_sysu.py', 'vireid::dmcf_sysu.py'),
    ('data', 'synth', '--ids', '10', '--images', '1', 'data'),
    ('train', 'vireid::tffn_demo.py', '--data-root', 'data', '--cfg-options', *TINY),
    ('test', f'{RUN}/config.yaml', f'{RUN}/checkpoints/last.pt', '--work-dir', 'scored'),
    ('report', RUN, 'scored', '-o', 'both.html'),
    ('index', 'data', '-o', 'index', '--checkpoint', f'{RUN}/checkpoints/last.pt'),
)
WRITTEN = (f'{RUN}/result.json', f'{RUN}/report.html', 'scored/result.json', 'scored/report.html', 'both.html')


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('wheel', type=Path)
    parser.add_argument('--extras', default='', help='such as report; by default none')
    parser.add_argument('--environment', type=Path, help='an environment that has the wheel, instead of a new one')
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix='vireid-smoke-') as folder:
        environment = args.environment or Path(folder, 'environment')
        python = environment.absolute() / ('Scripts/python.exe' if os.name == 'nt' else 'bin/python')
        if args.environment is None:
            print(f'Python {sys.version.split()[0]}: installing {args.wheel.name} into a new environment', flush=True)
            venv.create(environment, with_pip=True)
            extras = f'[{args.extras}]' if args.extras else ''
            call(folder, python, '-m', 'pip', 'install', '--quiet', f'{args.wheel.resolve()}{extras}')
        place = call(folder, python, '-c', 'import vireid; print(vireid.__file__)')
        if environment.absolute() not in Path(place.strip()).parents:
            raise SystemExit(f'vireid is imported from {place.strip()}, not from the environment')
        for command in COMMANDS:
            call(folder, python, '-m', 'vireid', *command)
        missing = [name for name in WRITTEN if not Path(folder, name).is_file()]
        if missing:
            raise SystemExit(f'not written: {", ".join(missing)}')
        if 'report' in args.extras and not Path(folder, RUN, 'rankings.png').is_file():
            raise SystemExit('rankings.png was not drawn')
    print('the wheel trains, scores, and reports')
    return 0


def call(folder: str, python: Path, *arguments: str) -> str:
    """Runs Python in `folder` and returns what it prints; ends with its output if it fails."""
    print(f'$ {" ".join(["python", *arguments])[:150]}', flush=True)
    environment = {name: value for name, value in os.environ.items() if name not in ('PYTHONPATH', 'VIREID_DATA')}
    done = subprocess.run([python, *arguments], cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f'exit status {done.returncode}\n{done.stdout[-4000:]}{done.stderr[-4000:]}')
    return done.stdout


if __name__ == '__main__':
    sys.exit(main())
