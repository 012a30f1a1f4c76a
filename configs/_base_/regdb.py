# RegDB: ten splits, one model for each (--trial).
dataset = dict(type='RegDB', root=None, trial=1)
protocol = dict(type='regdb/agw')
