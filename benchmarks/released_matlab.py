"""Do LOMO and MLAPG equal the authors' MATLAB code? It is run in GNU Octave on the same images and features.

    python benchmarks/released_matlab.py FOLDER [--retinex]

FOLDER holds clones of github.com/RSL-NEU/person-reid-benchmark (LOMO) and github.com/khangzoro97/Re-ID (MLAPG). Needs
`octave` on the PATH. Prints a line for each comparison: the largest difference, the largest value, and whether the
difference is below 1e-5 of it.

LOMO is compared on noise, synthetic people, a gray ramp and constant images, without Retinex. In floating point, the
released code puts a pixel on the edge of a bin to either side, and ours puts it to the upper one. It is therefore also
run with edges moved by 1e-9. `--retinex` runs it with its Retinex too, a compiled program without source, for 64-bit
Linux; this needs `cc`, and an Octave with 64-bit sizes.

MLAPG is compared on noise and on LOMO of synthetic people. The released code accepts a step that increases the
objective, and ours repeats it without momentum; where this happens, it is also run with the repetition added.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy.io import loadmat, savemat

from vireid.core.scoring.embeddings import Embeddings
from vireid.core.types import INFRARED, VISIBLE, Sample
from vireid.plugin_manager.manager import create_manager
from vireid.plugins.models.local_maximal_occurrence import lomo
from vireid.plugins.models.retinex import multiscale_retinex
from vireid.plugins.similarities.hcml import squared
from vireid.plugins.similarities.mlapg import MLAPG

LOMO_FOLDER = 'person-reid-benchmark/FeatureExtraction/util/LOMO'
COLORS, PATTERNS = 512, 81
MOVED = 1e-9
# Octave has no normc; a Retinex that changes nothing stands for the compiled one
NORMC = 'function y = normc(x)\n y = x ./ sqrt(sum(x .^ 2, 1));\nend\n'
NO_RETINEX = 'function image = Retinex(image)\nend\n'
MOVED_HSV = f'function hsv = moved_hsv(image)\n hsv = rgb2hsv(image) + {MOVED};\nend\n'
# MATLAB's programs of 2015 have 32-bit sizes, Octave's 64-bit ones
SIZES = """
#include <stdint.h>
typedef struct array array;
extern int64_t mxGetNumberOfDimensions(const array *);
extern const int64_t *mxGetDimensions(const array *);
extern array *mxCreateNumericArray(int64_t, const int64_t *, int, int);
int32_t mxGetNumberOfDimensions_700(const array *a) { return mxGetNumberOfDimensions(a); }
const int32_t *mxGetDimensions_700(const array *a) {
  static int32_t narrow[8];
  for (int i = 0; i < mxGetNumberOfDimensions_700(a) && i < 8; i++) narrow[i] = mxGetDimensions(a)[i];
  return narrow;
}
array *mxCreateNumericArray_700(int32_t n, const int32_t *sizes, int type, int complex) {
  int64_t wide[8];
  for (int i = 0; i < n && i < 8; i++) wide[i] = sizes[i];
  return mxCreateNumericArray(n, wide, type, complex);
}
"""
# inserted after a step's line search
REPEAT = """
    if newF > prevF
        prevAlpha = 1;
        [M, P, latent, r, newF, L] = repeated(@LineSearch, prevM, galX, probX, Y, W, L, mu);
    end
