"""torch's compiler is imported when it is used, and then it is the real one. Each in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

START = """
import sys
from vireid.boundary.compiler_import import put_off_compiler
put_off_compiler()
import torch, torchvision
from lightning_fabric.wrappers import OptimizedModule
model = torch.nn.Linear(3, 2)
optimizer = torch.optim.Adam(model.parameters())
def train(model):
    optimizer.zero_grad()
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
train(model)
print('sympy' in sys.modules, isinstance(model, OptimizedModule))
"""
USES = {
    'compile': """
compiled = torch.compile(model, backend='eager')
train(compiled)
print(isinstance(compiled, OptimizedModule), isinstance(model, OptimizedModule))
print(isinstance(compiled, torch._dynamo.OptimizedModule))
""",
    'submodule': """
import torch._dynamo.config as config
from torch._dynamo.utils import counters
import torch._dynamo.utils
train(model)
print(config is torch._dynamo.config, counters is torch._dynamo.utils.counters)
print(sys.modules['torch._dynamo'].__file__ is not None)
""",
}


@pytest.mark.long
def test_training_needs_no_compiler_and_each_use_gets_the_real_one():
    running = {
        name: subprocess.Popen(
            [sys.executable, '-c', START + use], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for name, use in USES.items()
    }
    results = {name: process.communicate() for name, process in running.items()}
    assert results['compile'][0].split() == ['False', 'False', 'True', 'False', 'True'], results['compile'][1]
    assert results['submodule'][0].split() == ['False', 'False', 'True', 'True', 'True'], results['submodule'][1]
