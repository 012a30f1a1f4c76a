# Table 3, "feature_2_3_4": DMCF itself.
_base_ = '../dmcf_sysu.py'
