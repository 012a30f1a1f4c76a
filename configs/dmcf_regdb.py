_base_ = ['_base_/dmcf.py', '_base_/regdb.py', '_base_/run.py']
training = dict(steps=5_000)
