"""Export a trained model as weights with a model card, or as ONNX (`pip install 'vireid[export]'`)."""

from __future__ import annotations

import argparse
import shlex
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vireid.boundary.showing import as_json
from vireid.boundary.writing import write_whole
from vireid.core.config.frozen import thaw
from vireid.core.errors import VireidError
from vireid.core.wording import counted

if TYPE_CHECKING:
    from types import ModuleType

LARGEST = 1e-4  # how far ONNX may be from torch, relative to the largest value


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the commands of `vireid export`."""
    commands = parser.add_subparsers(dest='export_command', required=True, metavar='COMMAND')
    for name, summary in (
        ('weights', 'model.safetensors, config.yaml and a model card, without optimizer and paths of your disks'),
        ('onnx', 'one ONNX file for each modality, compared with torch'),
    ):
        command = commands.add_parser(name, help=summary)
        command.add_argument('checkpoint', type=Path, help='a checkpoint (.pt)')
        command.add_argument('out', type=Path, help='output folder')
        command.add_argument(
            '--plugin',
            type=Path,
            action='append',
            default=[],
            metavar='FILE',
            help='a Python file with your components',
        )


def run(args: argparse.Namespace) -> int:
    """Writes the files."""
    return _weights(args) if args.export_command == 'weights' else _onnx(args)


def _need(*modules: str) -> list[ModuleType]:
    from importlib import import_module

    try:
        return [import_module(module) for module in modules]
    except ImportError as error:
        raise VireidError(f'{error.name} is not installed', todo="pip install 'vireid[export]'") from error


def _weights(args: argparse.Namespace) -> int:
    (safetensors,) = _need('safetensors.torch')
    import torch

    from vireid.core.config.files import dump
    from vireid.core.training import checkpoint
    from vireid.launch.weights import require_whole

    content = checkpoint.load(args.checkpoint)
    require_whole(content, args.checkpoint)
    config = {**content['config'], 'dataset': {**content['config']['dataset'], 'root': None}, 'plugins': []}
    config['training'] = {**config.get('training', {}), 'init': None}  # a path of this machine
    digest = checkpoint.digest(content['model'])
    about = {'format': 'pt', 'num_identities': str(content['num_identities']), 'sha256': digest}
    files = _plugin_files(content['config'].get('plugins', ()), args)
    there = [name for name in ('README.md', 'config.yaml') if (args.out / name).exists()]
    if there and not (args.out / 'model.safetensors').exists():
        raise VireidError(f'{args.out} holds a {there[0]} that is no release', todo='name another folder')
    for file in files:
        print(f'the release gets a copy of {file}')
    try:
        card = _card(args.checkpoint, content, digest)
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        given = f'the config in {args.checkpoint} is damaged: {type(error).__name__}: {error}'
        raise VireidError(given, allowed='files that `vireid train` wrote') from error
    # copies: a module that has two names is two tensors in one memory, which the format refuses
    tensors = {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in content['model'].items()}
    with _whole_folder(args.out) as folder:
        safetensors.save_file(tensors, str(folder / 'model.safetensors'), metadata=about)
        for file in files:
            write_whole(folder / file.name, file.read_bytes())
        write_whole(folder / 'config.yaml', dump(config))
        write_whole(folder / 'README.md', card)
        # safetensors lets its writer alone read it
        (folder / 'model.safetensors').chmod((folder / 'config.yaml').stat().st_mode)
    names = ['model.safetensors', 'config.yaml', 'README.md', *(file.name for file in files)]
    print('\n'.join(str(args.out / name) for name in names))
    return 0


def _plugin_files(named: Sequence[str], args: argparse.Namespace) -> list[Path]:
    """Returns the plugin files of a checkpoint; each has to be given by the flag: a checkpoint names any file."""
    from vireid.boundary.reading import duplicate

    given = {file.resolve() for file in args.plugin}
    files = [Path(file) for file in named]
    refused = [file for file in files if file.resolve() not in given]
    if refused:
        flags = ' '.join(f'--plugin {shlex.quote(str(file))}' for file in refused)
        raise VireidError(
            f'{args.checkpoint} was trained with {", ".join(map(str, refused))}, and a release holds a copy',
            todo=f'if these are your plugin files, add {flags}',
        )
    wrong = next((file for file in files if file.suffix != '.py' or not file.is_file()), None)
    if wrong is not None:
        raise VireidError(f'there is no plugin file {wrong}', allowed='Python files', todo='put it back')
    twice = duplicate(file.name for file in files)
    if twice is not None:
        raise VireidError(f'two plugin files are called {twice}', todo='rename one of them, and train again')
    return files


@contextmanager
def _whole_folder(out: Path) -> Iterator[Path]:
    """Makes a folder of files that come into `out` together when the block ends; if it raises, none does."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f'.{out.name[:80]}.', suffix='.part', dir=out.parent) as made:
        yield Path(made)
        out.mkdir(exist_ok=True)
        for file in sorted(Path(made).iterdir(), key=lambda file: file.suffix == '.safetensors'):
            file.replace(out / file.name)


