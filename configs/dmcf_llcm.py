# The paper has no LLCM; steps as for SYSU-MM01, which has about as many images.
_base_ = ['_base_/dmcf.py', '_base_/llcm.py', '_base_/run.py']
