"""Same seed, same loss: what 60 steps of both papers' demos give, to the last digit, before and after a redesign.

Trains the demos of TFFN and DMCF in float32 and bf16 and keeps, of each, the losses of every step, a checksum of the
final weights and the scores. Two recordings are comparable on one machine only.

    python benchmarks/same_losses.py --write before.json
    python benchmarks/same_losses.py --against before.json
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parents[1]
RUNS = [(config, precision) for config in ('tffn_demo', 'dmcf_demo') for precision in ('32-true', 'bf16-mixed')]


def record(config: str, precision: str, data: Path, folder: Path, steps: int) -> dict[str, Any]:
    """Trains one run in `folder` and returns its losses, the checksum of its weights and its scores."""
    words = ['train', f'configs/{config}.py', '--data-root', str(data), '--work-dir', str(folder), '--seed', '0']
    words += ['--precision', precision, '--cfg-options', f'training.steps={steps}']
    subprocess.run([sys.executable, '-m', 'vireid', *words], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    lines = [json.loads(line) for line in (folder / 'metrics.jsonl').read_text().splitlines()]
    checkpoint = max((folder / 'checkpoints').glob('*'), key=lambda path: path.stat().st_mtime)
    weights = torch.load(checkpoint, map_location='cpu', weights_only=True)['model']
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode() + weights[name].float().numpy().tobytes())
    return {
        'losses': [line['loss'] for line in lines if 'loss' in line],
        'weights': digest.hexdigest(),
        'scores': json.loads((folder / 'result.json').read_text())['rows'],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', type=Path, default=Path('data/demo'), help='the synthetic people of `make demo`')
    parser.add_argument('--steps', type=int, default=60)
    parser.add_argument('--only', type=int, nargs='+', help=f'runs, 0 to {len(RUNS) - 1}')
    parser.add_argument('--write', type=Path, metavar='FILE', help='keep what was found')
    parser.add_argument('--against', type=Path, metavar='FILE', help='compare with what was found before')
    arguments = parser.parse_args()
    before = json.loads(arguments.against.read_text()) if arguments.against else {}
    found: dict[str, Any] = {}
    differs = False
    for number in range(len(RUNS)) if arguments.only is None else arguments.only:
        config, precision = RUNS[number]
        name = f'{config} {precision}'
        with tempfile.TemporaryDirectory() as folder:
            found[name] = record(config, precision, arguments.data.absolute(), Path(folder) / 'run', arguments.steps)
        losses = found[name]['losses']
        line = f'{name}: {len(losses)} steps, loss {losses[0]} to {losses[-1]}, weights {found[name]["weights"][:12]}'
        if name in before:
            unlike = [key for key, value in found[name].items() if value != before[name][key]]
            differs |= bool(unlike)
            line += f': {", ".join(unlike)} differ' if unlike else ': the same to the last digit'
        print(line, flush=True)
    if arguments.write:
        arguments.write.write_text(json.dumps(found))
    return int(differs)


if __name__ == '__main__':
    sys.exit(main())
