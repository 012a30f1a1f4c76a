# Table 3, "feature_1_2_3_4": the first stage joins in, not cut into parts, like the low level.
_base_ = '../dmcf_sysu.py'
_losses = dict(id=dict(type='CrossEntropy'), tri=dict(type='BatchHardTriplet', margin=1.8))
model = dict(
    backbone=dict(out_stages=(1, 2, 3, 4)),
    necks=dict(lowest=dict(type='CorrespondenceConcat', inputs='stage1')),
    heads=dict(lowest=dict(type='PartHead', parts=0, pool='Max', channels=256, bnneck=True, losses=_losses)),
    embedding=('lowest', 'low', 'middle', 'high'),
)
