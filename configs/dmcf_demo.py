# A small DMCF, on synthetic people.
_base_ = ['dmcf_sysu.py', '_base_/dmcf_small.py']
