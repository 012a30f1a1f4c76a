_base_ = ['_base_/tffn.py', '_base_/sysu.py', '_base_/run.py']
