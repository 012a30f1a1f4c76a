"""What a run looks like: evidence gathered when a model is scored, figures of it, and the page `report.html`.

It may know the core, and no component. matplotlib and scikit-learn are extras: what needs them is left out, and said.
"""
