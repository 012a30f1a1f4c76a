"""What is prepared before the page of `vireid label` opens."""

from __future__ import annotations

from pathlib import Path

import faults

from vireid.labeling.session import open_labels
from vireid.launch.launch import train
from vireid.search.index import Index
from vireid.synth import synthesize

PLUGIN = Path(faults.__file__)


def test_other_image_settings_embed_the_crops_again_and_keep_the_answers(tmp_path):
    people = tmp_path / 'people'
    synthesize(people, layout='sysu', ids=10, seed=0, images=1, workers=1)
    train(faults.experiment(people), tmp_path / 'run')
    checkpoint = str(tmp_path / 'run/checkpoints/last.pt')
    digests, answers = set(), []
    for options in ([], ['images.scale_raw=percentiles']):
        with open_labels(people, None, checkpoint, options, [PLUGIN], log=lambda line: None) as labels:
            answers.append(len(labels.journal.held()))
            digests.add(Index.open(people / 'label/index', [PLUGIN]).about['digest'])
            labels.answer('people', labels.question().rows)
    assert len(digests) == 2
    assert answers == [0, 1]
