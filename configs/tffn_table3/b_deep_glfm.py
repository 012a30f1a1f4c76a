# Table 3, "B(deep)+GLFM": the graph on the last stage's embedding.
_base_ = '../tffn_sysu.py'
model = dict(necks=dict(mlfm=None, glfm=dict(inputs='s4')), heads=dict(mlfm=None), embedding=('s4',))
