_base_ = ['_base_/tffn.py', '_base_/own.py', '_base_/run.py']
