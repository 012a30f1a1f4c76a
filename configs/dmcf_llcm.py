# The paper does not use LLCM; the steps are those for SYSU-MM01, which has about as many images.
_base_ = ['_base_/dmcf.py', '_base_/llcm.py', '_base_/run.py']
