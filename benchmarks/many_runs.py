"""Runs of a study at once: time, equal results, what is left after kills; Slurm by submitit's local executor.

    python benchmarks/many_runs.py --out /tmp/many_runs

Trains two systems with four seeds (8 short runs) of small images, in turn: one after the other in one process with all
threads, `--jobs 1 --launcher local threads=1`, `--jobs 2`, `--jobs 2` killed (a run, then the command) and repeated,
and six runs with `--launcher slurm cluster=local`, one of which is preempted. Prints times, and whether weights and
results equal those of `--jobs 1`. Takes about 15 minutes on two cores. Other processes distort the times.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from vireid.boundary import checkpoint
from vireid.reporting import result_file

SYSTEMS = ('one_stream', 'two_stream')
SEEDS = (0, 1, 2, 3)
SMALL = """
images = dict(size=(96, 48), check='nothing')
model = dict(backbone=dict(depth=18, weights=None))
training = dict(_delete_=True, steps={steps}, checkpoint_every=5)
loggers = [dict(type='MetricsFile')]
"""


def start(out: Path, name: str, *flags: str, seeds: tuple[int, ...] = SEEDS) -> subprocess.Popen[str]:
    """Starts `vireid compare` into a folder; its output goes to a file beside it."""
    command = [sys.executable, '-m', 'vireid', 'compare', *(f'vireid::systems/{system}.py' for system in SYSTEMS)]
    command += ['--on', str(out / 'small.py'), '--data-root', str(out / 'data'), '--seeds', ','.join(map(str, seeds))]
    command += ['--work-dir', str(out / name), *flags]
    with (out / f'{name}.log').open('a', encoding='utf-8') as log:
        return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, text=True, start_new_session=True)


def run(out: Path, name: str, *flags: str, seeds: tuple[int, ...] = SEEDS) -> tuple[float, int]:
    """Runs it; returns the seconds and the exit status."""
    begin = time.monotonic()
    status = start(out, name, *flags, seeds=seeds).wait()
    return time.monotonic() - begin, status


def differences(out: Path, name: str, other: str, seeds: tuple[int, ...] = SEEDS) -> list[str]:
    """Returns the runs whose final weights or metrics differ, bit for bit."""
    found = []
    for system in SYSTEMS:
        for seed in seeds:
            folders = [out / place / system / f'seed_{seed}' for place in (name, other)]
            weights = [checkpoint.digest(checkpoint.load(f / 'checkpoints' / 'last.pt')['model']) for f in folders]
            rows = [(result_file.read(folder) or {}).get('rows') for folder in folders]
            if weights[0] != weights[1] or rows[0] != rows[1]:
                found.append(f'{system} seed {seed}')
    return found


def trained(out: Path, name: str) -> dict[str, int]:
    """Returns the time of each finished result, in nanoseconds, by run."""
    return {str(p.parent.relative_to(out / name)): p.stat().st_mtime_ns for p in (out / name).rglob('result.json')}


def wait_for(out: Path, name: str, results: int) -> None:
    """Waits until so many runs are finished."""
    while len(trained(out, name)) < results:
        time.sleep(0.2)


def children(of: int) -> list[int]:
    """Returns the processes whose parent is a process."""
    found = subprocess.run(['pgrep', '-P', str(of)], capture_output=True, text=True, check=False).stdout
    return [int(number) for number in found.split()]


def kill_a_run_then_the_command(out: Path) -> None:
    """Kills one run, then the command, each in the middle; repeats the command."""
    name = 'killed'
    first = start(out, name, '--jobs', '2')
    wait_for(out, name, 2)
    time.sleep(6)
    victims = children(first.pid)
    os.kill(victims[0], signal.SIGKILL)
    print(f'killed a run: process {victims[0]} of {victims}', flush=True)
    wait_for(out, name, 4)
    time.sleep(6)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    print('killed the command', flush=True)
    before = trained(out, name)
    _, status = run(out, name, '--jobs', '2')
    after = trained(out, name)
    twice = [run for run, at in before.items() if after.get(run) != at]
    print(f'repeated: status {status}; {len(before)} runs were finished before, {len(after)} now; twice: {twice}')


def preempt(out: Path) -> None:
    """Six runs as submitit's jobs; one gets the signal that Slurm sends before it takes a node away."""
    name, seeds = 'slurm', SEEDS[:3]
    os.environ['OMP_NUM_THREADS'] = '1'  # as `jobs1` has: the number of threads changes rounding
    command = start(out, name, '--launcher', 'slurm', 'cluster=local', 'gpus=0', 'hours=1', seeds=seeds)
    log = out / name / SYSTEMS[0] / 'seed_0' / 'output.log'
    while not log.exists() or 'step 1' not in log.read_text():
        time.sleep(0.2)
    (job,) = [p for p in children(command.pid) if str(log.parent) in _words_below(p)]
    (inner,) = children(job)
    os.kill(inner, signal.SIGUSR2)
    print(f'preempted the job of {log.parent.name}', flush=True)
    print(f'status {command.wait()}; requeued: {"Requeued" in _logs(out / name / "slurm")}')


def _words_below(process: int) -> str:
    """Returns the command lines of a process and of all processes below it."""
    try:
        words = Path(f'/proc/{process}/cmdline').read_bytes().decode(errors='replace').replace('\0', ' ')
    except OSError:
        return ''
    return ' '.join([words, *(_words_below(child) for child in children(process))])


def _logs(folder: Path) -> str:
    return ' '.join(p.read_text(errors='replace') for p in folder.glob('*.*') if p.suffix in ('.out', '.err'))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--steps', type=int, default=40)
    parser.add_argument('--parts', nargs='+', default=['times', 'kills', 'slurm'])
    args = parser.parse_args()
    out = args.out.resolve()
    if 'times' not in args.parts and not (out / 'jobs1').exists():
        parser.error(f'there are no runs to compare with in {out}: add times to --parts')
    if 'times' in args.parts:
        shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)
    (out / 'small.py').write_text(SMALL.format(steps=args.steps))
    if not (out / 'data').exists():
        make = ['data', 'synth', '--layout', 'sysu', '--ids', '24', '--seed', '0', str(out / 'data')]
        subprocess.run([sys.executable, '-m', 'vireid', *make], check=True, stdout=subprocess.DEVNULL)
    print(f'load {os.getloadavg()[0]:.1f}', flush=True)
    if 'times' in args.parts:
        one = ('--launcher', 'local', 'threads=1')
        for name, flags in {'here': (), 'jobs1': (*one, '--jobs', '1'), 'jobs2': ('--jobs', '2')}.items():
            seconds, status = run(out, name, *flags)
            print(f'{name:<6} {seconds:6.1f} s, status {status}', flush=True)
        print('jobs2 differs from jobs1 in:', differences(out, 'jobs2', 'jobs1'))
        print('all threads differ from jobs1 in:', differences(out, 'here', 'jobs1'))
    if 'kills' in args.parts:
        kill_a_run_then_the_command(out)
        print('killed differs from jobs1 in:', differences(out, 'killed', 'jobs1'))
    if 'slurm' in args.parts:
        preempt(out)
        print('slurm differs from jobs1 in:', differences(out, 'slurm', 'jobs1', SEEDS[:3]))


if __name__ == '__main__':
    main()
