"""The plugin: what it brings. The modules of components are imported when a config first names them."""

from pathlib import Path

import vireid

VIREID_API = 1  # the version of vireid's hooks this is written for


@vireid.hookimpl
def register_components(add):
    """Registers the components of this package."""
    add('necks', 'BottleneckGatedFusion', 'vireid_gated_fusion.neck:BottleneckGatedFusion')


@vireid.hookimpl
def register_configs(add):
    """Offers the configs of this package, as `vireid-gated-fusion::tffn_gated.py`."""
    add(Path(__file__).parent / 'configs')
