# TFFN in small, on synthetic people: what `vireid demo` and `make demo` run. Ranking lists are drawn after each epoch,
# so that there is something to look at after a minute.
_base_ = ['tffn_sysu.py', '_base_/tffn_small.py']
loggers = [dict(type='Console'), dict(type='MetricsFile'), dict(type='Report'), dict(type='Rankings')]
training = dict(evaluate_every=1)
