# What type checkers and editors see: `__init__.py` imports each name on first use.
from vireid.api import compare as compare
from vireid.api import evaluate as evaluate
from vireid.api import load_experiment as load_experiment
from vireid.api import plot as plot
from vireid.api import table as table
from vireid.api import train as train
from vireid.core.config.experiment import Experiment as Experiment
from vireid.core.registry.schema import Component as Component
from vireid.core.scoring.results import Results as Results
from vireid.core.training.run import Run as Run
from vireid.core.types import FeatureSpec as FeatureSpec
from vireid.core.types import HeadOutput as HeadOutput
from vireid.core.types import Sample as Sample
from vireid.errors import VireidError as VireidError
from vireid.plugin_manager.manager import hookimpl as hookimpl
from vireid.search.embedder import load as load

__version__: str
