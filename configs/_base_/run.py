# Common to every run: loggers, evaluation batch size and seed.
loggers = [dict(type='Console'), dict(type='MetricsFile'), dict(type='Report')]
evaluation = dict(batch_size=64)
seed = 0
