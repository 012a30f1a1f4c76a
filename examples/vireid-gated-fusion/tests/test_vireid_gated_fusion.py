from pathlib import Path

import vireid_gated_fusion

from vireid.cli import main
from vireid.testing import check_plugin

CONFIG = Path(vireid_gated_fusion.__file__).parent / 'configs/tffn_gated.py'


def test_every_component_keeps_what_its_kind_promises():
    assert check_plugin(vireid_gated_fusion) == {'necks BottleneckGatedFusion': 'checked'}


def test_the_config_builds_and_takes_a_step(capsys):
    plugin = [] if 'BottleneckGatedFusion' in installed(capsys) else ['--plugin', vireid_gated_fusion.__file__]
    assert main(['train', str(CONFIG), '--dry-run', *plugin]) == 0
    assert 'BottleneckGatedFusion' in capsys.readouterr().out


def installed(capsys) -> str:
    main(['plugins', '--components'])
    return capsys.readouterr().out
