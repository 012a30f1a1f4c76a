_base_ = ['_base_/tffn.py', '_base_/llcm.py', '_base_/run.py']
