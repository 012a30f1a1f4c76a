"""Two hosts, played by network namespaces of this machine, that train one run: torchrun and srun, losses of all kinds.

Each host has a network, a host name and processes of its own; the folder of the run is shared. The network is tiny.
Needs Linux, root and the command `ip`; namespaces and interfaces are removed at the end.

    python benchmarks/two_hosts.py                    # everything, about 20 minutes on two busy cores
    python benchmarks/two_hosts.py --only equal       # or: lost, resumed

- equal: runs on two hosts against one process, and against each other
- lost: a host dies, its link goes down, a process stops; how long until the others end, and with which message
- resumed: on the same and on other numbers of processes, which batches are the same
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

os.environ.setdefault('OMP_NUM_THREADS', '1')
sys.path.insert(0, str(Path(__file__).parent))

import faults
import torch

from vireid.boundary import config_text
from vireid.core.training import trainer
from vireid.launch import fabric
from vireid.plugin_manager.manager import hookimpl
from vireid.synth import synthesize

LIMIT = 400  # seconds until a run counts as hung
IDENTITIES, STEPS, EVERY = 4, 12, 5  # of a whole batch; of a run; between checkpoints
PORT = 29511
WAIT = 45  # seconds that stand in for `fabric.MAX_WAIT`, to see what happens after it


# What follows runs in the processes that train, which load this file as a plugin.


@hookimpl
def register_components(add: Callable[..., None]) -> None:
    faults.register_components(add)


@hookimpl
def step_ended() -> None:
    time.sleep(float(os.environ.get('TWO_HOSTS_PAUSE', '0')))


def record_batches(folder: Path) -> None:
    """Makes trainers write the images of each step, with a checksum of their pixels after augmentation."""
    plain = trainer.Trainer.train_step

    def train_step(self: Any, batch: Any) -> bool:
        line = {
            'step': self.progress.step,
            'paths': batch.paths,
            'pixels': {m: [zlib.crc32(i.numpy().tobytes()) for i in images] for m, images in batch.images.items()},
        }
        with (folder / f'{self.fabric.global_rank}.jsonl').open('a') as file:
            file.write(json.dumps(line) + '\n')
        return plain(self, batch)

    trainer.Trainer.train_step = train_step  # type: ignore[method-assign]


if 'TWO_HOSTS_RECORD' in os.environ:
    record_batches(Path(os.environ['TWO_HOSTS_RECORD']))
if 'TWO_HOSTS_WAIT' in os.environ:
    fabric.MAX_WAIT = timedelta(seconds=float(os.environ['TWO_HOSTS_WAIT']))  # type: ignore[attr-defined]


# What follows runs in the benchmark itself.


def command(*words: str) -> None:
    subprocess.run(words, check=True)


class Host:
    """A network namespace with an end of the cable between the two hosts."""

    def __init__(self, letter: str, address: str) -> None:
        self.name, self.address = f'host-{letter}', address
        self.space, self.cable = f'vireid-{os.getpid()}-{letter}', f'vr{os.getpid()}{letter}'
        self.hosts = Path('/etc/netns') / self.space  # mounted over /etc/hosts within the namespace

    def link(self, state: str) -> None:
        """Pulls the cable (`down`) or plugs it in (`up`)."""
        command('ip', '-n', self.space, 'link', 'set', self.cable, state)

    def start(self, words: Sequence[str], log: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Starts a command whose processes all end when it is killed, as those of a host that loses power."""
        shell = f'hostname {self.name} && exec "$@"'
        own = ['unshare', '--uts', '--pid', '--fork', '--kill-child=KILL', '--mount-proc', 'sh', '-c', shell, 'sh']
        with log.open('wb') as file:
            return subprocess.Popen(
                ['ip', 'netns', 'exec', self.space, *own, *words],
                stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
                env={**os.environ, **environment}, start_new_session=True,
            )  # fmt: skip


