# Table 2, "DCF": high-level features instead of multi-layer features.
_base_ = '../dmcf_sysu.py'
model = dict(
    backbone=dict(out_stages=(4,)),
    necks=dict(low=None, middle=None),
    heads=dict(low=None, middle=None),
    embedding=('high',),
)
