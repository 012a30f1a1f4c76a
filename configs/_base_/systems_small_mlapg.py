# MLAPG as it is, with fewer dimensions: the fit takes a minute or two instead of five.
evaluation = dict(similarity=dict(dims=100))
