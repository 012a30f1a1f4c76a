"""The RegDB protocol with a CMC that counts identities."""

from __future__ import annotations

from vireid.plugins.protocols.regdb_agw import RegDBAgw


class RegDBOfficial(RegDBAgw):
    """Like `regdb/agw`, but the CMC counts identities: rank-1 and mAP are the same, rank-5, -10 and -20 differ.

    Args:
        directions: directions to score, one result row each.
    """

    name = 'regdb/official'
    cmc = 'identity'
