# Table 2, "NO SPLIT": no level is cut into parts.
_base_ = '../dmcf_sysu.py'
model = dict(
    heads=dict(middle=dict(parts=0, losses=dict(parts=None)), high=dict(parts=0, losses=dict(parts=None))),
)
