# Table 3, "B(deep)+MLFM w/o A": MLFM without the channel attention.
_base_ = 'b_deep_mlfm.py'
model = dict(necks=dict(mlfm=dict(attention=False)))
