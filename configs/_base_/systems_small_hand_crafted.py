# HOG and LOMO as they are: nothing is trained, and the images keep their size.
evaluation = dict(batch_size=64)
