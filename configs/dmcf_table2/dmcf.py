# Table 2, "Ours": DMCF itself.
_base_ = '../dmcf_sysu.py'
