# Table 3, "feature_2_3".
_base_ = '../dmcf_sysu.py'
model = dict(
    backbone=dict(out_stages=(2, 3)),
    necks=dict(high=None),
    heads=dict(high=None),
    embedding=('low', 'middle'),
)
