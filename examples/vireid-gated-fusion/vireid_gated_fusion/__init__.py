"""The plugin: which components there are. Their modules are imported when a config first names them."""

import vireid

VIREID_API = 1  # the version of vireid's hooks this is written for


@vireid.hookimpl
def register_components(add):
    """Registers the components of this package."""
    add('necks', 'BottleneckGatedFusion', 'vireid_gated_fusion.neck:BottleneckGatedFusion')
