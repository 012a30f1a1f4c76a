"""report.html and rankings.png: what came out, to look at."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

from vireid.core.scoring.results import METRICS, Results, metrics_in_percent, valid_queries
from vireid.core.training.run import Run
from vireid.plugin_manager.manager import hookimpl
from vireid.plugins.loggers.curves import curve_svg
from vireid.plugins.loggers.metrics_file import read_metrics
from vireid.plugins.loggers.rankings import draw_rankings

STYLE = (
    'body{font:15px/1.5 system-ui,sans-serif;max-width:1100px;margin:2em auto;padding:0 1em;color:#222}'
    'table{border-collapse:collapse}td,th{padding:.3em .8em;border-bottom:1px solid #ddd;text-align:right}'
    'td:first-child,th:first-child{text-align:left}img{max-width:100%}pre{background:#f6f6f6;padding:1em;overflow:auto}'
)


class Report:
    """Writes `rankings.png` and `report.html` into the run's folder after each evaluation.

    The curves come from `metrics.jsonl`, so they need the logger `MetricsFile`, listed before this one.

    Args:
        queries: how many queries `rankings.png` shows.
        top: how many gallery images of each.
    """

    def __init__(self, queries: int = 8, top: int = 10) -> None:
        self.queries, self.top = queries, top

    @hookimpl(trylast=True)
    def evaluated(self, run: Run, results: Results) -> None:
        run.work_dir.mkdir(parents=True, exist_ok=True)
        draw_rankings(results, self.queries, self.top).save(run.work_dir / 'rankings.png')
        page = self._page(run, results)
        (run.work_dir / 'report.html').write_text(page, encoding='utf-8')

    def _page(self, run: Run, results: Results) -> str:
        head = ''.join(f'<th>{html.escape(k)}</th>' for k in [results.protocol, *METRICS, 'valid queries', 'trials'])
        body = ''
        for row in results.rows():
            cells = [row['name'], *metrics_in_percent(row), valid_queries(row), str(row['trials'])]
            body += '<tr>' + ''.join(f'<td>{html.escape(c)}</td>' for c in cells) + '</tr>'
        config, named = run.work_dir / 'config.yaml', results.similarity
        ranked = 'plain cosine similarity' if named is None else f'ranked by {named.name} instead of cosine'
        return (
            f'<!doctype html><meta charset="utf-8"><title>{html.escape(run.experiment.name)}</title>'
            f'<style>{STYLE}</style><h1>{html.escape(run.experiment.name)}</h1>'
            f'<p>{html.escape(results.caption())}; percent, mean ± standard deviation over trials; '
            f'{html.escape(ranked)} but where a row says otherwise.</p><table><tr>{head}</tr>{body}</table>'
            f'<h2>Ranking lists</h2><p>{html.escape(rankings_caption(results))}</p><img src="rankings.png">'
            + _curves(run.work_dir / 'metrics.jsonl')
            + f'<h2>Config</h2><pre>{html.escape(_text(config))}</pre>'
        )


def rankings_caption(results: Results) -> str:
    """Says what `rankings.png` shows."""
    trial = results.trials[0]
    return (
        f'Trial 0 of {trial.name}: each row is a query (left) and the images ranked first; green frames are the '
        'same person, red ones another.'
    )


def _curves(metrics: Path) -> str:
    steps = [line for line in read_metrics(metrics) if 'loss' in line]
    if len(steps) < 2:
        return ''
    x = [line['step'] for line in steps]
    parts = ['<h2>Training</h2>']
    # a step of someone's own may tell its loss alone
    drawn: dict[str, list[Any]] = {
        'Loss of each task': [line.get('tasks') or {'loss': line['loss']} for line in steps],
        'Weight of each task': [line.get('weights', {}) for line in steps],
    }
    for title in dict.fromkeys(title for line in steps for title in line.get('curves', {})):
        drawn[f'{title} of each task, as the weighter has it'] = [
            line.get('curves', {}).get(title, {}) for line in steps
        ]
    drawn['Learning rate'] = [{'lr': line['lr']} if 'lr' in line else {} for line in steps]
    for title, values in drawn.items():
        names = dict.fromkeys(name for found in values for name in found)
        series = {name: [_number(found.get(name)) for found in values] for name in names}
        if series:
            parts.append(curve_svg(title, x, series))
    return ''.join(parts)


def _number(value: Any) -> float:
    return float('nan') if value is None else value


def _text(path: Path) -> str:
    return path.read_text(encoding='utf-8') if path.exists() else ''
