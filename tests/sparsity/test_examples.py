"""The examples that the book prints, run as a reader would."""

import os
import re
import runpy
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import torch
from forked import forked
from gloo import free_port

EXAMPLES = Path(__file__).parents[2] / "book" / "examples"


def run(name):
    return runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Where examples put their checkpoints."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def printed(capsys):
    """What was printed so far, which has the table of a network of which a tenth is active."""

    def read():
        text = capsys.readouterr().out
        assert "rigl, step 300" in text
        assert re.search(r"total .* 0\.1000\n", text)
        return text

    return read


def test_plain_loop(printed):
    run("plain_loop")
    accuracy = float(re.search(r"test accuracy: ([\d.]+) %", printed())[1])
    assert accuracy > 60, "ten classes: chance is 10"


def rank(number, port, said):
    """The example as torchrun starts it."""
    group = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ.update(RANK=str(number), LOCAL_RANK=str(number), **group)
    torch.set_num_threads(1)
    with said.open("w") as file, redirect_stdout(file):
        run("ddp")


def test_two_processes(printed, tmp_path):
    port, said = free_port(), [tmp_path / f"{number}.txt" for number in range(2)]
    ranks = [forked(rank, number, port, path) for number, path in enumerate(said)]
    for each in ranks:
        each.join()
        assert each.exitcode == 0
    print(said[0].read_text())
    printed()
    assert said[1].read_text() == ""


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_lightning_and_that_it_resumes_from_its_own_checkpoint(printed):
    pl = pytest.importorskip("pytorch_lightning")
    example = run("lightning_trainer")
    printed()
    model = example["model"]
    averaged = (int((model.network.get_parameter(n) != 0).sum()) for n in model.sparsifier.masks)
    assert sum(averaged) <= 2220, "a tenth of all weights"

    class Saves(pl.Callback):
        def on_train_epoch_end(self, trainer, module):
            if trainer.current_epoch == 4:
                trainer.save_checkpoint("half.ckpt")

    def fit(**options):
        model = example["Digits"]()
        trainer = pl.Trainer(
            max_epochs=10,
            accelerator="cpu",
            devices=1,
            logger=False,
            callbacks=[Saves()],
            enable_checkpointing=False,
            enable_progress_bar=False,
        )
        trainer.fit(model, torch.utils.data.DataLoader(example["data"], batch_size=50), **options)
        return model

    pl.seed_everything(0)
    whole = fit()
    again = fit(ckpt_path="half.ckpt", weights_only=False)
    assert again.sparsifier.step_count == whole.sparsifier.step_count == 300
    assert again.sparsifier.update_count == 11
    assert same(again.sparsifier.masks, whole.sparsifier.masks)
    assert same(again.state_dict(), whole.state_dict())


def test_accelerate(printed):
    pytest.importorskip("accelerate")
    example = run("accelerate_loop")
    printed()
    example["accelerator"].load_state("digits/4")
    sparsifier = example["sparsifier"]
    assert sparsifier.step_count == 150
    assert not example["model"][0].weight[~sparsifier.masks["0.weight"]].any()


def test_the_trainer_and_that_it_resumes_from_its_own_checkpoint(printed):
    transformers = pytest.importorskip("transformers")
    example = run("hf_trainer")
    printed()
    trainer, first = example["trainer"], example["sparse"]
    whole, masks = trainer.model.state_dict(), first.sparsifier.state_dict()["masks"]
    resumed = type(first)(**first.options)
    torch.manual_seed(1)
    again = transformers.Trainer(
        example["Digits"](), trainer.args, train_dataset=example["data"], callbacks=[resumed]
    )
    again.train(resume_from_checkpoint="digits/checkpoint-270")
    assert resumed.sparsifier.step_count == first.sparsifier.step_count == 300
    assert resumed.sparsifier.update_count == 11
    assert same(resumed.sparsifier.masks, masks)
    assert same(again.model.state_dict(), whole)