def _card(source: Path, content: dict[str, Any], digest: str) -> str:
    """Returns the model card: what it is, what it was trained on, and what was measured, as far as the run knows."""
    from vireid.boundary.showing import markdown, markdown_block, markdown_code, one_line
    from vireid.core.scoring import results
    from vireid.reporting import result_file

    config, at = content['config'], content['progress']
    names = {key: config[key].get('type', '-') for key in ('dataset', 'protocol', 'sampler')}
    backbone = config['model'].get('backbone') or {'type': config['model'].get('type', 'one of its own')}
    begun = f', begun from {backbone["weights"] or "random weights"}' if 'weights' in backbone else ''
    named = [f'this folder/{Path(file).name}' for file in config.get('plugins', ())]
    plugins = f', plugins={named!r}' if named else ''
    data = ' '.join(filter(None, [content.get('data') or names['dataset'], content.get('split', '')]))
    lines = [
        '---', 'library_name: vireid', 'tags: [person-re-identification, visible-infrared]', '---', '',
        f'# {markdown(str(config.get("name", "model")))}', '',
        'A model for visible-infrared person re-identification: ' + markdown(
            f'{backbone.get("type", "?")}'
            f'{" of depth " + str(backbone["depth"]) if "depth" in backbone else ""}{begun}, images of '
            f'{" x ".join(map(str, config["images"]["size"]))}.'
        ), '',
        '- ' + markdown(
            f'trained on {data}, {counted(content["num_identities"], "identity", "identities")}, '
            f'{counted(at["step"], "step")}, seed {config.get("seed", 0)}'
        ),
        '- ' + markdown(
            f'weights: {content.get("chosen") or "those at the end of training"}; SHA-256 of their values {digest}'
        ),
        '- ' + markdown(f'written by {", ".join(f"{k} {v}" for k, v in content.get("versions", {}).items())}'),
        '- license and terms of the training data: to be filled in by whoever releases this', '',
    ]  # fmt: skip
    folder, missing = source.parent.parent, 'No metrics lie beside the checkpoint this was made from.'
    try:
        done = result_file.read(folder)
    except VireidError:  # of an earlier vireid, or edited
        done, missing = None, 'The metrics beside the checkpoint are damaged, or not those of their queries.'
    if content.get('adapted'):  # the run's metrics are those of other statistics
        lines += ['Its normalisation was adapted to other cameras; nobody has measured yet whether that helped.', '']
    elif done and done.get('rows'):
        rows = [{**row, 'name': one_line(str(row['name']))} for row in done['rows']]
        lines += [
            f'Measured on {markdown(str(done.get("data") or names["dataset"]))} by '
            f'{markdown_code(str(done["protocol"]))} ({markdown(result_file.which_weights(done))}):', '',
            markdown_block(results.table(one_line(str(done['protocol'])), rows)), '',
        ]  # fmt: skip
        if not result_file.has_queries(folder):
            lines += ['The queries of this result are missing: its numbers could not be checked.', '']
    else:
        lines += [missing, '']
    lines += [
        '```python', 'import torch', 'import vireid', 'from vireid.core.data.images import decoder', '',
        f"model = vireid.load_weights('this folder'{plugins})",
        "prepare = model.experiment.build_transform('test')",
        'read = decoder(model.experiment.images)',
        'images = torch.stack([prepare(read(file)) for file in files])',
        "query = torch.nn.functional.normalize(model.embed(images, 'infrared'), dim=1)  # and the gallery alike",
        'similarity = query @ gallery.T  # the largest is the most alike', '```', '',
    ]  # fmt: skip
    if (config.get('evaluation') or {}).get('rerank'):
        lines += [
            'The rows called re-ranked search in another way: with all queries and the whole gallery at once. Expect '
            'the plain rows if you search for one image at a time:', '',
            '```python', 'reranker = model.experiment.build_reranker()',
            'similarity = reranker.similarity(query.numpy(), gallery.numpy())(slice(None))', '```', '',
        ]  # fmt: skip
    return '\n'.join(lines)


