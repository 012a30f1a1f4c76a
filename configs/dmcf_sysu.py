_base_ = ['_base_/dmcf.py', '_base_/sysu.py', '_base_/run.py']
