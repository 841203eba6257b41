"""accelerate (pip install accelerate): accelerate launch accelerate_loop.py"""

import torch
from accelerate import Accelerator
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from rigl import Sparsifier

digits = load_digits()
data = TensorDataset(
    torch.tensor(digits.data[:1500], dtype=torch.float32) / 16, torch.tensor(digits.target[:1500])
)
epochs = 10

torch.manual_seed(0)
accelerator = Accelerator()
model = nn.Sequential(nn.Linear(64, 300), nn.ReLU(), nn.Linear(300, 10))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
network, optimizer, loader = accelerator.prepare(
    model, optimizer, DataLoader(data, batch_size=50, shuffle=True)
)

# After prepare(), and to the model itself. From here on save_state() and load_state() know of the masks.
sparsifier = Sparsifier(
    model, optimizer, method="rigl", density=0.1, total_steps=len(loader) * epochs, delta_t=20
)
accelerator.register_for_checkpointing(sparsifier)

for epoch in range(epochs):
    for images, labels in loader:
        optimizer.zero_grad()
        accelerator.backward(F.cross_entropy(network(images), labels))
        optimizer.step()
    accelerator.save_state(f"digits/{epoch}")

accelerator.print(sparsifier.summary())
