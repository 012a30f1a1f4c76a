"""Reliability curve: how often hits are right, by the probability that a calibrated model gives them."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from vireid.reporting.figures.style import (
    COLUMN,
    INK,
    MARKERS,
    add_legend,
    add_notes,
    choose_evidence,
    look,
    new_figure,
    protocol_note,
    styled,
)
from vireid.reporting.record import RunRecord
from vireid.statistics.calibration import FEWEST


@styled
def draw(runs: Sequence[RunRecord], width: float = COLUMN) -> Figure:
    """Draws the share of right hits against their mean probability, for bins of probability, in percent.

    The probabilities were fitted to validation identities, the hits are those of the test. The legend has the expected
    calibration error: the mean distance from the diagonal, weighted by the number of hits.

    Args:
        runs: with evidence of calibrated models.
        width: in inches.

    Raises:
        VireidError: if no run is calibrated.
    """
    kept, notes = choose_evidence(
        runs,
        lambda evidence: evidence.reliability,
        'calibration',
        f"train with {FEWEST} or more validation identities: evaluation.select='validation', dataset.val_share",
    )
    figure = new_figure(width, 0.8 * width + 0.15 * len(kept))
    axes = figure.subplots()
    axes.plot([0, 100], [0, 100], color=INK, linewidth=0.6, linestyle=':')
    drawn = []
    for index, run in enumerate(kept):
        assert run.evidence is not None
        curve = run.evidence.reliability
        label = f'{run.label}: error {100 * curve["error"][0]:.1f} points'
        drawn += axes.plot(100 * curve['probability'], 100 * curve['share'], label=label, markersize=3,
                           marker=MARKERS[index % len(MARKERS)], **look(index))  # fmt: skip
    axes.set(xlabel='Probability (%)', ylabel='Hits that are right (%)', xlim=(0, 100), ylim=(0, 100))
    add_legend(figure, drawn)
    add_notes(figure, [*notes, *protocol_note(kept)])
    return figure
