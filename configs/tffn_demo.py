# TFFN in small, on synthetic people: what `make demo` runs.
_base_ = ['tffn_sysu.py', '_base_/tffn_small.py']
