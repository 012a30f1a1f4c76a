# Table 3, "feature_3_4".
_base_ = '../dmcf_sysu.py'
model = dict(
    backbone=dict(out_stages=(3, 4)),
    necks=dict(low=None),
    heads=dict(low=None),
    embedding=('middle', 'high'),
)
