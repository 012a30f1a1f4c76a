"""The `official` family on RegDB differs from `agw` only in what the CMC counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vireid.core.scoring.retrieval import score
from vireid.plugins.datasets.regdb import RegDB
from vireid.plugins.protocols.regdb_agw import RegDBAgw
from vireid.plugins.protocols.regdb_official import RegDBOfficial


def test_the_same_images_other_cmc(regdb_root: Path) -> None:
    reader = RegDB(str(regdb_root))
    images, identities = RegDBAgw().trials(reader), RegDBOfficial().trials(reader)
    for one, other in zip(images, identities, strict=True):
        assert (one.name, one.query, one.gallery, one.drop) == (other.name, other.query, other.gallery, other.drop)
        assert (one.cmc, other.cmc) == ('image', 'identity')


def test_rank_1_and_map_agree_and_deeper_ranks_do_not(regdb_root: Path) -> None:
    reader = RegDB(str(regdb_root))
    rng = np.random.default_rng(0)
    centers = {identity: rng.normal(size=16) for identity in {s.identity for s in reader.split('test')}}
    trials = [protocol().trials(reader)[0] for protocol in (RegDBAgw, RegDBOfficial)]
    query, gallery = (
        np.array([centers[s.identity] + rng.normal(scale=2, size=16) for s in side], dtype=np.float32)
        for side in (trials[0].query, trials[0].gallery)
    )
    image, identity = (score(query, gallery, trial) for trial in trials)
    assert image.rank(1) == identity.rank(1)
    assert image.mean_ap == identity.mean_ap
    assert identity.rank(10) > image.rank(10)
