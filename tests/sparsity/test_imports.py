"""What a researcher's own loop needs: torch and numpy."""

# Whatever else is imported must be the standard library's, or come with torch.
PROGRAM = """
import sys
import torch, numpy
import torch._dynamo, torch.fx  # which an optimiser imports
before = {name.partition(".")[0] for name in sys.modules}
from rigl import Sparsifier, layer_densities, describe, compact
import rigl.sparsity.methods, rigl.sparsity.updates, rigl.sparsity.flops, rigl.sparsity.schedules
new = {name.partition(".")[0] for name in sys.modules} - before - set(sys.stdlib_module_names) - {"rigl"}
print(sorted(name for name in new if not name.startswith("_")))

for name in ("pydantic", "pandas", "torchvision", "tqdm", "filelock", "sklearn", "scipy"):
    sys.modules[name] = None
model = torch.nn.Linear(20, 10)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
Sparsifier(model, optimizer, method="rigl", density=0.5, total_steps=100)
model(torch.ones(3, 20)).sum().backward()
optimizer.step()
print(round((model.weight != 0).float().mean().item(), 2))
try:
    rigl.train
except ImportError as error:
    print(error)
"""


def test_it_works_where_nothing_else_is_installed(python, tmp_path):
    out = python("-c", PROGRAM, cwd=tmp_path, check=True).stdout.splitlines()
    assert out == ["[]", "0.5", 'rigl.train needs filelock: pip install -e ".[train]"']
