"""Line charts as inline SVG: no image library, sharp at any size."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

import numpy as np

COLOURS = ('#1b6ca8', '#d1495b', '#2e8b57', '#b8860b', '#6a4c93', '#00798c', '#8d5524', '#444444')
WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 760, 260, 60, 30, 34, 130
POINTS = 400


def curve_svg(title: str, x: Sequence[float], series: Mapping[str, Sequence[float]]) -> str:
    """Draws lines over a common x axis.

    Args:
        title: shown above.
        x: rising positions, such as steps.
        series: values of each line, as many as `x`; long ones are averaged down to a few hundred points.

    Returns:
        An `<svg>` element.
    """
    xs, lines = _thin(np.asarray(x, dtype=float), {k: np.asarray(v, dtype=float) for k, v in series.items()})
    top = max((float(np.nanmax(v)) for v in lines.values()), default=1.0) or 1.0
    bottom = min(0.0, *(float(np.nanmin(v)) for v in lines.values()))
    span_x = (xs[-1] - xs[0]) or 1.0
    span_y = (top - bottom) or 1.0

    def at(px: float, py: float) -> str:
        across = LEFT + (px - xs[0]) / span_x * (WIDTH - LEFT - RIGHT)
        down = HEIGHT - BOTTOM - (py - bottom) / span_y * (HEIGHT - BOTTOM - TOP)
        return f'{across:.1f},{down:.1f}'

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" font-family="system-ui" font-size="12">']
    parts.append(f'<text x="{LEFT}" y="18" font-size="14" font-weight="bold">{html.escape(title)}</text>')
    for fraction in (0.0, 0.5, 1.0):
        value = bottom + fraction * span_y
        px, py = at(xs[0], value).split(',')
        parts.append(f'<line x1="{px}" y1="{py}" x2="{WIDTH - RIGHT}" y2="{py}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{float(py) + 4:.1f}" text-anchor="end">{value:.3g}</text>')
        tick = xs[0] + fraction * span_x
        px = at(tick, bottom).split(',')[0]
        parts.append(f'<text x="{px}" y="{HEIGHT - 10}" text-anchor="middle">{tick:,.0f}</text>')
    for number, (name, values) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        points = ' '.join(at(px, py) for px, py in zip(xs, values, strict=True) if np.isfinite(py))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        label_y = TOP + 16 * number + 8
        parts.append(f'<text x="{WIDTH - RIGHT + 10}" y="{label_y}" fill="{colour}">{html.escape(name)}</text>')
    return ''.join(parts) + '</svg>'


def _thin(x: np.ndarray, series: dict[str, np.ndarray]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    if len(x) <= POINTS:
        return x, series
    groups = np.array_split(np.arange(len(x)), POINTS)
    return np.array([x[g].mean() for g in groups]), {
        name: np.array([values[g].mean() for g in groups]) for name, values in series.items()
    }
