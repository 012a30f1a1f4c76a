"""`vireid test --save-features` and `vireid score`: the same metrics without network and images; other protocols."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from vireid.cli import main
from vireid.core.scoring.embeddings import Embeddings
from vireid.core.types import INFRARED, VISIBLE, Sample
from vireid.exchange import features
from vireid.launch.launch import train
from vireid.plugins.protocols.sysu import GALLERY_CAMERAS, drop_same_place
from vireid.plugins.protocols.sysu_official import SYSUOfficial

CONFIG = str(Path(__file__).parents[2] / 'configs' / 'tffn_sysu.py')


def table(text: str) -> list[str]:
    """The lines of a printed table, from its head on."""
    lines = text.splitlines()
    start = next(n for n, line in enumerate(lines) if 'mINP' in line)
    return [line for line in lines[start:] if line.strip()]


def test_scored_again_from_a_file_they_are_the_same_without_the_images(small_sysu, tmp_path, make_small, capsys):
    options = ['protocol.modes=["all"]', 'protocol.shots=["single", "multi"]', 'training.epochs=1']
    images = Path(shutil.copytree(small_sysu, tmp_path / 'images'))
    train(make_small(images, *options), tmp_path / 'run')
    saved = str(tmp_path / 'f.npz')
    config = str(tmp_path / 'run/config.yaml')
    words = ['test', config, str(tmp_path / 'run/checkpoints/last.pt'), '--save-features', saved, '--flip', '--rerank']
    assert main([*words, '--work-dir', str(tmp_path / 'test'), '--cfg-options', 'loggers=[{"type": "Console"}]']) == 0
    tested = capsys.readouterr().out
    assert f'score them again: vireid score {saved}' in tested
    # from the file alone
    shutil.rmtree(images)
    shutil.rmtree(tmp_path / 'run')
    assert main(['score', saved, '--rerank', '--result', str(tmp_path / 'again')]) == 0
    assert table(capsys.readouterr().out)[:18] == table(tested)[:18]  # each row has an interval below it
    names = [line.split('  ')[0] for line in table(tested)[2:18:2]]
    re_ranked = 're-ranked (20, 6, 0.3)'
    assert names == [
        f'all {shot}-shot{beside}'
        for shot in ('single', 'multi')
        for beside in ('', f', {re_ranked}', ', flip', f', flip, {re_ranked}')
    ]
    first, second = (json.loads((tmp_path / n / 'result.json').read_text()) for n in ('test', 'again'))
    assert first['rows'] == second['rows']
    assert first['protocol'] == second['protocol'] == 'sysu/agw'
    assert first['weights'] == second['weights'] == 'after step 8'


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """Features of 3 identities in SYSU-MM01's layout: 12 images each on cameras 1, 2, 4, 5, and 2 on 3 and 6."""
    rng = np.random.default_rng(0)
    samples = [
        Sample(f'cam{c}/{i:04d}/{n:04d}.jpg', i, c, VISIBLE if c in (1, 2, 4, 5) else INFRARED)
        for c in range(1, 7)
        for i in (2, 5, 6)
        for n in range(1, 13 if c in (1, 2, 4, 5) else 3)
        if (c, i) != (4, 5)  # one was not there
    ]
    raw = rng.standard_normal((7, 16))[[s.identity for s in samples]] + rng.standard_normal((len(samples), 16))
    found = (raw / np.linalg.norm(raw, axis=1, keepdims=True)).astype(np.float32)
    order = rng.permutation(len(samples))  # whatever order they were embedded in
    embeddings = Embeddings(tuple(samples[n] for n in order), found[order])
    about = {'experiment': 'tffn', 'protocol': {'type': 'sysu/agw', 'trials': 2}, 'weights': 'after step 5'}
    features.save(tmp_path / 'f.npz', embeddings, about, None)
    return tmp_path / 'f.npz'


def permutation(folder: Path) -> Path:
    """Writes `rand_perm_cam.mat` for identities 1 to 6, 12 images each."""
    rng = np.random.default_rng(1)
    cameras = np.empty((6, 1), dtype=object)
    for camera in range(6):
        cells = np.empty((6, 1), dtype=object)
        for identity in range(6):
            count = 12 if camera in (0, 1, 3, 4) else 2
            cells[identity, 0] = np.stack([rng.permutation(count) + 1 for _ in range(10)])
        cameras[camera, 0] = cells
    (folder / 'exp').mkdir()
    savemat(folder / 'exp' / 'rand_perm_cam.mat', {'rand_perm_cam': cameras})
    return folder


