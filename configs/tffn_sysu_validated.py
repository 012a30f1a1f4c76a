# TFFN trained only on the 296 identities of `train`; the weights that score best on the 99 of `val` are tested.
_base_ = 'tffn_sysu.py'
dataset = dict(train_lists=('train',))
training = dict(evaluate_every=5)
evaluation = dict(select='validation', select_by='R1')
