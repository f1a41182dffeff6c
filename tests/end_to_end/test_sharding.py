"""A model cut over processes: what comes out is as if it had been whole."""

import pytest
import torch.distributed as dist
from safetensors.torch import load_file
from torch import nn

from mmrun.training.sharded import blocks
from tests.end_to_end.conftest import metrics, weights
from tests.end_to_end.test_processes import stopped_at, torchrun

WORDS = [
    *(
        "modalities=[text]",
        "encoder.text=transformer",
        "encoder.text.dropout=0",
        "strategy.stages.train.max_grad_norm=0.1",
    ),
    *("budget.steps=24", "trainer.batch_size=32", "trainer.eval_batch_size=26", "trainer.device=cpu"),
    *("trainer.save_every=0", "trainer.evaluate_every=100"),
]
SHARD = "trainer.fsdp=true"


@pytest.fixture
def alone():
    """One process shares with nobody; the group it made of itself ends with the test."""
    yield
    if dist.is_initialized():
        dist.destroy_process_group()


def test_shares_then_the_whole_then_shares_again_are_as_one_whole_run(shell, fork_server, tmp_path):
    """Two processes begin, one goes on with what they left, two end it: each is stopped on its way."""
    cut = [*torchrun(29581), "train", *WORDS, SHARD]
    for command, step in ((cut, 3), (["-m", "mmrun", "train", *WORDS], 6)):
        process = fork_server.start(*command, cwd=tmp_path)
        assert stopped_at(process, tmp_path, step), "the run ended before it was stopped"
    done = fork_server.run(*cut, cwd=tmp_path)
    if "exitcode: -11" in done.stderr:  # seen once: torch itself crashed, gathering over gloo; a crash is one more stop
        done = fork_server.run(*cut, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("train: resumes after step") == 1  # one process speaks
    assert shell("train", *WORDS, "outputs=whole")[0] == 0
    found, whole = next(tmp_path.glob("outputs/*/*")), next(tmp_path.glob("whole/*/*"))
    left, right = (load_file(run / "checkpoints/train/last/model.safetensors") for run in (found, whole))
    assert list(left) == list(right)
    # Sums over processes have another order, and load decides at which steps the runs take over from each other.
    assert all(left[name].allclose(right[name], atol=5e-5) for name in left)
    assert metrics(found)["metrics"]["test"]["accuracy"] == metrics(whole)["metrics"]["test"]["accuracy"]
    costs = [metrics(run)["cost"]["stages"]["train"] for run in (found, whole)]
    for figure in ("samples", "flops", "objective", "trainable_parameters", "total_parameters"):
        assert costs[1][figure] == costs[0][figure]


HALVES = """
from accelerate import Accelerator
from torch import nn
from mmrun.models.encoders.text import Transformer
from mmrun.models.multimodal import Multimodal
from mmrun.training.sharded import Sharded

model = Multimodal({"words": Transformer(60, 12, 0, dim=16, num_heads=2)}, nn.Linear(16, 16), {})
sharded = Sharded(Accelerator(cpu=True))
sharded.place_model(model)
own = sum(parameter.to_local().numel() for parameter in model.parameters())
share = own / sum(parameter.numel() for parameter in model.parameters())
open(f"share{sharded.mesh.get_rank()}", "w").write(str(share))
"""


def test_each_process_holds_half_of_the_parameters(fork_server, tmp_path):
    (tmp_path / "halves.py").write_text(HALVES)
    assert fork_server.run(*torchrun(29582)[:-2], "halves.py", cwd=tmp_path).returncode == 0
    shares = [float((tmp_path / f"share{rank}").read_text()) for rank in range(2)]
    assert shares == pytest.approx([0.5, 0.5], abs=0.01)


@pytest.mark.parametrize(
    "words",
    [
        ["strategy=component"],
        ["strategy=contrastive_then_finetune", "trainer.precision=bf16"],
        ["strategy=lora", "encoder.text=transformer", "strategy.stages.train.grad_accum_steps=2"],
    ],
    ids=lambda words: words[0],
)
def test_one_process_alone_gives_the_same_bits(shell, alone, words):
    """Also where it finds a stage that an earlier run trained."""
    words = [*words, "trainer.cache_features=false", "trainer.device=cpu"]
    plain, cut = shell.train(*words, "outputs=plain"), shell.train(*words, SHARD, "outputs=cut")
    assert weights(cut) == weights(plain)
    assert weights(shell.train(*words, SHARD, "outputs=again")) == weights(plain)
    assert metrics(cut)["metrics"] == metrics(plain)["metrics"]


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("trainer.batch_size=auto", "trainer.batch_size=auto"),
        ("trainer.compile=auto", "trainer.compile"),
        ("trainer.precision=fp16", "trainer.precision=fp16"),
        ("trainer.channels_last=true", "trainer.channels_last=true"),
        ("trainer.log_modality_gradients=true", "trainer.log_modality_gradients"),
        ("balance=pcgrad", "balance"),
        ("strategy=averaged", "strategy.stages.train.ema_decay"),
    ],
)
def test_what_needs_whole_parameters_is_refused(shell, word, told):
    code, _, err = shell("train", SHARD, word)
    assert code == 2
    assert err == f"mmrun: trainer.fsdp: cannot be combined with {told}; drop one of them\n"


def test_a_teacher_is_refused(shell):
    code, _, err = shell("train", SHARD, "strategy=pseudo_label", "dataset.labelled=0.5", "modalities=[text]")
    assert code == 2
    assert err == (
        "mmrun: strategy.stages.pseudo_label.objective: PseudoLabel holds a copy of a model as its teacher, which "
        "trainer.fsdp does not shard; drop one of the two\n"
    )


def test_blocks_are_the_outermost_parts_that_stand_in_line():
    inner, last = nn.Sequential(nn.Linear(2, 2), nn.ReLU()), nn.Linear(2, 2)
    wrapped = nn.ModuleDict({"net": nn.ModuleDict({"layers": nn.ModuleList([inner, nn.ModuleDict({"a": last})])})})
    assert list(blocks(wrapped)) == [*inner, wrapped["net"]["layers"][1]]
