"""Sparse training inside other people's trainers. Needs transformers, which the package does not bring."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from rigl.sparsity.sparsifier import Sparsifier


class SparsifierCallback(TrainerCallback):  # type: ignore[misc]
    """Lets a Hugging Face ``Trainer`` train sparsely: ``Trainer(..., callbacks=[SparsifierCallback(...)])``.

    options     those of `rigl.Sparsifier`, without model, optimizer and total_steps, which the Trainer knows
    sparsifier  the sparsifier, once training has begun

    Its state is saved as ``sparsifier.pt`` in each of the Trainer's checkpoints, and read from there by
    ``trainer.train(resume_from_checkpoint=...)``, which then goes on bit for bit.

    Raises FileNotFoundError where a checkpoint to resume from has no such file.
    """

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.sparsifier: Sparsifier | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **parts: Any
    ) -> None:
        # The Trainer has loaded weights by now, into which masks other than theirs would cut.
        saved = torch.load(_path(args, state), map_location="cpu") if state.global_step else None
        if saved is None and self.sparsifier is not None:  # trained on, by another train()
            saved = {**self.sparsifier.state_dict(), "step_count": 0, "last_update": -1}
        if self.sparsifier is not None:
            self.sparsifier.detach()
        given = {"masks": saved["masks"]} if saved else {}
        self.sparsifier = Sparsifier(
            parts["model"], parts["optimizer"], total_steps=state.max_steps, **self.options | given
        )
        if saved:
            self.sparsifier.load_state_dict(saved)

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **parts: Any
    ) -> None:
        if state.is_world_process_zero and self.sparsifier is not None:
            torch.save(self.sparsifier.state_dict(), _path(args, state))


def _path(args: TrainingArguments, state: TrainerState) -> Path:
    return Path(args.output_dir or ".") / f"checkpoint-{state.global_step}" / "sparsifier.pt"
