# Table 2, "NO MTL": the levels' losses are added up as they are.
_base_ = '../dmcf_sysu.py'
model = dict(weighter=dict(_delete_=True, type='Fixed'))
