# Table 3, "B(deep)+MLFM+GLFM": TFFN itself.
_base_ = '../tffn_sysu.py'
