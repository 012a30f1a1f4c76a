"""RegDB with a CMC that counts identities."""

from __future__ import annotations

from vireid.plugins.protocols.regdb_agw import RegDBAgw


class RegDBOfficial(RegDBAgw):
    """As `regdb/agw`, but CMC counts distinct identities: the same rank-1 and mAP, other rank-5, rank-10 and rank-20.

    Args:
        directions: which rows to score.
    """

    name = 'regdb/official'
    cmc = 'identity'
