"""What several test files stand on: datasets of the true shape, made of empty files."""

from __future__ import annotations

import copy
import functools
import gc
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis.internal.conjecture import providers
from PIL import Image

from vireid.plugin_manager import manager as manager_module
from vireid.synth import layouts

FIXTURES = Path(__file__).parent / 'fixtures'


# The suite draws the same examples every time, on every machine. `make test-random` draws others; what it finds becomes
# a test of its own.
settings.register_profile('suite', derandomize=True, deadline=None, database=None)
settings.register_profile('random', deadline=None, database=None, print_blob=True)
settings.load_profile('suite')
# hypothesis draws constants from the source of every module imported so far as well: examples would depend on which
# tests ran before, and reading the sources takes 10 seconds in each process
if hasattr(providers, '_get_local_constants'):
    providers._get_local_constants = lambda: providers._local_constants

# these read SYSU-MM01 of the true size, whose 45,000 files are then made by one process alone
ON_SYSU_ROOT = ('test_sysu_mm01', 'test_sysu_agw', 'test_sysu_official', 'test_reproduction')
# these take longest, in this order: begun first, so that neither of the two processes works alone at the end
LONGEST = (
    *ON_SYSU_ROOT,  # before files were deleted: ext4 makes new ones slowly then
    'test_configs', 'test_received', 'test_distributed', 'test_systems', 'test_own_cameras_guide', 'test_released',
    'test_hostile_text', 'test_count', 'test_cli', 'test_ablate', 'test_example', 'test_stages', 'test_trainer',
    'test_two_stream_network', 'test_hicmd', 'test_mutated_configs', 'test_selection',
    'test_two_stream_resnet',
    'test_figures', 'test_testing', 'test_comparison_runs', 'test_api', 'test_checkpoint_commands', 'test_disk_faults',
    'test_index', 'test_plugin_guide', 'test_plugin_examples', 'test_page', 'test_signals', 'test_faults',
)  # fmt: skip


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Gives the files of `ON_SYSU_ROOT` to one process, and each other file as a whole."""
    if config.getvalue('dist') != 'loadfile':
        return None
    from xdist.scheduler import LoadFileScheduling

    class ByFile(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return 'sysu_root' if Path(file).stem in ON_SYSU_ROOT else file

    return ByFile(config, log)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object | None) -> None:
    """Says how a worker process was lost: xdist does not."""
    if not error:
        return
    process = node.gateway._io.popen
    try:
        how = f'it ended with status {process.wait(timeout=10)}'
    except subprocess.TimeoutExpired:  # it lives, but its connection is closed: faulthandler prints where it is
        process.send_signal(signal.SIGABRT)
        how = 'it still runs'
    print(f'\n{node.gateway.id} (process {process.pid}) was lost: {how}', file=sys.__stderr__, flush=True)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Collects 6,000 tests in four fifths of the time: nothing is garbage while modules are imported.

    Nor is any of it later: 400,000 objects that are not looked through again save a tenth of the suite's time, and
    looking through new ones less often 4% more.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the files that take longest first."""
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


@pytest.fixture(scope='session', autouse=True)
def packages_read_once() -> Iterator[None]:
    """What is installed is looked up once for each search path, not by each of a thousand plugin managers."""
    installed = functools.cache(lambda group, path: entry_points(group=group))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manager_module, 'entry_points', lambda group: installed(group, tuple(sys.path)))
        yield


@pytest.fixture(scope='session', autouse=True)
def pictures_drawn_once() -> Iterator[None]:
    """Pictures of seed 0, which tests all over the suite train on, are drawn once; those of drawing use other seeds."""
    draw = layouts.draw
    drawn: dict[Any, Image.Image] = {}

    def draw_once(look: Any, **arguments: Any) -> Image.Image:
        if arguments['seed'] != 0:
            return draw(look, **arguments)
        key = (look.identity, *sorted(arguments.items()))
        if key not in drawn:
            drawn[key] = draw(look, **arguments)
        return drawn[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layouts, 'draw', draw_once)
        yield


@pytest.fixture(scope='session', autouse=True)
def networks_drawn_once() -> Iterator[None]:
    """Of ResNets whose random weights begin at the same state of torch's generator, one is drawn, and the rest copied.

    Three quarters of the suite's ResNets are among the last eight that were drawn.
    """
    import torch
    from torchvision import models

    drawn: dict[Any, tuple[torch.nn.Module, torch.Tensor]] = {}

    def once(build: Callable[..., torch.nn.Module]) -> Callable[..., torch.nn.Module]:
        def copied(**settings: Any) -> torch.nn.Module:
            if settings or torch._C._len_torch_function_stack():  # such as a device, or weights that are not drawn
                return build(**settings)
            key = (build, torch.get_default_dtype(), torch.get_rng_state().numpy().tobytes())
            network, after = drawn.pop(key, None) or (build(), torch.get_rng_state())
            drawn[key] = network, after
            if len(drawn) > 8:
                del drawn[next(iter(drawn))]
            torch.set_rng_state(after)
            return copy.deepcopy(network)

        return copied

    with pytest.MonkeyPatch.context() as patch:
        for name in ('resnet18', 'resnet50'):
            patch.setattr(models, name, once(getattr(models, name)))
        yield


