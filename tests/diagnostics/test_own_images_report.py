"""`vireid data check` of one's own images: what a published dataset need not be asked for."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from vireid.cli import main
from vireid.synth import synthesize

NAMES = ('anna', 'bert', 'carl', 'dora', 'emil')


@pytest.fixture(scope='module')
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five synthetic people, each in `visible/NAME` and `infrared/NAME`."""
    folder = tmp_path_factory.mktemp('own')
    synthesize(folder / 'synth', layout='folders', ids=5, seed=2, images=2, workers=1)
    for modality in ('visible', 'infrared'):
        for number, name in enumerate(NAMES, 1):
            found = next((folder / 'synth').glob(f'*/{modality}/{number:04d}'))
            shutil.copytree(found, folder / 'mine' / modality / name)
    return folder / 'mine'


@pytest.fixture
def mine(drawn: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(drawn, tmp_path / 'mine'))


def check(root: Path, capsys: pytest.CaptureFixture[str], reader: str = 'Folders') -> tuple[int, str]:
    status = main(['data', 'check', str(root), '--dataset', reader])
    return status, capsys.readouterr().out


def images(folder: Path) -> list[Path]:
    return sorted(folder.glob('*.jpg'))


def test_nothing_is_wrong_with_five_people(mine, capsys):
    status, printed = check(mine, capsys)
    assert status == 0
    assert 'no problems found' in printed


def test_someone_of_one_modality_is_called_by_name(mine, capsys):
    shutil.rmtree(mine / 'infrared/bert')
    status, printed = check(mine, capsys)
    assert status == 0
    assert 'warning: train: 1 identity has no infrared image: bert' in printed


def test_fewer_than_four_people_are_too_few(mine, capsys):
    for name in NAMES[:2]:
        for modality in ('visible', 'infrared'):
            shutil.rmtree(mine / modality / name)
    assert (
        'warning: 3 identities in total: training and testing need at least two each, 4 in all'
        in check(mine, capsys)[1]
    )


def test_gray_images_among_the_visible_ones_are_told(mine, capsys):
    for path in images(mine / 'visible/carl'):
        Image.open(path).convert('L').save(path)
    printed = check(mine, capsys)[1]
    assert (
        'visible images are gray, and all visible ones of carl; they may be infrared images, or from a camera'
        in printed
    )
    assert str(images(mine / 'visible/carl')[0]) in printed


def test_a_visible_image_in_an_infrared_folder_is_told(mine, capsys):
    target = mine / 'infrared/carl/more.jpg'
    shutil.move(images(mine / 'visible/carl')[0], target)
    printed = check(mine, capsys)[1]
    assert 'infrared images have colors' in printed
    assert str(target) in printed


def test_exchanged_folders_are_told(mine, capsys):
    (mine / 'visible').rename(mine / 'x')
    (mine / 'infrared').rename(mine / 'visible')
    (mine / 'x').rename(mine / 'infrared')
    status, printed = check(mine, capsys)
    assert status == 0
    assert printed.count('warning') == 1
    assert 'visible and infrared seem to be swapped' in printed


