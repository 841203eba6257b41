"""LeNet-300-100: the multilayer perceptron of the original RigL code's small experiments."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class LeNet300100(nn.Module):
    """Two hidden layers of 300 and 100 with ReLU, on the flattened image; torch's default init."""

    def __init__(self, inputs: int, num_classes: int, width_factor: float = 1.0) -> None:
        super().__init__()
        first, second = (max(1, int(width * width_factor)) for width in (300, 100))
        self.fc1 = nn.Linear(inputs, first)
        self.fc2 = nn.Linear(first, second)
        self.fc3 = nn.Linear(second, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) to (batch, num_classes)."""
        x = F.relu(self.fc1(x.flatten(1)))
        out: Tensor = self.fc3(F.relu(self.fc2(x)))
        return out