@dataclass(frozen=True)
class SysuFacts:
    """Published facts of SYSU-MM01.

    Attributes:
        counts: split -> identity -> images on cameras 1 to 6.
        agw_galleries: row -> trial -> SHA-1 of the newline-joined `camX/IIII/NNNN.jpg` in drawing order.
        official_galleries: the same of the sorted names.
    """

    counts: dict[str, dict[int, list[int]]]
    agw_galleries: dict[str, list[str]]
    official_galleries: dict[str, list[str]]


@pytest.fixture(scope='session')
def sysu() -> SysuFacts:
    """The published counts and gallery digests."""
    facts = json.loads((FIXTURES / 'sysu_mm01.json').read_text())
    counts = {part: {int(i): row for i, row in facts[part].items()} for part in ('train', 'val', 'test')}
    return SysuFacts(counts, facts['agw_gallery_sha1'], facts['official_gallery_sha1'])


@pytest.fixture(scope='session')
def sysu_root(sysu: SysuFacts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """SYSU-MM01 of the true size: every folder and file name, no image in them."""
    root = tmp_path_factory.mktemp('sysu')
    (root / 'exp').mkdir()
    for part, rows in sysu.counts.items():
        (root / 'exp' / f'{part}_id.txt').write_text(','.join(map(str, rows)) + '\n')
        for identity, row in rows.items():
            for camera, count in enumerate(row, 1):
                if count:
                    folder = root / f'cam{camera}' / f'{identity:04d}'
                    folder.mkdir(parents=True)
                    for number in range(1, count + 1):
                        open(f'{folder}/{number:04d}.jpg', 'x').close()
    yield root
    shutil.rmtree(root)


@pytest.fixture(scope='session')
def regdb_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """RegDB's ten index pairs: 412 identities, 10 images of each and modality, halved anew in every trial."""
    root = tmp_path_factory.mktemp('regdb')
    for folder in ('Visible', 'Thermal', 'idx'):
        (root / folder).mkdir()
    for trial in range(1, 11):
        persons = random.Random(trial).sample(range(1, 413), 412)
        for part, half in (('train', persons[:206]), ('test', persons[206:])):
            for name, letter in (('Visible', 'v'), ('Thermal', 't')):
                lines = [
                    f'{name}/{person}/female_back_{letter}_{person * 10 + shot:05d}_{person}.bmp {label}\n'
                    for label, person in enumerate(half)
                    for shot in range(10)
                ]
                (root / 'idx' / f'{part}_{name.lower()}_{trial}.txt').write_text(''.join(lines))
    return root


CONFIGS = Path(__file__).parents[1] / 'configs'
SMALL = [
    'model.backbone.depth=18',
    # two stages and short vectors: checkpoints of 12 MB instead of 125, which are written and synced many times
    'model.backbone.out_stages=[2,3]',
    'model.necks.s4.inputs=stage3',
    *(f'model.necks.{name}.channels=64' for name in ('s2', 's3', 's4')),
    'model.backbone.weights=None',
    'images.size=[32,16]',
    'images.workers=0',
    'sampler.identities=2',
    'sampler.visible=2',
    'sampler.infrared=2',
    'training.epochs=2',
    'loggers=[{"type": "MetricsFile"}]',
]


@contextmanager
def _narrowed() -> Iterator[None]:
    from torch import nn
    from torchvision import models
    from torchvision.models.resnet import BasicBlock, ResNet

    from vireid.core.types import FeatureSpec
    from vireid.plugins.backbones.two_stream_resnet import TwoStreamResNet

    class Narrow(ResNet):
        def __init__(self) -> None:
            super().__init__(BasicBlock, [1, 1, 1, 1])
            self.conv1, self.bn1 = nn.Conv2d(3, 8, 7, stride=2, padding=3, bias=False), nn.BatchNorm2d(8)

        def _make_layer(self, block: Any, planes: int, *args: Any, **kwargs: Any) -> nn.Sequential:
            self.inplanes = self.inplanes if planes > 64 else 8  # of the stem
            return super()._make_layer(block, planes // 8, *args, **kwargs)

    def share(network: nn.Module) -> int:
        return 64 // next(network.parameters()).shape[0]  # 1 for other depths

    def spec(self: Any, stage: int, channels: int, size: tuple[int, int] | None) -> FeatureSpec:
        return wide_spec(self, stage, channels // share(self), size)

    def add_inserts(self: Any, inserts: Any, specs: dict[str, FeatureSpec], *args: Any, **kwargs: Any) -> None:
        narrow = {name: replace(of, channels=of.channels // share(self)) for name, of in specs.items()}
        wide_inserts(self, inserts, narrow, *args, **kwargs)

    wide_spec, wide_inserts = TwoStreamResNet.spec, TwoStreamResNet.add_inserts
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, 'resnet18', Narrow)
        patch.setattr(TwoStreamResNet, 'spec', spec, raising=False)
        patch.setattr(TwoStreamResNet, 'add_inserts', add_inserts, raising=False)
        yield


@pytest.fixture(scope='session')
def narrowed() -> Callable[[], AbstractContextManager[None]]:
    """Within `narrowed()`, ResNet-18 is built with one block in each stage, and an eighth of the channels.

    For tests of what is around a network: building, training and writing this one take a sixth of the time. Every
    stage, stream, insert and stride is there.
    """
    return _narrowed


@pytest.fixture(scope='module')
def narrow_resnet(narrowed: Callable[[], AbstractContextManager[None]]) -> Iterator[None]:
    """A file's tests are within `narrowed()`; processes that they start are not."""
    with narrowed():
        yield


def paint(path: Path, identity: int, rng: np.random.Generator) -> None:
    """Writes a noisy image with a brightness of the person's own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.clip(45 * identity + rng.normal(0, 12, (40, 20, 3)), 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture(scope='session')
def small_sysu(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SYSU-MM01's layout: training identities 1, 2, 6, validation 3, 7, test 4, 5; 3 images on each of 4 cameras."""
    root = tmp_path_factory.mktemp('small_sysu')
    rng = np.random.default_rng(0)
    (root / 'exp').mkdir()
    for name, identities in (('train', '1,2,6'), ('val', '3,7'), ('test', '4,5')):
        (root / f'exp/{name}_id.txt').write_text(identities + '\n')
    for camera in (1, 2, 3, 6):
        for identity in range(1, 8):
            for shot in range(3):
                paint(root / f'cam{camera}/{identity:04d}/{shot + 1:04d}.jpg', identity % 5 + 1, rng)
    return root


@pytest.fixture(scope='session')
def small_regdb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """RegDB's layout: 6 identities with 2 images of each modality, halved anew in every trial."""
    root = tmp_path_factory.mktemp('small_regdb')
    rng = np.random.default_rng(0)
    (root / 'idx').mkdir()
    for person in range(1, 7):
        for name in ('Visible', 'Thermal'):
            for shot in range(2):
                paint(root / f'{name}/{person}/{shot}.bmp', person, rng)
    for trial in range(1, 11):
        persons = random.Random(trial).sample(range(1, 7), 6)
        for part, half in (('train', persons[:3]), ('test', persons[3:])):
            for name in ('Visible', 'Thermal'):
                lines = [f'{name}/{p}/{shot}.bmp {label}\n' for label, p in enumerate(half) for shot in range(2)]
                (root / 'idx' / f'{part}_{name.lower()}_{trial}.txt').write_text(''.join(lines))
    return root


@pytest.fixture
def make_small() -> Callable[..., Any]:
    """Returns what makes a small experiment of TFFN: `make_small(root, *options, name='sysu', manager=None)`."""
    from vireid.core.config import files as config
    from vireid.core.config.experiment import Experiment
    from vireid.plugin_manager.manager import create_manager

    def make(root: Path, *options: str, name: str = 'sysu', manager: Any = None) -> Experiment:
        more = ['protocol.trials=2'] if name == 'sysu' else []
        read = config.load(CONFIGS / f'tffn_{name}.py', [*SMALL, *more, f'dataset.root={root}', *options])
        return Experiment.from_config(read, manager or create_manager())

    return make


@pytest.fixture
def make_tiny(make_small: Callable[..., Any]) -> Callable[..., Any]:
    """As `make_small` on a backbone of two layers: for what a ResNet would only make longer."""
    import faults

    from vireid.plugin_manager.manager import create_manager

    def make(root: Path, *options: str, name: str = 'sysu', manager: Any = None) -> Any:
        manager = manager or create_manager()
        manager.register(faults, 'faults')
        return make_small(root, *faults.TFFN_ON_TINY, *options, name=name, manager=manager)

    return make


@pytest.fixture
def deaths_are_noticed_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch looks every 5 seconds whether the processes that it waits for are alive; here 25 times as often."""
    from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

    monkeypatch.setattr(_MultiProcessingDataLoaderIter._try_get_data, '__defaults__', (0.2,))


_RAN: list[str] = []
_DATA: set[str] = set()


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    """Notes Python files that are run in folders that hold data; nothing but a test's process is watched."""
    if event == 'exec' and _DATA:
        path = os.path.realpath(getattr(arguments[0], 'co_filename', ''))
        if any(path.startswith(folder) for folder in _DATA):
            _RAN.append(path)
            raise RuntimeError(f'{path} was run, and its folder holds data')


sys.addaudithook(_watch)


@pytest.fixture
def data_only() -> Iterator[Callable[[Path], None]]:
    """Returns what says that a folder holds data: from then on the test fails if a Python file in it is run."""
    _DATA.clear()
    _RAN.clear()
    yield lambda folder: _DATA.add(os.path.join(os.path.realpath(folder), ''))
    _DATA.clear()
    assert _RAN == []