@contextlib.contextmanager
def two_hosts() -> Iterator[tuple[Host, Host]]:
    """Connects two hosts while the block runs."""
    hosts = Host('a', '10.77.0.1'), Host('b', '10.77.0.2')
    try:
        for host in hosts:
            command('ip', 'netns', 'add', host.space)
            host.hosts.mkdir(parents=True)
            names = [f'{other.address} {other.name}' for other in hosts]
            (host.hosts / 'hosts').write_text('\n'.join(['127.0.0.1 localhost', *names]) + '\n')
        command('ip', 'link', 'add', hosts[0].cable, 'type', 'veth', 'peer', 'name', hosts[1].cable)
        for host in hosts:
            command('ip', 'link', 'set', host.cable, 'netns', host.space)
            command('ip', '-n', host.space, 'address', 'add', f'{host.address}/24', 'dev', host.cable)
            host.link('up')
            command('ip', '-n', host.space, 'link', 'set', 'lo', 'up')
        yield hosts
    finally:
        for host in hosts:
            subprocess.run(['ip', 'netns', 'del', host.space], stderr=subprocess.DEVNULL)
            subprocess.run(['ip', 'link', 'del', host.cable], stderr=subprocess.DEVNULL)
            shutil.rmtree(host.hosts, ignore_errors=True)
        with contextlib.suppress(OSError):
            hosts[0].hosts.parent.rmdir()


class Case:
    """Runs of one folder on the two hosts, and what is left of them.

    Args:
        base: folder for everything.
        name: of this case.
        hosts: the hosts.
        options: of the config, as for `--cfg-options`.
    """

    def __init__(self, base: Path, name: str, hosts: tuple[Host, Host], *options: str) -> None:
        self.base, self.hosts, self.options = base, hosts, options
        self.at = base / re.sub(r'\W+', '-', name)
        self.folder, self.batches = self.at / 'run', self.at / 'batches'
        self.batches.mkdir(parents=True)
        self.running: list[subprocess.Popen[bytes]] = []
        self.logs: list[Path] = []

    def start(self, launcher: str, each: int = 1, *flags: str, only: int | None = None, **settings: float) -> None:
        """Starts the run with `each` processes on both hosts; `launcher` is `alone`, `torchrun`, `c10d` or `srun`."""
        own = {f'TWO_HOSTS_{name.upper()}': str(value) for name, value in settings.items()}
        batches = self.batches / str(len(list(self.batches.iterdir())))
        batches.mkdir()
        environment = {'TWO_HOSTS_RECORD': str(batches), **own}
        count = each if launcher == 'alone' else 2 * each
        options = [f'sampler.identities={IDENTITIES // count}', *self.options]
        if launcher != 'alone':
            options.append('training.nodes=2')
        train = ['train', str(self.base / 'config.yaml'), '--work-dir', str(self.folder), '--devices', str(each)]
        train += ['--plugin', __file__, '--cfg-options', *options, *flags]
        self.running, self.logs = [], []

        def start(host: Host, name: str, words: Sequence[str], more: Mapping[str, str]) -> None:
            self.logs.append(self.at / f'{name}.log')
            self.running.append(host.start(words, self.logs[-1], environment | more))

        for number, host in enumerate(self.hosts):
            if (number == 1 and launcher == 'alone') or only not in (None, number):
                continue
            if launcher in ('torchrun', 'c10d'):
                first = self.hosts[0].name
                place = [f'--node-rank={number}', f'--master-addr={first}', f'--master-port={PORT}']
                if launcher == 'c10d':
                    place = ['--rdzv-backend=c10d', f'--rdzv-endpoint={first}:{PORT}', '--rdzv-id=two']
                run = ['-m', 'torch.distributed.run', '--nnodes=2', f'--nproc-per-node={each}', *place]
                start(host, host.name, [sys.executable, *run, '-m', 'vireid', *train], {})
            elif launcher == 'alone':
                start(host, host.name, [sys.executable, '-m', 'vireid', *train], {})
            else:
                for local in range(each):
                    variables = {
                        'SLURM_JOB_ID': 4711, 'SLURM_JOB_NAME': 'train', 'SLURM_NODELIST': 'host-[a-b]',
                        'SLURM_NTASKS': count, 'SLURM_STEP_NUM_TASKS': count, 'SLURM_STEP_NUM_NODES': 2,
                        'SLURM_NNODES': 2, 'SLURM_NODEID': number, 'SLURM_PROCID': number * each + local,
                        'SLURM_LOCALID': local,
                    }  # fmt: skip
                    named = {key: str(value) for key, value in variables.items()}
                    start(host, f'{host.name}-{local}', [sys.executable, '-m', 'vireid', *train], named)

    def suspend(self, number: int) -> None:
        """Suspends the processes of a host, though not its network."""
        for line in subprocess.check_output(['ps', '-e', '-o', 'pid=,pgid='], text=True).splitlines():
            pid, group = map(int, line.split())
            if group == self.running[number].pid and pid != group:
                os.kill(pid, signal.SIGSTOP)

    def reach(self, step: int) -> None:
        """Waits until a step has been logged."""
        deadline = time.monotonic() + LIMIT
        while len(losses(self.folder)) < step:
            if time.monotonic() > deadline or all(process.poll() is not None for process in self.running):
                raise RuntimeError(f'no step {step} in {self.folder}: {self.message()}')
            time.sleep(0.1)

    def end(self) -> list[int | None]:
        """Waits until all have ended; returns their exit statuses, None for those that had to be killed.

        Sets `told` and `ended` to the seconds until all had printed an error and until all had ended.
        """
        begun = time.monotonic()
        self.told = self.ended = math.inf
        while (passed := time.monotonic() - begun) < LIMIT:
            if self.told > passed and all('error: ' in log.read_text(errors='replace') for log in self.logs):
                self.told = passed
            if all(process.poll() is not None for process in self.running):
                self.ended = passed
                break
            time.sleep(0.2)
        statuses = [process.poll() for process in self.running]
        for process in self.running:
            process.kill()
            process.wait()
        return statuses

    def finish(self, launcher: str, each: int = 1, *flags: str, **settings: float) -> None:
        """Runs to the end.

        Raises:
            RuntimeError: if that fails.
        """
        self.start(launcher, each, *flags, **settings)
        if set(self.end()) != {0}:
            raise RuntimeError(f'{self.at.name}, {launcher} failed: {self.message()}')

    def message(self) -> str:
        """Returns the last error that a process of this run printed, or the end of what it printed."""
        text = '\n'.join(log.read_text(errors='replace') for log in self.logs)
        told = re.findall(r'(?:process \d+: )?error: .*(?:\n  next: .*)?', text)
        return told[0] if told else text[-2000:]

    def drawn(self, kind: str = 'paths') -> dict[int, dict[str, list[Any]]]:
        """Returns the images of each step by modality, in the order of the processes; `kind` may be `pixels`."""
        found: dict[int, dict[str, list[Any]]] = {}
        for start in sorted(self.batches.iterdir(), key=lambda path: int(path.name)):
            again: dict[int, dict[str, list[Any]]] = {}  # of a step that was repeated, the last time counts
            for file in sorted(start.iterdir(), key=lambda path: int(path.stem)):
                for line in map(json.loads, file.read_text().splitlines()):
                    for modality, values in line[kind].items():
                        again.setdefault(line['step'], {}).setdefault(modality, []).extend(values)
            found |= again
        return found

    def ended_with(self) -> dict[str, Any]:
        return faults.ended_with(self.folder)


