# eBDTR (Ye et al., TIFS 2019): BDTR with its two constraints in one formula. docs/systems/bdtr.md.
_base_ = 'bdtr.py'
model = dict(
    heads=dict(both=dict(losses=dict(ranking=dict(_delete_=True, type='CenterConstrainedRanking', margin=0.5))))
)
