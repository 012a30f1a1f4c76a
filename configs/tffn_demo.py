# TFFN in small, on synthetic people: what `make demo` and `vireid demo` run. A picture of ranking lists is drawn twice
# on the way, and at the end.
_base_ = ['tffn_sysu.py', '_base_/tffn_small.py']
loggers = [dict(type='Console'), dict(type='MetricsFile'), dict(type='Report'), dict(type='Rankings')]
training = dict(evaluate_every=2)