def difference(ours: Mapping[str, torch.Tensor], theirs: Mapping[str, torch.Tensor]) -> float:
    """Returns the largest difference between two state dicts, relative to the largest value of each tensor."""
    of_each = [
        (value.double() - theirs[name].double()).abs().max() / value.double().abs().max().clamp(min=1e-12)
        for name, value in ours.items()
        if value.is_floating_point()
    ]
    return float(max(of_each))


def losses(folder: Path) -> list[float]:
    file = folder / 'metrics.jsonl'
    lines = file.read_text().splitlines() if file.exists() else []
    return [line['loss'] for line in map(json.loads, lines) if 'loss' in line]


def table(title: str, rows: Sequence[Sequence[str]]) -> None:
    print(f'\n{title}\n')
    for row in rows:
        print('| ' + ' | '.join(row) + ' |', flush=True)


SHARED = ('losses.across_ranks=True', 'training.sync_batchnorm=True')
FIXED = 'images.train=[{"type": "Resize"}, {"type": "ToFloat"}]'  # without augmentation


def equal(base: Path, hosts: tuple[Host, Host]) -> None:
    """Compares runs on two hosts with one process, and with each other."""
    cases: dict[str, Case] = {}

    def finished(name: str, launcher: str, each: int, *options: str) -> Case:
        case = cases[name] = Case(base, name, hosts, *options)
        begun = time.monotonic()
        case.finish(launcher, each)
        print(f'{name}: {time.monotonic() - begun:.0f} s', file=sys.stderr)
        return case

    rows = [('run', 'against', 'images of each step', 'pixels', 'losses', 'weights', 'metrics of its weights')]

    def compare(ours: Case, theirs: Case) -> None:
        mine, other = ours.ended_with(), theirs.ended_with()
        pairs = list(zip(losses(ours.folder), losses(theirs.folder), strict=True))
        apart = max(abs(a - b) / abs(b) for a, b in pairs)
        weights = difference(mine['model'], other['model'])
        names = {case: name for name, case in cases.items()}
        rows.append((
            names[ours], names[theirs],
            'equal' if ours.drawn() == theirs.drawn() else 'DIFFER',
            'equal' if ours.drawn('pixels') == theirs.drawn('pixels') else 'differ',
            'bit for bit' if all(a == b for a, b in pairs) else f'within {apart:.0e}',
            'bit for bit' if faults.same(mine['model'], other['model']) else f'within {weights:.0e}',
            'equal' if json.loads(mine['result'])['rows'] == json.loads(other['result'])['rows'] else 'differ',
        ))  # fmt: skip

    one = finished('one process', 'alone', 1, *SHARED, FIXED)
    two = finished('2 hosts, torchrun', 'torchrun', 1, *SHARED, FIXED)
    compare(two, one)
    four = finished('2 hosts x 2, torchrun', 'torchrun', 2, *SHARED, FIXED)
    compare(four, one)
    here = finished('two processes of one host', 'alone', 2, *SHARED, FIXED)
    compare(two, here)
    compare(finished('2 hosts, torchrun c10d', 'c10d', 1, *SHARED, FIXED), two)
    compare(finished('2 hosts, srun', 'srun', 1, *SHARED, FIXED), two)
    compare(finished('2 hosts x 2, srun', 'srun', 2, *SHARED, FIXED), four)
    flipped = finished('one process, flips', 'alone', 1, *SHARED)
    compare(finished('2 hosts, torchrun, flips', 'torchrun', 1, *SHARED), flipped)
    own = finished('2 hosts, own losses and BatchNorm', 'torchrun', 1, FIXED)
    compare(own, one)
    table('Two hosts against one process', rows)


