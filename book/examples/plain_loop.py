"""A plain training loop, sparse by one line: python plain_loop.py"""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from rigl import Sparsifier

digits = load_digits()
x = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
y = torch.tensor(digits.target)
loader = DataLoader(TensorDataset(x[:1500], y[:1500]), batch_size=50, shuffle=True)
epochs = 10

torch.manual_seed(0)
model = nn.Sequential(
    nn.Conv2d(1, 32, 3, padding=1),
    nn.BatchNorm2d(32),
    nn.ReLU(),
    nn.Conv2d(32, 32, 3, stride=2),
    nn.ReLU(),
    nn.Flatten(),
    nn.Linear(32 * 9, 10),
)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)

# The one line. delta_t is 100 steps unless told otherwise; this training has only 300.
sparsifier = Sparsifier(
    model,
    optimizer,
    method="rigl",
    density=0.1,
    total_steps=len(loader) * epochs,
    delta_t=20,
)

for _ in range(epochs):
    for images, labels in loader:
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()

model.eval()
with torch.no_grad():
    accuracy = (model(x[1500:]).argmax(1) == y[1500:]).float().mean()
print(sparsifier.summary())
print(f"test accuracy: {100 * accuracy:.1f} %")

# A checkpoint needs the sparsifier's state beside the other two.
checkpoint = {
    "model": model.state_dict(),
    "optimizer": optimizer.state_dict(),
    "sparsifier": sparsifier.state_dict(),
}
