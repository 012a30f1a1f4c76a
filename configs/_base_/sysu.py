# SYSU-MM01, trained on train + val, scored as most of the field does.
dataset = dict(type='SYSU-MM01', root=None)
protocol = dict(type='sysu/agw', modes=('all', 'indoor'), trials=10)
