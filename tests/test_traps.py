"""The field's traps, end to end: what they would change, and that here they change nothing or are refused.

Those of single parts are beside the parts: ties, ranks past the end, one person, no match and negative similarities in
`core/scoring/test_retrieval.py`; counts, missing cameras and stray files of each reader in `plugins/datasets`; draws
and global random numbers in `plugins/protocols`.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import Resize

from vireid.core.scoring.embedding import all_samples, embed_samples
from vireid.core.types import INFRARED, MODALITIES, VISIBLE, Trial
from vireid.errors import Mismatch
from vireid.exchange.evaluation import score_checkpoint
from vireid.launch.launch import train
from vireid.plugins.datasets.folders import Folders
from vireid.plugins.datasets.llcm import LLCM
from vireid.plugins.datasets.manifest import Manifest
from vireid.plugins.datasets.regdb import RegDB
from vireid.plugins.datasets.sysu_mm01 import SYSUMM01
from vireid.plugins.protocols.cross import Cross
from vireid.plugins.protocols.llcm import LLCMProtocol
from vireid.plugins.protocols.llcm_released import LLCMReleased
from vireid.plugins.protocols.regdb_agw import RegDBAgw
from vireid.plugins.protocols.regdb_official import RegDBOfficial
from vireid.plugins.protocols.sysu_agw import SYSUAgw
from vireid.plugins.protocols.sysu_official import SYSUOfficial
from vireid.synth import synthesize

CASES = {
    'sysu/agw': ('sysu', SYSUMM01, SYSUAgw),
    'sysu/official': ('sysu', SYSUMM01, SYSUOfficial),
    'regdb/agw': ('regdb', RegDB, RegDBAgw),
    'regdb/official': ('regdb', RegDB, RegDBOfficial),
    'llcm': ('llcm', LLCM, LLCMProtocol),
    'llcm-released': ('llcm', LLCM, LLCMReleased),
    'cross, manifest': ('manifest', Manifest, Cross),
    'cross, folders': ('folders', Folders, Cross),
}
each_case = pytest.mark.parametrize('case', CASES)


@pytest.fixture(scope='module')
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A few people in every layout, whose images are noise: to draw them takes long, and nobody looks at them."""
    folder = tmp_path_factory.mktemp('traps')
    layouts = {layout for layout, _, _ in CASES.values()}
    rng = np.random.default_rng(0)

    def noise(*_: Any, **__: Any) -> Image.Image:
        return Image.fromarray(rng.integers(256, size=(40, 20, 3), dtype=np.uint8))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('vireid.synth.layouts.draw', noise)
        for layout in sorted(layouts):
            synthesize(folder / layout, layout=layout, ids=6, seed=0, images=2, workers=1)
    return {layout: folder / layout for layout in layouts}


def trials(case: str, root: Any) -> list[Trial]:
    _, reader, protocol = CASES[case]
    return protocol().trials(reader(str(root)))


def drawn(found: list[Trial], root: Path) -> list[Any]:
    """What was drawn, with paths below the root."""
    return [
        (
            t.name,
            t.index,
            t.cmc,
            [(Path(s.path).relative_to(root), s.identity, s.camera) for s in (*t.query, *t.gallery)],
        )
        for t in found
    ]


@each_case
@pytest.mark.parametrize('ending', ['/', '//', '/.'])
def test_a_root_may_end_with_a_slash(case: str, ending: str, roots: dict[str, Path]) -> None:
    root = roots[CASES[case][0]]
    assert drawn(trials(case, f'{root}{ending}'), root) == drawn(trials(case, root), root)


@each_case
def test_cam_and_other_names_elsewhere_in_the_path_mean_nothing(
    case: str, roots: dict[str, Path], tmp_path: Path
) -> None:
    root = roots[CASES[case][0]]
    moved = tmp_path / 'cam3' / 'Thermal' / 'test_nir' / 'infrared'
    moved.parent.mkdir(parents=True)
    moved.symlink_to(root)
    assert drawn(trials(case, moved), moved) == drawn(trials(case, root), root)


@each_case
def test_stray_files_do_not_shift_the_draw(case: str, roots: dict[str, Path], tmp_path: Path) -> None:
    root = roots[CASES[case][0]]
    littered = Path(shutil.copytree(root, tmp_path / 'copy'))
    for folder in [p for p in littered.rglob('*') if p.is_dir()]:
        for name in ('Thumbs.db', '.DS_Store', '._0001.jpg', '0000.txt'):
            (folder / name).write_bytes(b'stray')
    assert drawn(trials(case, littered), littered) == drawn(trials(case, root), root)


