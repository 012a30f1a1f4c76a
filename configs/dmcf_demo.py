# DMCF in small, on generated people.
_base_ = ['dmcf_sysu.py', '_base_/dmcf_small.py']
