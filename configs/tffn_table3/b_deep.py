# Table 3, "B(deep)": supervision on each shared stage, no fusion.
_base_ = '../tffn_sysu.py'
model = dict(
    necks=dict(mlfm=None, glfm=None),
    heads=dict(mlfm=None, glfm=None),
    weighter=dict(_delete_=True, type='Fixed'),
    embedding=('s4',),
)