def test_another_protocol_may_be_scored_from_the_same_file(saved, tmp_path, capsys):
    assert main(['score', str(saved)]) == 0
    assert 'sysu/agw' in capsys.readouterr().out
    root = permutation(tmp_path)
    assert main(['score', str(saved), '--protocol', 'sysu/official', '--data-root', str(root)]) == 0
    text = capsys.readouterr().out
    assert text.startswith('tffn, after step 5, in percent:\nsysu/official')
    assert [line.split('  ')[0] for line in table(text)[2::2]] == [
        f'{mode} {shot}-shot' for mode in ('all', 'indoor') for shot in ('single', 'multi')
    ]
    assert main(['score', str(saved), '--cfg-options', 'protocol.modes=["indoor"]']) == 0
    assert [line.split('  ')[0] for line in table(capsys.readouterr().out)[2::2]] == ['indoor single-shot']


def test_ties_in_gallery_order_are_had_by_name(saved, capsys):
    assert main(['score', str(saved), '--cfg-options', 'evaluation.ties=gallery-order']) == 0
    assert 'sysu/agw, ties in gallery order ' in capsys.readouterr().out


@pytest.mark.parametrize('ties', ['mean', 'gallery-order'])
def test_a_model_that_makes_one_embedding_of_all_images_is_told(saved, tmp_path, capsys, ties):
    read = features.load(saved)
    one = np.repeat(read.embeddings.features[:1], len(read.embeddings.samples), axis=0)
    features.save(tmp_path / 'one.npz', Embeddings(read.embeddings.samples, one), read.about, None)
    words = ['score', str(tmp_path / 'one.npz'), '--cfg-options', 'protocol.modes=["all"]', f'evaluation.ties={ties}']
    assert main([*words, '--result', str(tmp_path / 'result')]) == 0
    done = 'in gallery order' if ties == 'gallery-order' else 'as the mean over all orders'
    tied, same = capsys.readouterr().out.splitlines()[-3:-1]
    assert tied == f'  ties between equally similar images affect 100.0% of the queries, which are scored {done}'
    assert re.fullmatch(r'all \d+ images have the same embedding, so these metrics mean nothing', same)
    assert main(['table', str(tmp_path / 'result')]) == 0  # whoever reads the folder later is told too
    shown = capsys.readouterr().out
    assert same in shown
    assert tied.strip() in shown


def test_a_gallery_that_was_saved_as_the_queries_too_is_told(saved, tmp_path, capsys):
    """Each infrared image has the embedding of a visible one of its person: all are found at once."""
    samples, found = features.load(saved).embeddings.samples, features.load(saved).embeddings.features.copy()
    for place, sample in enumerate(samples):
        if sample.modality == INFRARED:
            found[place] = next(
                f for s, f in zip(samples, found, strict=True)
                if (s.identity, s.camera, s.path[-8:]) == (sample.identity, 1, '0001.jpg')
            )  # fmt: skip
    features.save(tmp_path / 'own.npz', Embeddings(samples, found), features.load(saved).about, None)
    words = ['score', str(tmp_path / 'own.npz'), '--cfg-options', 'protocol.modes=["all"]', 'protocol.shots=["multi"]']
    assert main(words) == 0
    assert 'of 12 queries with a gallery image, which ranks first' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        (['--protocol', 'sysu/offical'], "did you mean 'sysu/official'?"),
        (['--protocol', 'sysu/official'], 'needs the permutation'),
        (
            ['--protocol', 'regdb/agw'],
            'the RegDB protocols do not fit these images: visible images have the cameras 1, 2',
        ),
        (['--protocol', 'llcm'], 'no camera number has both modalities'),
        (['--cfg-options', 'protocl.trials=1'], "did you mean 'protocol'?"),
        (['--cfg-options', 'evaluation.rerank.k1=5'], 'next:    add --rerank'),
        (['--cfg-options', 'evalution.rerank.k1=1'], "did you mean 'evaluation'?"),
        (
            ['--cfg-options', 'evaluation.flip=True'],
            'evaluation.flip has no effect: the embeddings are already computed',
        ),
        (['--cfg-options', 'evaluation=5'], 'evaluation is 5'),
        (['--cfg-options', 'evaluation.ties=any'], "evaluation.ties is 'any'\n  allowed: 'mean', 'gallery-order'"),
        (['--cfg-options', 'evaluation.rerank={"type": "KReciprocal", "k3": 1}'], "no argument 'k3'"),
    ],
)
def test_what_cannot_be_scored_is_said(saved, capsys, words, said):
    assert main(['score', str(saved), *words]) == 2
    assert said in capsys.readouterr().err


