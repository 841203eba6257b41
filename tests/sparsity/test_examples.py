"""The examples that the book prints, run as a reader would."""

import re
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "book" / "examples"


def test_plain_loop(python, tmp_path):
    printed = python(EXAMPLES / "plain_loop.py", cwd=tmp_path, check=True).stdout
    assert "rigl, step 300" in printed
    assert re.search(r"total .* 0\.1000\n", printed)
    accuracy = float(re.search(r"test accuracy: ([\d.]+) %", printed)[1])
    assert accuracy > 60, "ten classes: chance is 10"


def test_two_processes(python, tmp_path):
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    printed = python(*torchrun, EXAMPLES / "ddp.py", cwd=tmp_path, check=True, OMP_NUM_THREADS="1").stdout
    assert "rigl, step 300" in printed
    assert re.search(r"total .* 0\.1000\n", printed)


RESUME = """
import sys, torch
exec(open(sys.argv[1]).read())
pl.seed_everything(0)

class Stops(pl.Callback):
    def on_train_epoch_end(self, trainer, module):
        if trainer.current_epoch == 4 and len(sys.argv) > 2:
            trainer.save_checkpoint("half.ckpt")

def fit(**options):
    model = Digits()
    trainer = pl.Trainer(max_epochs=10, accelerator="cpu", devices=1, logger=False, callbacks=[Stops()],
                         enable_checkpointing=False, enable_progress_bar=False)
    trainer.fit(model, DataLoader(data, batch_size=50), **options)
    return model

whole = fit()
again = fit(ckpt_path="half.ckpt", weights_only=False)
assert again.sparsifier.step_count == whole.sparsifier.step_count == 300
same = [torch.equal(whole.sparsifier.masks[n], m) for n, m in again.sparsifier.masks.items()]
weights = [torch.equal(a, b) for a, b in zip(whole.parameters(), again.parameters())]
print("same:", all(same) and all(weights), again.sparsifier.update_count)
print("averaged:", sum(int((model.network.get_parameter(n) != 0).sum()) for n in model.sparsifier.masks))
"""


def test_lightning_and_that_it_resumes_from_its_own_checkpoint(python, tmp_path):
    pytest.importorskip("pytorch_lightning")
    done = python("-c", RESUME, EXAMPLES / "lightning_trainer.py", "save", cwd=tmp_path)
    assert "rigl, step 300" in done.stdout
    assert re.search(r"total .* 0\.1000\n", done.stdout)
    assert "same: True 11" in done.stdout, done.stderr[-2000:]
    assert int(re.search(r"averaged: (\d+)\n", done.stdout)[1]) <= 2220, "a tenth of all weights"


def test_accelerate(python, tmp_path):
    pytest.importorskip("accelerate")
    printed = python("-c", ACCELERATE, EXAMPLES / "accelerate_loop.py", cwd=tmp_path, check=True).stdout
    assert "rigl, step 300" in printed
    assert re.search(r"total .* 0\.1000\n", printed)
    assert "loaded: True 150" in printed


ACCELERATE = """
import sys
exec(open(sys.argv[1]).read())
accelerator.load_state("digits/4")
mask = sparsifier.masks["0.weight"]
print("loaded:", not model[0].weight[~mask].any().item(), sparsifier.step_count)
"""

TRAINER = """
import sys
exec(open(sys.argv[1]).read())
whole = trainer.model.state_dict()
masks = {name: mask.clone() for name, mask in sparse.sparsifier.masks.items()}
resumed = SparsifierCallback(**sparse.options)
torch.manual_seed(1)
again = Trainer(Digits(), trainer.args, train_dataset=data, callbacks=[resumed])
again.train(resume_from_checkpoint="digits/checkpoint-270")
assert resumed.sparsifier.step_count == sparse.sparsifier.step_count == 300
same = [torch.equal(masks[n], m) for n, m in resumed.sparsifier.masks.items()]
same += [torch.equal(whole[n], p) for n, p in again.model.state_dict().items()]
print("same:", all(same), resumed.sparsifier.update_count)
"""


def test_the_trainer_and_that_it_resumes_from_its_own_checkpoint(python, tmp_path):
    pytest.importorskip("transformers")
    done = python("-c", TRAINER, EXAMPLES / "hf_trainer.py", cwd=tmp_path)
    assert "rigl, step 300" in done.stdout, done.stderr[-2000:]
    assert re.search(r"total .* 0\.1000\n", done.stdout)
    assert "same: True 11" in done.stdout, done.stderr[-2000:]