def test_a_person_with_two_names_is_told(mine, capsys):
    for modality in ('visible', 'infrared'):
        (mine / modality / 'zoe').mkdir()
        for path in images(mine / modality / 'anna'):
            image = ImageEnhance.Brightness(Image.open(path)).enhance(1.1)
            image.resize((image.width * 3 // 4, image.height * 3 // 4)).save(mine / modality / 'zoe' / path.name)
    status, printed = check(mine, capsys)
    assert status == 0
    for modality in ('visible', 'infrared'):
        assert f'1 pair of identities has nearly the same {modality} image, 1 of them in different splits' in printed
    assert f'\n    anna and zoe: {mine}/visible/anna/' in printed


@pytest.mark.parametrize('other', ['bert', 'zoe'])  # zoe would be in another split
def test_the_same_file_of_two_people_stays_an_error(mine, capsys, other):
    path = images(mine / 'visible/anna')[0]
    (mine / 'visible' / other).mkdir(exist_ok=True)
    shutil.copy(path, mine / 'visible' / other / 'copy.jpg')
    status, printed = check(mine, capsys)
    assert status == 1
    assert 'error: the same image under several identities' in printed
    assert 'nearly the same' not in printed


def test_what_cannot_be_read_is_named_and_the_rest_looked_at(mine, capsys):
    images(mine / 'visible/anna')[0].write_bytes(b'\xff\xd8')
    shutil.copy(images(mine / 'visible/bert')[0], mine / 'infrared/bert/more.jpg')
    status, printed = check(mine, capsys)
    assert status == 1
    assert 'error: 1 image cannot be read' in printed
    assert 'infrared images have colors' in printed


def table(root: Path, rows: list[str], header: str = 'path,identity,camera,modality,split') -> Path:
    (root / 'manifest.csv').write_text('\n'.join([header, *rows]) + '\n')
    return root


def rows(mine: Path, cameras: dict[str, int], split: str = '') -> list[str]:
    """A row for each image, people by `cameras`; the rest of each row by hand."""
    return [
        f'{path.relative_to(mine).as_posix()},{path.parent.name},{camera},{modality}{split}'
        for modality in ('visible', 'infrared')
        for name, camera in cameras.items()
        for path in images(mine / modality / name)
    ]


def test_one_camera_in_all_is_told(mine, capsys):
    table(mine, rows(mine, dict.fromkeys(NAMES, 4), ',train'))
    printed = check(mine, capsys, 'Manifest')[1]
    assert 'warning: all images are from camera 4, so retrieval across cameras cannot be tested' in printed


def test_people_of_one_of_several_cameras_are_told(mine, capsys):
    lines = rows(mine, dict.fromkeys(NAMES[:3], 4), ',train')
    lines = [line.replace(',4,infrared', ',5,infrared') for line in lines] + rows(mine, {'dora': 5, 'emil': 4}, ',test')
    printed = check(table(mine, lines), capsys, 'Manifest')[1]
    assert 'warning: 2 of 5 identities were seen by only one of the 2 cameras: dora, emil' in printed


def test_a_table_without_splits_is_checked_all_the_same(mine, capsys):
    lines = [line.replace(',1,infrared', ',2,infrared') for line in rows(mine, dict.fromkeys(NAMES, 1))]
    status, printed = check(table(mine, lines, 'path,identity,camera,modality'), capsys, 'Manifest')
    assert status == 0
    assert 'warning: the images have no splits yet: run `vireid data split`' in printed
    assert 'all    identities  5      -' in printed


def test_someone_in_two_splits_and_a_split_of_one_modality_are_errors(mine, capsys):
    lines = rows(mine, dict.fromkeys(NAMES[:4], 1), ',train')
    visible = images(mine / 'visible/emil')
    lines += [
        f'visible/emil/{visible[0].name},emil,1,visible,test',
        f'visible/emil/{visible[1].name},emil,1,visible,val',
    ]
    status, printed = check(table(mine, lines), capsys, 'Manifest')
    assert status == 1
    assert 'manifest.csv: 1 identity is in val and in test: emil' in printed
    assert 'error: test: no infrared image' in printed


def test_published_datasets_are_not_asked(tmp_path, capsys):
    # thermal images in false colors, the same of two people, as good as
    synthesize(tmp_path / 'regdb', layout='regdb', ids=4, seed=0, images=2, workers=1)
    thermal = sorted((tmp_path / 'regdb/Thermal').glob('*/*.bmp'))
    gray = np.asarray(Image.open(thermal[0]).convert('L')).astype(int)
    false = np.stack([2 * gray, 255 - 2 * np.abs(gray - 128), 255 - 2 * gray], axis=2)
    for number, path in enumerate(thermal):
        Image.fromarray(np.clip(false + number, 0, 255).astype(np.uint8)).save(path)
    status, printed = check(tmp_path / 'regdb', capsys, 'RegDB')
    assert status == 0
    assert 'no problems found' in printed


def as_counts(mine: Path, low: int = 7400, span: int = 800) -> int:
    """Writes the infrared images as a sensor gives them: 16-bit counts; returns how many."""
    for file in sorted((mine / 'infrared').rglob('*.jpg')):
        gray = np.asarray(Image.open(file).convert('L')).astype(float) / 255
        Image.fromarray((low + span * gray).astype(np.uint16)).save(file.with_suffix('.png'))
        file.unlink()
    return len(list((mine / 'infrared').rglob('*.png')))


def test_raw_values_are_an_error_with_the_bounds_of_all_images(mine, capsys):
    count = as_counts(mine)
    status, printed = check(mine, capsys)
    assert status == 1
    assert f'error: {count} images have raw values (16-bit values), 74' in printed
    assert 'images.scale_raw=percentiles (per image), or images.scale_raw=[74' in printed
    assert main(['data', 'check', str(mine), '--scale-raw', '7400,8200']) == 0
    assert 'no problems found' in capsys.readouterr().out


def test_a_scaling_that_leaves_few_gray_levels_is_a_warning(mine, capsys):
    count = as_counts(mine)
    assert main(['data', 'check', str(mine), '--scale-raw', '0,65535']) == 0
    assert f'warning: {count} images have fewer than 32 gray levels' in capsys.readouterr().out


def test_a_scaling_that_is_none_is_refused(mine, capsys):
    for text in ('percent', '1', '1,2,3', 'a,b'):
        assert main(['data', 'check', str(mine), '--scale-raw', text]) == 2
        assert f'--scale-raw is {text!r}' in capsys.readouterr().err


def test_one_person_in_two_spellings_is_an_error_with_both(mine, capsys):
    (mine / 'infrared/bert').rename(mine / 'infrared/Bert')
    status, printed = check(mine, capsys)
    assert status == 1
    assert "1 identity seems to have several spellings: 'Bert' and 'bert'" in printed


def test_what_is_not_read_is_named(mine, capsys):
    (mine / 'visible/anna/track2').mkdir()
    first = images(mine / 'visible/anna')[0]
    first.rename(first.parent / 'track2' / first.name)
    status, printed = check(mine, capsys)
    assert status == 0
    assert '1 image in subfolders of identity folders is not read: visible/anna/track2 (1)' in printed


def test_a_test_split_without_any_match_is_an_error(mine, capsys):
    for name, modality in (('dora', 'visible'), ('emil', 'infrared'), ('carl', 'infrared')):
        shutil.rmtree(mine / modality / name, ignore_errors=True)
    table = ['path,identity,camera,modality,split']
    for file in sorted(mine.rglob('*.jpg')):
        modality, name = file.parts[-3:-1]
        split = 'train' if name in NAMES[:2] else 'test'
        table.append(f'{modality}/{name}/{file.name},{name},{1 + (modality == "infrared")},{modality},{split}')
    (mine / 'manifest.csv').write_text('\n'.join(table) + '\n')
    status, printed = check(mine / 'manifest.csv', capsys, 'Manifest')
    assert status == 1
    assert 'error: test: no query has a match, because no identity has both visible and infrared images' in printed
