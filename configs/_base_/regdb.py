# RegDB: ten splits, one model for each (--splits 1-10).
dataset = dict(type='RegDB', root=None, split=1)
protocol = dict(type='regdb/agw')
