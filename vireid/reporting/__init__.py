"""Shows a run: evidence collected when a model is scored, figures drawn from it, and the page `report.html`.

It may import the core, but no component. matplotlib and scikit-learn are optional: the page says what it lacks.
"""
