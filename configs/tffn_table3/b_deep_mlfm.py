# Table 3, "B(deep)+MLFM".
_base_ = '../tffn_sysu.py'
model = dict(necks=dict(glfm=None), heads=dict(glfm=None), weighter=dict(_delete_=True, type='Fixed'))
