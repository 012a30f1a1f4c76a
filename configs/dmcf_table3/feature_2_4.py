# Table 3, "feature_2_4".
_base_ = '../dmcf_sysu.py'
model = dict(
    backbone=dict(out_stages=(2, 4)),
    necks=dict(middle=None),
    heads=dict(middle=None),
    embedding=('low', 'high'),
)