def lost(base: Path, hosts: tuple[Host, Host]) -> None:
    """Loses a host in several ways and reports how the others end."""
    a, b = 0, 1
    rows = [('what happens at step 5', 'launcher', 'message after', 'all ended after', 'what they say')]

    def seconds(value: float) -> str:
        return f'{value:.0f} s' if value < math.inf else f'not within {LIMIT} s'

    def losing(
        name: str, launcher: str, event: Callable[[Case], Any], left: int | None = None, wait: float | None = None
    ) -> Case:
        """Does something to a run at step 5; `left` is the host whose end is awaited, None for both."""
        case = Case(base, f'{name}, {launcher}', hosts, *SHARED)
        case.start(launcher, 1, pause=0.5, **({} if wait is None else {'wait': wait}))
        everyone = case.running
        try:
            case.reach(5)
            event(case)
            if left is not None:
                case.running, case.logs = [case.running[left]], [case.logs[left]]
            statuses = case.end()
        finally:
            for process in everyone:
                process.kill()
                process.wait()
            for host in hosts:
                host.link('up')
        told = ('-', 'nothing') if set(statuses) == {0} else (seconds(case.told), case.message().replace('\n', ' '))
        rows.append((name, launcher, told[0], seconds(case.ended), told[1]))
        print(rows[-1], file=sys.stderr, flush=True)
        return case

    def kill(number: int) -> Callable[[Case], None]:
        return lambda case: case.running[number].kill()

    def broken(case: Case) -> None:
        hosts[b].link('down')
        time.sleep(20)
        hosts[b].link('up')

    def suspend(case: Case) -> None:
        case.suspend(b)

    losing('host b is killed', 'srun', kill(b), a)
    losing('host a is killed', 'srun', kill(a), b)
    losing('host b is killed', 'torchrun', kill(b), a)
    losing('host a is killed', 'torchrun', kill(a), b)
    for launcher in ('srun', 'torchrun', 'c10d'):
        losing('the link of b goes down', launcher, lambda case: hosts[b].link('down'))
    whole = losing('the link of b is down for 20 s', 'srun', broken)
    plain = Case(base, 'undisturbed', hosts, *SHARED)
    plain.finish('srun')
    same = faults.same(whole.ended_with(), plain.ended_with())
    rows[-1] = (*rows[-1][:4], f'nothing; ends as an undisturbed run, {"bit for bit" if same else "BUT DIFFERS"}')
    losing(f'host b is suspended; a waits {WAIT} s', 'srun', suspend, a, wait=WAIT)
    never = Case(base, 'never', hosts)
    never.start('srun', only=a, wait=WAIT)
    never.end()
    times = seconds(never.told), seconds(never.ended)
    rows.append((f'host b never starts; a waits {WAIT} s', 'srun', *times, never.message().replace('\n', ' ')))
    table('A host is lost', rows)


