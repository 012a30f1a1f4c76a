"""The model card of released weights: a README with YAML metadata."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PureWindowsPath
from typing import Any

from vireid.boundary.showing import markdown, markdown_block, markdown_code, one_line
from vireid.console.wording import counted
from vireid.core.scoring import results
from vireid.errors import VireidError
from vireid.reporting import result_file


def model_card(source: Path, content: Mapping[str, Any], digest: str) -> str:
    """Writes the model card: the model, its training data, and its metrics as far as the run records them.

    Args:
        source: the checkpoint, in the `checkpoints` folder of its run.
        content: what the checkpoint holds.
        digest: the SHA-256 of its weights.

    Returns:
        Markdown text.
    """
    lines = [
        *head(content), '',
        *about(content, digest),
        '- license and terms of the training data: fill in before you publish', '',
    ]  # fmt: skip
    config = content['config']
    folder, missing = source.parent.parent, 'The run of this checkpoint has no metrics.'
    try:
        done = result_file.read(folder)
    except VireidError:  # written by an earlier vireid, or edited
        done, missing = None, 'The metrics of this run are damaged or do not match its queries.'
    if content.get('adapted'):  # the run's metrics were measured with other statistics
        lines += ['BatchNorm statistics were adapted to other cameras; the effect has not been measured.', '']
    elif done and done.get('rows'):
        rows = [{**row, 'name': one_line(str(row['name']))} for row in done['rows']]
        lines += [
            f'Measured on {markdown(str(done.get("data") or config["dataset"].get("type", "-")))} by '
            f'{markdown_code(str(done["protocol"]))} ({markdown(result_file.which_weights(done))}):', '',
            markdown_block(results.table(one_line(str(done['protocol'])), rows)), '',
        ]  # fmt: skip
        if not result_file.has_queries(folder):
            lines += ['The queries of this result are missing: its metrics could not be verified.', '']
    else:
        lines += [missing, '']
    return '\n'.join([*lines, *usage(config)])


def head(content: Mapping[str, Any], license: str = '', initialized: bool = False) -> list[str]:
    """Returns the metadata, the title, and a sentence about the model.

    Args:
        content: what the checkpoint holds.
        license: identifier of the license of the weights, if known.
        initialized: whether the run started from weights that the config does not name.
    """
    config = content['config']
    backbone = config['model'].get('backbone') or {'type': config['model'].get('type', 'custom model')}
    place = PureWindowsPath(str(backbone.get('weights') or 'random weights'))  # of a path, only the file is named
    init = f', initialized from {place.name}' if 'weights' in backbone else ''
    init = ', initialized from weights of a file' if initialized else init
    known = [f'license: {license}'] if license else []
    return [
        '---', 'library_name: vireid', *known, 'tags: [person-re-identification, visible-infrared]', '---', '',
        f'# {markdown(str(config.get("name", "model")))}', '',
        'A model for visible-infrared person re-identification: ' + markdown(
            f'{backbone.get("type", "?")}'
            f'{" of depth " + str(backbone["depth"]) if "depth" in backbone else ""}{init}, images of '
            f'{" x ".join(map(str, config["images"]["size"]))}.'
        ),
    ]  # fmt: skip


def about(content: Mapping[str, Any], digest: str) -> list[str]:
    """Returns list items about the training, the weights, and the versions."""
    config, at = content['config'], content['progress']
    data = ' '.join(filter(None, [content.get('data') or config['dataset'].get('type', '-'), content.get('split', '')]))
    return [
        '- ' + markdown(
            f'trained on {data}, {counted(content["num_identities"], "identity", "identities")}, '
            f'{counted(at["step"], "step")}, seed {config.get("seed", 0)}'
        ),
        '- ' + markdown(
            f'weights: {content.get("chosen") or "those at the end of training"}; SHA-256 of their values {digest}'
        ),
        '- ' + markdown(f'written by {", ".join(f"{k} {v}" for k, v in content.get("versions", {}).items())}'),
    ]  # fmt: skip


def usage(config: Mapping[str, Any]) -> list[str]:
    """Returns how to load the weights and compare images."""
    named = [f'this folder/{Path(file).name}' for file in config.get('plugins', ())]
    plugins = f', plugins={named!r}' if named else ''
    lines = [
        '```python', 'import vireid', '',
        f"model = vireid.load('this folder'{plugins})",
        "query, gallery = model.embed(query_files, 'infrared'), model.embed(gallery_files, 'visible')",
        'similarity = query @ gallery.T  # cosine similarity: higher is more similar', '```', '',
    ]  # fmt: skip
    if (config.get('evaluation') or {}).get('rerank'):
        lines += [
            'The re-ranked rows use all queries and the whole gallery at once. If you search for one image at a time, '
            'expect the plain rows:', '',
            '```python', 'reranker = model.experiment.build_reranker()',
            'similarity = reranker.similarity(query, gallery)(slice(None))', '```', '',
        ]  # fmt: skip
    return lines