@each_case
def test_global_random_numbers_are_neither_read_nor_moved(case: str, roots: dict[str, Path]) -> None:
    root = roots[CASES[case][0]]
    found = []
    for seed in (1, 2):
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # type: ignore[index]
        found.append(drawn(trials(case, root), root))
        after = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # type: ignore[index]
        assert after == before
    assert found[0] == found[1]


class Streams:
    """Notes the brightness of what each stream is given."""

    def __init__(self) -> None:
        self.seen: dict[str, set[int]] = {m: set() for m in MODALITIES}

    def embed(self, images: Tensor, modality: str) -> Tensor:
        self.seen[modality] |= {int(v) for v in images.mean(dim=(1, 2, 3)).round()}
        return images.mean(dim=(2, 3))


@each_case
def test_an_image_goes_through_the_stream_of_its_modality_whatever_its_role(
    case: str, roots: dict[str, Path], tmp_path: Path
) -> None:
    root = Path(shutil.copytree(roots[CASES[case][0]], tmp_path / 'copy'))
    found = trials(case, root)
    for sample in all_samples(found):  # visible images become dark, infrared ones bright
        with Image.open(sample.path) as image:
            size = image.size
        Image.new('RGB', size, (50,) * 3 if sample.modality == VISIBLE else (200,) * 3).save(sample.path)
    streams = Streams()
    embed_samples(streams, all_samples(found), lambda image: Resize((8, 4))(image).float(), workers=0)
    assert streams.seen == {VISIBLE: {50}, INFRARED: {200}}
    roles: dict[str, set[str]] = {'query': set(), 'gallery': set()}
    for trial in found:
        roles['query'] |= {s.modality for s in trial.query}
        roles['gallery'] |= {s.modality for s in trial.gallery}
    if not case.startswith('sysu') and case != 'llcm-released':
        assert roles == {'query': set(MODALITIES), 'gallery': set(MODALITIES)}  # each is both in turn


def test_single_channel_infrared_files_train_and_score_as_three_equal_channels(
    small_sysu: Path, make_tiny: Callable[..., Any], tmp_path: Path
) -> None:
    results = []
    for mode in ('L', 'RGB'):
        root = Path(shutil.copytree(small_sysu, tmp_path / mode))
        for path in [*root.glob('cam3/*/*.jpg'), *root.glob('cam6/*/*.jpg')]:
            gray = Image.open(path).convert('L')
            gray.convert(mode).save(path.with_suffix('.png'))  # without loss, so that the two are the same image
            path.unlink()
        results.append(train(make_tiny(root, 'training.epochs=1'), tmp_path / f'run_{mode}'))
    assert results[0].rows() == results[1].rows()


def test_identities_that_were_trained_on_are_not_tested_on(
    roots: dict[str, Path], make_tiny: Callable[..., Any], tmp_path: Path
) -> None:
    """A model of one's own folders, halved in training, and then scored on all of them."""
    root = tmp_path / 'folders'
    for modality in MODALITIES:
        for part in ('train', 'test'):
            shutil.copytree(roots['folders'] / part / modality, root / modality, dirs_exist_ok=True)

    def make(share: float) -> Any:
        dataset = f'dataset={{"type": "Folders", "root": "{root}", "test_share": {share}}}'
        return make_tiny(root, 'protocol={"type": "cross"}', 'training.epochs=1', dataset, name='regdb')

    train(make(0.5), tmp_path / 'run')
    last = tmp_path / 'run/checkpoints/last.pt'
    assert score_checkpoint(make(0.5), last, tmp_path / 'test', None).rows()
    with pytest.raises(Mismatch, match=r'last\.pt .*\d+ .*images'):
        score_checkpoint(make(1.0), last, tmp_path / 'test', None)


def test_a_model_may_be_tested_on_another_dataset(
    roots: dict[str, Path], small_sysu: Path, make_tiny: Callable[..., Any], tmp_path: Path
) -> None:
    train(make_tiny(small_sysu, 'training.epochs=1'), tmp_path / 'run')
    other = make_tiny(roots['regdb'], name='regdb')
    found = score_checkpoint(other, tmp_path / 'run/checkpoints/last.pt', tmp_path / 'test', None)
    assert found.protocol == 'regdb/agw'


def test_another_size_than_in_training_is_said(small_sysu: Path, make_tiny: Callable[..., Any], tmp_path: Path) -> None:
    train(make_tiny(small_sysu, 'training.epochs=1'), tmp_path / 'run')
    last = tmp_path / 'run/checkpoints/last.pt'
    found = score_checkpoint(make_tiny(small_sysu, 'images.size=[64,32]'), last, tmp_path / 'test', None)
    assert found.weights.endswith(', trained at 32 x 16 and scored at 64 x 32')
