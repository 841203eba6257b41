"""Hugging Face Trainer (pip install transformers accelerate): python hf_trainer.py"""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from transformers import Trainer, TrainingArguments

from rigl.integrations import SparsifierCallback


class Digits(nn.Module):
    def __init__(self):
        super().__init__()
        self.network = nn.Sequential(nn.Linear(64, 300), nn.ReLU(), nn.Linear(300, 10))

    def forward(self, images, labels):
        logits = self.network(images)
        return {"loss": F.cross_entropy(logits, labels), "logits": logits}


digits = load_digits()
data = [
    {"images": torch.tensor(image, dtype=torch.float32) / 16, "labels": label}
    for image, label in zip(digits.data[:1500], digits.target[:1500], strict=True)
]
torch.manual_seed(0)

# The one line. Masks are saved in the Trainer's checkpoints, and a resumed training goes on with them.
sparse = SparsifierCallback(method="rigl", density=0.1, delta_t=20)
trainer = Trainer(
    Digits(),
    TrainingArguments(
        "digits",
        num_train_epochs=10,
        per_device_train_batch_size=50,
        learning_rate=1e-3,
        save_strategy="epoch",
        save_total_limit=2,
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
    ),
    train_dataset=data,
    callbacks=[sparse],
)
trainer.train()
print(sparse.sparsifier.summary())
