# TFFN in small, its levels fused by BottleneckGatedFusion. To try it without data:
# vireid train vireid-gated-fusion::tffn_gated.py --dry-run
requires = ['vireid-gated-fusion>=0.1']
_base_ = 'vireid::tffn_demo.py'

model = dict(necks=dict(mlfm=dict(type='BottleneckGatedFusion', reduction=8)))