def resumed(base: Path, hosts: tuple[Host, Host]) -> None:
    """Stops runs in the middle and resumes them on the same and on other numbers of processes."""
    rows = [('stopped', 'resumed', 'images of each step', 'pixels', 'weights, against the run without a stop')]

    def resume(name: str, first: tuple[str, int], then: tuple[str, int], *options: str) -> None:
        whole = Case(base, f'{name}, whole', hosts, *options)
        whole.finish(*first)
        case = Case(base, name, hosts, *options)
        case.start(*first, pause=0.5)
        case.reach(EVERY + 2)
        for process in case.running:
            process.kill()
        case.end()
        case.finish(*then, '--resume')
        ours, theirs = case.ended_with(), whole.ended_with()
        weights = difference(ours['model'], theirs['model'])
        rows.append((
            f'{first[0]} x {first[1]}', f'{then[0]} x {then[1]}',
            'equal' if case.drawn() == whole.drawn() else 'DIFFER',
            'equal' if case.drawn('pixels') == whole.drawn('pixels') else 'differ',
            'bit for bit' if faults.same(ours['model'], theirs['model']) else f'within {weights:.0e}',
        ))  # fmt: skip
        told = re.findall('warning: .*', '\n'.join(log.read_text() for log in case.logs))
        print(rows[-1], *told, sep='\n', file=sys.stderr, flush=True)

    resume('2 to 2', ('torchrun', 1), ('torchrun', 1), *SHARED)
    resume('2 to 1', ('torchrun', 1), ('alone', 1), *SHARED, FIXED)
    resume('1 to 2', ('alone', 1), ('srun', 1), *SHARED, FIXED)
    resume('4 to 2', ('srun', 2), ('alone', 2), *SHARED, FIXED)
    resume('2 to 4, flips', ('torchrun', 1), ('torchrun', 2), *SHARED)
    table('Runs killed in the middle and resumed', rows)
    case = Case(base, 'refused', hosts, *SHARED)
    case.finish('torchrun')
    case.start('alone', 1, f'sampler.identities={IDENTITIES // 2}', '--resume')
    case.end()
    print(f'\nOne process with the sampler.identities of each of two: {case.message()}')


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = {'equal': equal, 'lost': lost, 'resumed': resumed}
    parser.add_argument('--only', choices=parts, nargs='+', default=list(parts))
    parser.add_argument('--keep', type=Path, metavar='DIR', help='leave runs and logs in this new folder')
    arguments = parser.parse_args()
    if os.name != 'posix' or os.geteuid() != 0 or not shutil.which('ip'):
        print('error: this needs Linux, root and the command ip (iproute2)', file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the namespaces are removed
    torch.set_num_threads(1)
    with contextlib.ExitStack() as stack:
        base = arguments.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        base.mkdir(parents=True, exist_ok=True)
        synthesize(base / 'people', layout='sysu', ids=10, seed=0, images=1, workers=1)
        config = faults.experiment(base / 'people', faults.Kind(by='step')).to_config()
        # Adam turns the rounding of a gradient near zero into a step of full length
        config['step'] |= {'optimizer': {'type': 'SGD', 'lr': 0.02, 'momentum': 0.9}, 'accumulate': 1}
        config['training'] |= {'steps': STEPS, 'checkpoint_every': EVERY}
        (base / 'config.yaml').write_text(config_text.dump(config))
        hosts = stack.enter_context(two_hosts())
        for name in arguments.only:
            parts[name](base, hosts)
    return 0


if __name__ == '__main__':
    sys.exit(main())
