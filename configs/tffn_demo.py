# A small TFFN, on synthetic people, as run by `vireid demo` and `make demo`. Ranking lists are drawn after each epoch,
# so the first ones appear after a minute.
_base_ = ['tffn_sysu.py', '_base_/tffn_small.py']
loggers = [dict(type='Console'), dict(type='MetricsFile'), dict(type='Report'), dict(type='Rankings')]
training = dict(evaluate_every=1)