class TestMatlab:
    def test_files_hold_a_row_for_each_image_in_a_cell_for_each_identity(self, saved, tmp_path, capsys):
        assert main(['score', str(saved), '--matlab', str(tmp_path / 'mat')]) == 0
        assert "feature_info.name to 'vireid'" in capsys.readouterr().out
        found = features.load(saved)
        assert sorted(p.name for p in (tmp_path / 'mat').iterdir()) == [f'vireid_cam{c}.mat' for c in range(1, 7)]
        for camera in range(1, 7):
            cells = loadmat(str(tmp_path / f'mat/vireid_cam{camera}.mat'))['feature']
            assert cells.shape == (1, 6)
            for identity in range(1, 7):
                own = [s for s in found.split('test') if (s.camera, s.identity) == (camera, identity)]
                own.sort(key=lambda s: s.path)
                assert len(cells[0, identity - 1]) == len(own)
                if own:
                    assert (cells[0, identity - 1] == found.embeddings.of(own)).all()

    @pytest.mark.parametrize(('mode', 'shots'), [('all', 'single'), ('indoor', 'multi')])
    def test_the_official_evaluation_written_out_gives_the_same_from_them(self, saved, tmp_path, mode, shots):
        """Each step as the authors' MATLAB code does it, from its files alone."""
        root = permutation(tmp_path)
        assert main(['score', str(saved), '--matlab', str(tmp_path / 'mat')]) == 0
        cells = {c: loadmat(str(tmp_path / f'mat/vireid_cam{c}.mat'))['feature'] for c in range(1, 7)}
        permutations = loadmat(str(root / 'exp/rand_perm_cam.mat'))['rand_perm_cam'][:, 0]
        wanted = {'single': 1, 'multi': 10}[shots]
        rank_1, mean_ap = [], []
        for trial in range(10):
            gallery: list[tuple[np.ndarray, int, int]] = []
            for camera in GALLERY_CAMERAS[mode]:
                for identity in (2, 5, 6):
                    rows = cells[camera][0, identity - 1]
                    if len(rows):
                        order = permutations[camera - 1][identity - 1, 0][trial][:wanted]
                        gallery += [(rows[number - 1], identity, camera) for number in order]
            hits, precisions = [], []
            for camera in (3, 6):
                for identity in (2, 5, 6):
                    for query in cells[camera][0, identity - 1]:
                        kept = [g for g in gallery if not drop_same_place(0, camera, 0, g[2])]  # type: ignore[arg-type]
                        kept.sort(key=lambda g, q=query: float(np.linalg.norm(g[0].astype(float) - q.astype(float))))
                        match = [g[1] == identity for g in kept]
                        if any(match):
                            hits.append(match[0])
                            places = [n for n, m in enumerate(match, 1) if m]
                            precisions.append(np.mean([n / place for n, place in enumerate(places, 1)]))
            rank_1.append(np.mean(hits))
            mean_ap.append(np.mean(precisions))
        found: Any = features.load(saved)
        found.root = str(root)
        from vireid.core.scoring.embedding import score_trials

        protocol = SYSUOfficial(modes=[mode], shots=[shots])
        (row,) = score_trials(found.embeddings, protocol.name, protocol.trials(found)).rows()
        for key, expected in (('R1', rank_1), ('mAP', mean_ap)):
            assert row[key]['mean'] == pytest.approx(np.mean(expected), abs=1e-10)
            assert row[key]['std'] == pytest.approx(np.std(expected), abs=1e-10)

    def test_images_of_other_cameras_are_refused(self, tmp_path, capsys):
        samples = (Sample('a', 6, 5, VISIBLE), Sample('b', 6, 5, INFRARED))  # as LLCM has them: one cell for both
        about = {'protocol': {'type': 'cross'}}
        features.save(tmp_path / 'f.npz', Embeddings(samples, np.eye(2, dtype=np.float32)), about, None)
        assert main(['score', str(tmp_path / 'f.npz'), '--matlab', str(tmp_path / 'mat')]) == 2
        assert 'the SYSU-MM01 protocols do not fit these images' in capsys.readouterr().err
        assert not (tmp_path / 'mat').exists()

    def test_identities_that_are_no_places_are_refused(self, tmp_path, capsys):
        samples = (Sample('a', 0, 1, VISIBLE), Sample('b', 0, 3, INFRARED))
        about = {'protocol': {'type': 'cross'}}
        features.save(tmp_path / 'f.npz', Embeddings(samples, np.eye(2, dtype=np.float32)), about, None)
        assert main(['score', str(tmp_path / 'f.npz'), '--matlab', str(tmp_path / 'mat')]) == 2
        assert 'MATLAB indices start at 1' in capsys.readouterr().err
