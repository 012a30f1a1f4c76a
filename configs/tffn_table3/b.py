# Table 3, "B": supervision on the last stage only.
_base_ = '../tffn_sysu.py'
model = dict(
    backbone=dict(out_stages=(4,)),
    necks=dict(s2=None, s3=None, mlfm=None, glfm=None),
    heads=dict(s2=None, s3=None, mlfm=None, glfm=None),
    weighter=dict(_delete_=True, type='Fixed'),
    embedding=('s4',),
)
