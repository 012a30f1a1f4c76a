# Your own images: a table manifest.csv with path, identity, camera, modality and split.
dataset = dict(type='Manifest', root=None)
protocol = dict(type='cross')
