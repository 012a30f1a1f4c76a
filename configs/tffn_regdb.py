_base_ = ['_base_/tffn.py', '_base_/regdb.py', '_base_/run.py']
