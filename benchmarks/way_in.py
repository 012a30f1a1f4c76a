"""How the flags of `vireid train` become a run: which modules the command enters before `Trainer.train`, and how often.

A profiler counts calls from `vireid.cli` into other modules, and calls that hand on the parsed flags.

    python benchmarks/way_in.py [--config configs/tffn_demo.py]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path
from types import FrameType

from vireid.cli import main as vireid
from vireid.synth import synthesize


class Arrived(BaseException):
    """The run is about to train."""


def count(arguments: list[str]) -> tuple[Counter[str], Counter[str]]:
    """Runs a command up to `Trainer.train`.

    Returns:
        How often each module is entered from the command line, and with the parsed flags.
    """
    entered, with_flags = Counter[str](), Counter[str]()
    started = False

    def profile(frame: FrameType, event: str, argument: object) -> None:
        nonlocal started
        module, name = frame.f_globals.get('__name__', ''), frame.f_code.co_qualname
        if event != 'call' or not module.startswith('vireid'):
            return
        if (module, name) == ('vireid.core.training.trainer', 'Trainer.train'):
            sys.setprofile(None)
            raise Arrived
        started |= (module, name) == ('vireid.cli.train', 'run')
        caller = frame.f_back.f_globals.get('__name__', '') if frame.f_back else ''
        if started and caller.startswith('vireid.cli') and caller != module:
            entered[module] += 1
            if any(isinstance(value, argparse.Namespace) for value in frame.f_locals.values()):
                with_flags[module] += 1

    sys.setprofile(profile)
    try:
        vireid(arguments)
    except Arrived:
        pass
    finally:
        sys.setprofile(None)
    return entered, with_flags


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--config', default='configs/tffn_demo.py')
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        synthesize(f'{folder}/people', layout='sysu', ids=12, seed=0, images=4, workers=1)
        words = ['train', arguments.config, '--data-root', f'{folder}/people', '--work-dir', str(Path(folder) / 'run')]
        entered, with_flags = count(words)
    for module, times in entered.most_common():
        print(f'{times} {module}' + (f', {with_flags[module]} of them with the flags' if with_flags[module] else ''))
    return 0 if entered and max(entered.values()) <= 2 else 1


if __name__ == '__main__':
    sys.exit(main())
