"""PyTorch Lightning (pip install pytorch-lightning): python lightning_trainer.py"""

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EMAWeightAveraging
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from rigl import Sparsifier


class Digits(pl.LightningModule):
    saved = None

    def __init__(self):
        super().__init__()
        self.network = nn.Sequential(nn.Linear(64, 300), nn.ReLU(), nn.Linear(300, 10))

    def training_step(self, batch, index):
        images, labels = batch
        return F.cross_entropy(self.network(images), labels)

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)
        self.sparsifier = Sparsifier(
            self.network,
            optimizer,
            method="rigl",
            density=0.1,
            total_steps=int(self.trainer.estimated_stepping_batches),
            delta_t=20,
            # Lightning has loaded the weights by now: other masks would cut into them.
            masks=self.saved and self.saved["masks"],
        )
        if self.saved:
            self.sparsifier.load_state_dict(self.saved)
        return optimizer

    # Masks travel in Lightning's own checkpoints.
    def on_save_checkpoint(self, checkpoint):
        checkpoint["sparsifier"] = self.sparsifier.state_dict()

    def on_load_checkpoint(self, checkpoint):
        self.saved = checkpoint["sparsifier"]

    # At the end the callback below puts the average of all steps' weights into the model, which has a value
    # wherever a weight was ever active; so it does while validating.
    def on_train_end(self):
        self.sparsifier.apply_masks(self.network)

    def on_validation_epoch_start(self):
        self.sparsifier.apply_masks(self.network)


digits = load_digits()
data = TensorDataset(
    torch.tensor(digits.data[:1500], dtype=torch.float32) / 16, torch.tensor(digits.target[:1500])
)
pl.seed_everything(0)
model = Digits()
trainer = pl.Trainer(
    max_epochs=10,
    accelerator="auto",
    devices=1,
    logger=False,
    enable_checkpointing=False,
    callbacks=[EMAWeightAveraging(decay=0.99)],
)
trainer.fit(model, DataLoader(data, batch_size=50, shuffle=True))
print(model.sparsifier.summary())
