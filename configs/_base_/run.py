# What every run shows and writes.
loggers = [dict(type='Console'), dict(type='MetricsFile'), dict(type='Report')]
evaluation = dict(batch_size=64)
seed = 0