"""
REPEATED = """function [m, p, latent, r, value, l] = repeated(search, start, x, z, y, w, l, mu)
 % searches from `start`, without momentum
 [vectors, values] = eig((start + start') / 2);
 root = vectors * sqrt(max(values, 0));
 margins = y .* (sum((x * root) .^ 2, 2) + sum((z * root) .^ 2, 2)' - 2 * (x * root) * (z * root)' - mu);
 slopes = w .* y ./ (1 + exp(-margins));
 graph = [diag(sum(slopes, 2)), -slopes; -slopes', diag(sum(slopes, 1))];
 before = sum(sum(w .* log1p(exp(margins))));
 do
  [fits, m, p, latent, r, value] = search(start, [x; z]' * graph * [x; z], before, x, z, y, w, l, mu);
  l = l * (2 - fits);
 until fits
end
"""


def octave(folder: Path, command: str, **inputs: Any) -> dict[str, np.ndarray]:
    """Runs a command on variables, with the functions in `folder`; returns the variables that it leaves."""
    savemat(folder / 'in.mat', inputs)
    whole = f"warning('off', 'all'); load in.mat; {command}; clear {' '.join(inputs)}; save('-v7', 'out.mat');"
    environment = os.environ | {'OMP_NUM_THREADS': '1', 'OPENBLAS_NUM_THREADS': '1', 'LD_LIBRARY_PATH': str(folder)}
    words = ['octave', '--no-gui', '--norc', '--quiet', '--eval', whole]
    run = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if not (folder / 'out.mat').exists():
        sys.exit(f'octave ended without a result: {run.stderr}')
    found = loadmat(folder / 'out.mat')
    (folder / 'out.mat').unlink()
    return found


def copied(files: list[Path], folder: Path, own: dict[str, str], changes: dict[str, str]) -> Path:
    """Returns a new folder with copies of released files, changed by regular expressions, and functions of ours."""
    folder.mkdir()
    for file in files:
        text = file.read_text('utf-8', 'ignore')
        for pattern, new in changes.items():
            text = re.sub(pattern, new, text, flags=re.MULTILINE)
        (folder / file.name).write_text(text)
    for name, text in own.items():
        (folder / f'{name}.m').write_text(text)
    return folder


def report(what: str, ours: np.ndarray, theirs: np.ndarray, note: str = '') -> None:
    """Prints the largest difference of two arrays, their largest value, and whether they agree."""
    difference, scale = np.abs(ours - theirs).max(), np.abs(theirs).max()
    agrees = 'equal  ' if difference <= 1e-5 * scale else 'differs'
    print(f'{what:<64}{difference:>9.1e} of {scale:<9.4g}{agrees}  {note}', flush=True)


def people(folder: Path) -> dict[str, list[Sample]]:
    """Generates synthetic people, and returns the images of each split, two of each person and camera."""
    words = [sys.executable, '-m', 'vireid', 'data', 'synth', '--layout', 'sysu', '--ids', '12', str(folder)]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    dataset = create_manager().components.build('datasets', {'type': 'SYSU-MM01', 'root': str(folder)}, where='dataset')
    return {split: [s for s in dataset.split(split) if Path(s.path).stem < '0003'] for split in ('train', 'test')}


def resized(samples: list[Sample], height: int, width: int) -> np.ndarray:
    """(N, H, W, 3) uint8."""
    return np.stack([np.array(Image.open(s.path).convert('RGB').resize((width, height))) for s in samples])


def described(images: np.ndarray, retinex: bool = False) -> np.ndarray:
    """(N, D) float64 descriptors of (N, H, W, 3) uint8 images."""
    return lomo(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255, retinex, torch.float64).numpy()


def compare_lomo(released: Path, folder: Path, samples: list[Sample], retinex: bool) -> None:
    """Compares descriptors, part by part."""
    files = [released / LOMO_FOLDER / name for name in ('LOMO.m', 'SILTP.m')]
    own = {'normc': NORMC, 'Retinex': NO_RETINEX, 'moved_hsv': MOVED_HSV}
    moves = {
        r'\brgb2hsv\(': 'moved_hsv(',
        '^(U = .*)$': rf'\1 L = L - {MOVED}; U = U + {MOVED};',  # the thresholds of a texture
    }
    plain, moved = copied(files, folder / 'lomo', own, {}), copied(files, folder / 'lomo_moved', own, moves)
    rng = np.random.default_rng(0)
    noise = lambda height, width: rng.integers(0, 256, (4, height, width, 3), dtype=np.uint8)  # noqa: E731
    shades = np.tile(np.array([0, 100, 255], dtype=np.uint8)[:, None, None, None], (1, 128, 48, 3))
    ramp = np.tile(2 * np.arange(128, dtype=np.uint8)[None, :, None, None], (1, 1, 48, 3))
    inputs = {
        'noise 128 x 48': noise(128, 48),
        'people 128 x 48': resized(samples[::5], 128, 48),
        'constant and ramp 128 x 48': np.concatenate([shades, ramp]),
        'people 160 x 60': resized(samples[::5], 160, 60),
        'noise 131 x 51': noise(131, 51),
        'people 288 x 144': resized(samples[::20], 288, 144),
        'people 80 x 40': resized(samples[::20], 80, 40),
    }
    for name, images in inputs.items():
        ours = described(images)
        rows = ours.shape[1] // (COLORS + 2 * PATTERNS)
        ends = [rows * COLORS, rows * (COLORS + PATTERNS)]
        for edges, where in (('', plain), (', edges moved', moved)):
            theirs = octave(where, 'found = LOMO(images)', images=images.transpose(1, 2, 3, 0))['found'].T
            a, b = np.split(ours, ends, axis=1), np.split(theirs, ends, axis=1)
            # the released code leaves out a scale of less than 2 * 5 + 1 columns for radius 5, which comes last
            left_out = (a[2].shape[1] - b[2].shape[1]) // PATTERNS
            a[2] = a[2][:, : b[2].shape[1]]
            a[2] = a[2] / np.linalg.norm(a[2], axis=1, keepdims=True)
            for part, mine, yours in (('colors', a[:1], b[:1]), ('texture', a[1:], b[1:])):
                x, y = np.hstack(mine), np.hstack(yours)
                note = f'{len(x)} x {x.shape[1]:,}, cosine at least {(x * y).sum(axis=1).min() / len(mine):.6f}'
                note += f'; {left_out} rows left out' if left_out and part == 'texture' else ''
                report(f'LOMO {name}{edges}, {part}', x, y, note)
    if retinex:
        compare_retinex(released, copied(files, folder / 'retinex', {'normc': NORMC}, {}), inputs['people 128 x 48'])


def compare_retinex(released: Path, folder: Path, images: np.ndarray) -> None:
    """Compares images after Retinex, and the colors of their descriptors."""
    shutil.copy(released / LOMO_FOLDER / 'Retinex.mexa64', folder / 'Retinex.mex')
    for name, source in (('libmx.so', SIZES), ('libmex.so', '')):  # the program asks for these two of MATLAB's
        command = ['cc', '-shared', '-fPIC', '-x', 'c', '-', '-o', str(folder / name)]
        subprocess.run(command, input=source, text=True, check=True)
    run = 'found = LOMO(images); for i = 1:size(images, 4) even(:,:,:,i) = Retinex(images(:,:,:,i)); end'
    theirs = octave(folder, run, images=images.transpose(1, 2, 3, 0))
    ours = multiscale_retinex(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255).numpy() * 255
    even = theirs['even'].transpose(3, 2, 0, 1).astype(float)
    correlation = np.corrcoef(ours.ravel(), even.ravel())[0, 1]
    report('Retinex, people 128 x 48, levels', ours, even, f'correlation {correlation:.3f}')
    for name, used in (('with Retinex', True), ('without Retinex', False)):
        a, b = (found[:, : 40 * COLORS] for found in (described(images, used), theirs['found'].T))
        cosine = f'mean cosine {(a * b).sum(axis=1).mean():.3f}'
        report(f'LOMO with its Retinex, ours {name}, colors', a, b, cosine)


def compare_mlapg(released: Path, folder: Path, train: list[Sample], test: list[Sample]) -> None:
    """Compares objectives, metrics, and distances of features not fitted to."""
    files = [released / 'Re-ID' / name for name in ('MLAPG.m', 'EuclidDist.m', 'PCA.m')]
    plain = copied(files, folder / 'mlapg', {}, {})
    # `eta` is where a step's results are kept
    added = copied(files, folder / 'mlapg_repeated', {'repeated': REPEATED}, {r'^(?=\s*eta\(iter\) =)': REPEAT})
    rng = np.random.default_rng(0)
    drawn = [Sample(f'{m}{i}', i % 20, 1, m) for m in (VISIBLE, INFRARED) for i in range(80)]
    points = np.repeat(rng.standard_normal((1, 20, 12)), 8, axis=0).reshape(-1, 12) * ([1] * 4 + [0] * 8)
    noise = drawn, (points + 0.4 * rng.standard_normal((160, 12))) / 2, rng.standard_normal((50, 12))
    images = train, described(resized(train, 128, 48)), described(resized(test, 128, 48))
    cases = [('noise', noise, None, 1e-4), ('noise', noise, None, 1e-8), ('LOMO of people', images, 40, 1e-4)]
    for name, (samples, features, others), dims, tolerance in cases:
        metric = MLAPG(dims=dims, tolerance=tolerance, scale=False)
        metric.fit(Embeddings(tuple(samples), features))
        assert metric.projection is not None
        ours, center = np.array(metric.objective[1:]), features.mean(axis=0)
        visible = np.array([s.modality == VISIBLE for s in samples])
        labels = np.array([s.identity for s in samples], dtype=float)
        near, far = others[: len(others) // 2], others[len(others) // 2 :]
        for version, where in (('', plain), (', repetition added', added)):
            found = octave(
                where,
                'w = eye(columns(x)); if dims w = PCA([x; z], dims); end;'
                ' [p, ~, ~, ~, loss] = MLAPG(x * w, z * w, a, b, struct("tol", tol))',
                x=features[visible] - center, z=features[~visible] - center, a=labels[visible], b=labels[~visible],
                dims=float(dims or 0), tol=tolerance,
            )  # fmt: skip
            theirs, projection = found['loss'].ravel(), found['w'] @ found['p']
            rises = np.flatnonzero(np.diff(theirs) > 0)
            # beyond a step that increases the objective, the two are not meant to be equal
            same = int(rises[0]) + 1 if len(rises) else min(len(ours), len(theirs))
            what = f'MLAPG {name}, tolerance {tolerance:g}{version}'
            note = f'{same} of {len(ours)} steps, theirs {len(theirs)} ({len(rises)} rise)'
            note += f'; last {ours[-1]:.7f}, theirs {theirs[-1]:.7f}'
            report(f'{what}: objective', ours[:same], theirs[:same], note)
            mine, yours = found['w'].T @ metric.projection, found['p']  # of D x D, only the axes of the PCA
            report(f'{what}: metric', mine @ mine.T, yours @ yours.T, f'rank {mine.shape[1]}, theirs {yours.shape[1]}')
            apart = squared((near - center) @ projection, (far - center) @ projection)
            report(f'{what}: distances', -metric.similarity(near, far)(slice(None)), apart, 'of others')
            if not len(rises):
                break


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', type=Path, help='with the clones person-reid-benchmark and Re-ID')
    parser.add_argument('--retinex', action='store_true', help='also run the released Retinex, which has no source')
    args = parser.parse_args()
    if not shutil.which('octave'):
        sys.exit('needs GNU Octave: no `octave` on the PATH')
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        split = people(folder / 'people')
        compare_lomo(args.folder, folder, split['train'], args.retinex)
        compare_mlapg(args.folder, folder, split['train'], split['test'])


if __name__ == '__main__':
    main()