def _onnx(args: argparse.Namespace) -> int:
    onnx, runtime, _ = _need('onnx', 'onnxruntime', 'onnxscript')
    import numpy as np
    import torch

    import vireid
    from vireid.core.types import MODALITIES

    model: Any = vireid.load(args.checkpoint, args.plugin)
    height, width = model.experiment.images.size
    args.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    worst, length = 0.0, 0
    for modality in MODALITIES:
        path = args.out / f'{modality}.onnx'
        with _exporting(modality):
            program = torch.onnx.export(
                _Embedder(model, modality).eval(), (torch.randn(2, 3, height, width),), dynamo=True, verbose=False,
                input_names=['images'], output_names=['embeddings'], dynamic_shapes=({0: torch.export.Dim('batch')},),
            )  # fmt: skip
            assert program is not None
            program.save(str(path))
            onnx.checker.check_model(str(path))
            session = runtime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
        for count in (1, 3):
            images = torch.randn(count, 3, height, width)
            with torch.inference_mode():
                expected = model.embed(images, modality).numpy()
            with _exporting(modality):
                (made,) = session.run(None, {'images': images.numpy()})
            length = made.shape[1]
            worst = max(worst, float(np.abs(made - expected).max() / np.abs(expected).max()))
        print(path)
    about = {
        'size': [height, width],
        'embedding': length,
        'differs by': worst,
        'test': thaw(model.experiment.images.test),
        'search': 'divide each embedding by its length; the largest inner product is the most alike',
    }
    if rerank := model.experiment.evaluation.rerank:
        about['re-rank'] = {'with all queries and the whole gallery at once': rerank}
    (args.out / 'model.json').write_text(as_json(about, indent=1) + '\n', encoding='utf-8')
    print(f'{args.out / "model.json"}: how images are prepared; largest difference from torch {worst:.1e}')
    if worst > LARGEST:
        raise VireidError(f'the exported model differs from torch by {worst:.1e}', allowed=f'at most {LARGEST:.0e}')
    return 0


@contextmanager
def _exporting(modality: str) -> Iterator[None]:
    """Tells what torch cannot export as an error of the model."""
    try:
        yield
    except Exception as error:  # torch's exporter has errors of its own, and quotes whatever the model raises
        cause = error.__cause__ or error
        reason = next((line for line in str(cause).splitlines() if line.strip()), type(cause).__name__)
        raise VireidError(
            f'the embedding of {modality} images cannot be exported to ONNX: {type(cause).__name__}: {reason.strip()}',
            todo='let no component of the embedding branch on values or leave torch, or use `vireid export weights`',
        ) from error


def _Embedder(model: Any, modality: str) -> Any:
    """Returns the model's embedding of one modality as a module of its own."""
    import torch

    class Embedder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.model.embed(images, modality)

    return Embedder()
