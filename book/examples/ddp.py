"""Several processes: torchrun --nproc-per-node 2 ddp.py"""

import os

import torch
import torch.distributed as dist
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from rigl import Sparsifier

cuda = torch.cuda.is_available()
dist.init_process_group("nccl" if cuda else "gloo")
device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if cuda else torch.device("cpu")

digits = load_digits()
data = TensorDataset(
    torch.tensor(digits.data[:1500], dtype=torch.float32) / 16, torch.tensor(digits.target[:1500])
)
sampler = DistributedSampler(data)
loader = DataLoader(data, batch_size=25, sampler=sampler)
epochs = 10

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(64, 300), nn.ReLU(), nn.Linear(300, 10)).to(device)
network = DistributedDataParallel(model)
optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)

# Attach to the model itself, with one seed on every rank. Gradients are averaged before the optimiser's
# step, so all ranks move their masks alike, and nothing more is sent.
sparsifier = Sparsifier(
    model, optimizer, method="rigl", density=0.1, total_steps=len(loader) * epochs, delta_t=20, seed=0
)

for epoch in range(epochs):
    sampler.set_epoch(epoch)
    for images, labels in loader:
        optimizer.zero_grad()
        F.cross_entropy(network(images.to(device)), labels.to(device)).backward()
        optimizer.step()

if dist.get_rank() == 0:
    print(sparsifier.summary())
dist.destroy_process_group()
