# Table 3, "B(deep)+GLFM w/o H": GLFM with a single attention head.
_base_ = 'b_deep_glfm.py'
model = dict(necks=dict(glfm=dict(num_heads=1)))
