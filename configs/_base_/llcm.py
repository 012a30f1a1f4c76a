# LLCM, in its declared directions.
dataset = dict(type='LLCM', root=None)
protocol = dict(type='llcm', trials=10)
