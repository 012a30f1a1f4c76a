# Applied on top of a config for SYSU-MM01: the same network and recipe on RegDB.
dataset = dict(_delete_=True, type='RegDB', root=None, split=1)
protocol = dict(_delete_=True, type='regdb/agw')
