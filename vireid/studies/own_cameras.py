"""From the videos or crops of your cameras to an evaluated model and a search page, step by step.

Each step is a command of its own, which continues where it was stopped.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from vireid.boundary.image_files import SUFFIXES
from vireid.console.wording import counted
from vireid.errors import Conflict, Mismatch, MissingFile, NotReady, TooFew, WrongValue

MANIFEST = 'manifest.csv'
ZERO_SHOT, RECIPE = 'vireid::zero_shot.py', 'vireid::own_few.py'

Step = Callable[..., int]  # runs a command, given as words; returns its exit status
Ask = Callable[[str, bool], bool]  # asks a question with a default answer


@dataclass(frozen=True)
class OwnCameras:
    """What the steps work on.

    Attributes:
        sources: a video, or a folder of crops, of each camera, which are numbered from 1.
        out: the folder of everything.
        modalities: the modality of each source; empty to guess them.
        folds: folds of the evaluation.
        options: overrides: those of the detector, and those of the training.
        plugins: Python files with components.
        detector: what finds people in videos; None for the default.
        port: port of the pages.
    """

    sources: Sequence[Path]
    out: Path
    modalities: Sequence[str] = ()
    folds: int = 5
    options: Sequence[str] = ()
    plugins: Sequence[Path] = ()
    detector: str | None = None
    port: int = 8000

    def check(self) -> None:
        """Checks what would only fail after an hour.

        Raises:
            VireidError: if a source is missing, or the sources are not two modalities.
        """
        if missing := [source for source in self.sources if not source.exists()]:
            raise MissingFile(f'{missing[0]} does not exist', allowed='videos, and folders of crops')
        if self.modalities and len(self.modalities) != len(self.sources):
            raise Mismatch(
                f'{counted(len(self.modalities), "modality", "modalities")} for {counted(len(self.sources), "source")}',
                allowed='one --modality for each source',
            )
        if set(self.modalities) and len(set(self.modalities)) == 1:
            raise WrongValue(
                f'all sources are {self.modalities[0]}', allowed='at least one visible and one infrared camera'
            )
        if len(self.sources) < 2 and not self.sources[0].is_dir():
            raise TooFew('there is only one video', allowed='a visible and an infrared one, or a folder with both')
        if self.folds < 2:
            raise WrongValue(f'--folds is {self.folds}', allowed='at least 2, such as 5')

    def run(self, step: Step, ask: Ask, log: Callable[[str], None] = print) -> int:
        """Runs the steps; stops at the first that fails.

        Args:
            step: runs a command.
            ask: asks whether to do something.
            log: called with each line about the steps.

        Returns:
            The exit status of the last step that was run.

        Raises:
            VireidError: if a folder has no crops, or no people have been named.
        """
        log('1. Crops of people')
        if status := self._crop(step, log):
            return status
        log('\n2. Names')
        if status := self._name(step, ask, log):
            return status
        manifest = (self.out / MANIFEST).read_bytes()
        runs = self.out / 'runs' / hashlib.blake2b(manifest).hexdigest()[:8]  # other names give other runs
        log('\n3. Evaluation without training')
        if (runs / 'zero_shot/result.json').is_file():
            log(f'already done: {runs / "zero_shot/report.html"}')
        else:
            where = ['--data-root', str(self.out), '--work-dir', str(runs / 'zero_shot')]
            if status := step('test', ZERO_SHOT, *where, *self._weights(), *self._plugins()):
                return status
        log(f'\n4. Training, with {self.folds}-fold cross-validation over all people')
        if not ask('Train now? It takes a minute or two per fold.', True):
            return 0
        where = ['--data-root', str(self.out), '--work-dir', str(runs / 'folds')]
        training = _options([option for option in self.options if not option.startswith('detector.')])
        if status := step('train', RECIPE, *where, '--folds', str(self.folds), *training, *self._plugins()):
            return status
        log('\n5. Search')
        log('Searches use the model of the first fold; the table above shows its accuracy.')
        checkpoint, index = runs / 'folds/fold_1/checkpoints/last.pt', runs / 'index'
        status = step('index', str(self.out), '-o', str(index), '--checkpoint', str(checkpoint), *self._plugins())
        if status or not ask('Open the search page?', True):
            return status
        return step('serve', str(index), *self._page(), *self._plugins())

    def _crop(self, step: Step, log: Callable[[str], None]) -> int:
        detector = [option for option in self.options if option.startswith('detector.')]
        for number, source in enumerate(self.sources, 1):
            modality = self.modalities[number - 1] if self.modalities else ''
            if source.is_dir():
                copy_crops(source, self.out, number, modality, log)
                continue
            words = ['crops', str(source), '-o', str(self.out), '--camera', str(number)]
            words += [*_options(detector), *self._plugins(), *(['--modality', modality] if modality else [])]
            if status := step(*words, *(['--detector', self.detector] if self.detector else [])):
                return status
        return 0

    def _name(self, step: Step, ask: Ask, log: Callable[[str], None]) -> int:
        manifest = self.out / MANIFEST
        named = manifest.is_file()
        todo = 'A page asks you to name people. About twenty who were seen by both cameras are enough.'
        log(f'{manifest} exists.' if named else todo)
        log('When you have named enough, press Ctrl-C here; the next steps follow.')
        if ask('Name more people?' if named else 'Open the page?', not named):
            words = ['label', str(self.out), *self._page(), *self._weights(), *self._plugins()]
            if status := step(*words):
                return status
        if not manifest.is_file():
            todo = f'name people with vireid label {quote(str(self.out))}, then repeat the command'
            raise NotReady(f'{manifest} does not exist: no people have been named', todo=todo)
        status = step('data', 'check', str(self.out))
        return 0 if status and ask('There are errors, see above. Continue anyway?', False) else status

    def _weights(self) -> list[str]:
        return _options([option for option in self.options if option.startswith('model.backbone.weights=')])

    def _plugins(self) -> list[str]:
        return [text for file in self.plugins for text in ('--plugin', str(file))]

    def _page(self) -> list[str]:
        return ['--open', '--port', str(self.port)]


def copy_crops(source: Path, out: Path, number: int, modality: str, log: Callable[[str], None] = print) -> None:
    """Copies the crops of a folder; those that were copied before are left as they are.

    Args:
        source: the folder.
        out: the folder to copy them to, by modality and camera.
        number: number of the camera.
        modality: their modality; empty if their folders say it, or it is to be guessed.
        log: called with a line about the images.

    Raises:
        VireidError: if the folder has no images, or `out` lies in it.
    """
    if source.resolve() == out.resolve():
        return
    if out.resolve().is_relative_to(source.resolve()):
        raise Conflict(f'{out} is inside {source}, its own source', todo='choose another folder with -o')
    images = sorted(path for path in source.rglob('*') if path.suffix.lower() in SUFFIXES and path.is_file())
    if not images:
        raise TooFew(f'{source} has no images', allowed='a video, or a folder with crops of people')
    copied = 0
    for path in images:
        place = path.relative_to(source)
        known = modality in ('', *place.parts)
        target = out / ('' if known else modality) / f'cam{number}' / place
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)  # with its time
            copied += 1
    log(f'{source}: {len(images):,} images, {copied:,} copied now to {out}')


def _options(options: Sequence[str]) -> list[str]:
    return ['--cfg-options', *options] if options else []
