"""The engine on a GPU against a compiled loop written by hand: bf16, two models, samples/s, ours over theirs.

    scripts/bench gpu [--model vit_bert|resnet_gru_cnn] [--batch-size 256] [--steps 20] [--rounds 7]

vit_bert: ViT-B/16 at 224 px and BERT-base on 64 tokens; resnet_gru_cnn: ResNet-50, a GRU and a log-mel CNN. Weights are
random, the data are digits. The loop by hand holds all rows on the GPU. Both are compiled, and alternate in blocks of
steps within one process. The exit code is 1 if a goal is missed. Without a GPU nothing is measured; --tiny tries the
same on a CPU with small models, uncompiled and without goals.
"""

import argparse
import copy
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from _training import open_run, train_steps
from transformers import BertConfig

from mmrun import compose
from mmrun.run.build_stage import build_stage, compile_stage
from mmrun.run.session import Session
from mmrun.training import cost, throughput
from mmrun.training.built_stage import BuiltStage
from mmrun.training.callback import NullCallback
from mmrun.training.state import TrainState
from mmrun.types import Batch

MIN_RATIO = 0.95  # samples/s, of the engine over the loop by hand
MIN_MFU = {"vit_bert": 0.45}  # share of the peak FLOP/s of the device, by model
MAX_DATA_WAIT = 0.02  # share of the time


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=["vit_bert", "resnet_gru_cnn"], help="default: both")
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--steps", type=int, help="of a block")
    parser.add_argument("--rounds", type=int, help="pairs of blocks")
    parser.add_argument("--tiny", action="store_true", help="small models, also without a GPU, uncompiled there")
    args = parser.parse_args()
    if not torch.cuda.is_available() and not args.tiny:
        print("no GPU: nothing is measured (--tiny tries the same on a CPU)")
        return 0
    defaults = (
        {"batch_size": 8, "steps": 2, "rounds": 2} if args.tiny else {"batch_size": 256, "steps": 20, "rounds": 7}
    )
    size = {key: value if getattr(args, key) is None else getattr(args, key) for key, value in defaults.items()}
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    print(f"{device}, torch {torch.__version__}, bf16, batch {size['batch_size']}")
    missed = []
    with tempfile.TemporaryDirectory() as scratch:
        for name, overrides in model_overrides(Path(scratch), args.tiny).items():
            if args.model in (None, name):
                missed += measure(name, overrides, Path(scratch), **size)
    if args.tiny:
        return 0
    for goal in missed:
        print(f"missed: {goal}")
    return 1 if missed else 0


def model_overrides(scratch: Path, tiny: bool) -> dict[str, list[str]]:
    """Return the overrides of each model."""
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    BertConfig(**(shape if tiny else {})).save_pretrained(scratch / "bert")
    pixels = 32 if tiny else 224
    bert = [
        f"encoder.text.model={scratch}/bert",
        "encoder.text.pretrained=false",
        "encoder.text.preprocess.tokenizer=null",
    ]
    vit = f"encoder.image.model=vit_{'tiny' if tiny else 'base'}_patch16_224"
    image = [f"encoder.image.preprocess.size={pixels}", "encoder.image.pretrained=false"]
    vit_bert = ["modalities=[image,text]", "encoder.image=timm", vit, *image, "encoder.text=hf", *bert]
    resnet = ["encoder.image=resnet18" if tiny else "encoder.image=resnet50", *image]
    return {"vit_bert": vit_bert, "resnet_gru_cnn": [*resnet, "encoder.text=gru", "encoder.audio=logmel_cnn"]}


@dataclass
class Block:
    """What some steps took."""

    seconds: float  # a step
    waited: float = 0.0  # share of the time, for data


def measure(name: str, overrides: list[str], scratch: Path, batch_size: int, steps: int, rounds: int) -> list[str]:
    """Print the speed of both sides, and return the goals that are missed."""
    run = ["fusion=concat", "encoder.text.preprocess.max_tokens=64", f"trainer.batch_size={batch_size}"]
    run += ["trainer.precision=bf16", "trainer.compile=auto", "trainer.save_every=1e9", "trainer.deterministic=false"]
    config = compose.load([*overrides, *run, f"cache={scratch}"])
    session = open_run(config, scratch / name, Messages())
    device = session.accelerator.device
    model = copy.deepcopy(session.model)
    (stage,) = session.stages.values()
    built, state = build_stage(session, stage), TrainState()
    compile_stage(session, built, state)
    peak = throughput.device_peak_flops(device, "bf16", True)
    by_hand = ByHand(model, built, batch_size)
    ours, theirs = [], []
    for _ in range(rounds + 1):  # the first warms up
        ours.append(block(lambda: engine_steps(session, built, state, steps), steps, device))
        theirs.append(block(lambda: by_hand.steps(steps), steps, device))
    ours, theirs = ours[1:], theirs[1:]
    ratio = statistics.median(b.seconds / a.seconds for a, b in zip(ours, theirs, strict=True))
    print(f"{name}: ratio {ratio:.3f} ({cost.count_parameters(model.parameters()):,} parameters)")
    for side, blocks in (("engine", ours), ("by hand", theirs)):
        seconds = statistics.median(b.seconds for b in blocks)
        rate = built.flops_per_step / seconds
        share = "" if peak is None else f", {rate / peak:.1%} of the peak"
        waited = f", data wait {statistics.median(b.waited for b in blocks):.1%}" if side == "engine" else ""
        print(
            f"  {side:8} {1000 * seconds:8.1f} ms a step  {batch_size / seconds:8.0f} samples/s  "
            f"{rate / 1e12:.3g} TFLOP/s{share}{waited}"
        )
    print(f"  both together held {cost.peak_memory(device) / 2**30:.1f} GiB at most", flush=True)
    mfu = None if peak is None else built.flops_per_step / statistics.median(block.seconds for block in ours) / peak
    return missed_goals(name, ratio, mfu, statistics.median(block.waited for block in ours))


def missed_goals(name: str, ratio: float, mfu: float | None, data_wait: float) -> list[str]:
    missed = []
    if ratio < MIN_RATIO:
        missed.append(f"{name}: ratio {ratio:.3f} < {MIN_RATIO}")
    if mfu is not None and mfu < MIN_MFU.get(name, 0.0):
        missed.append(f"{name}: {mfu:.1%} of the peak < {MIN_MFU[name]:.0%}")
    if data_wait > MAX_DATA_WAIT:
        missed.append(f"{name}: data wait {data_wait:.1%} > {MAX_DATA_WAIT:.0%}")
    return missed


def block(run: Callable[[], float], steps: int, device: torch.device) -> Block:
    wait(device)
    began = time.perf_counter()
    waited = run()
    wait(device)
    seconds = time.perf_counter() - began
    return Block(seconds / steps, waited / seconds)


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class Messages(NullCallback):
    """Prints messages: above all that the engine could not compile."""

    def on_message(self, text: str) -> None:
        print(f"  {text}")


def engine_steps(session: Session, built: BuiltStage, state: TrainState, steps: int) -> float:
    """Train a block of steps, and return the seconds that were spent waiting for data."""
    meter = throughput.ThroughputMeter(built.batches, built.device, None, state, built.batch_size, built.flops_per_step)
    train_steps(session, built, state, steps, batches=meter)
    return meter.data_wait


class ByHand:
    """What one writes by hand for speed alone: all rows on the device, one compiled model, no bookkeeping."""

    def __init__(self, model, built: BuiltStage, batch_size: int) -> None:
        loader = built.batches
        self.device, self.batch_size = loader.device, batch_size
        self.columns = {
            name: {part: tensor.to(self.device) for part, tensor in column.parts.items()}
            for name, column in loader.columns.items()
        }
        self.labels = loader.targets["label"].to(self.device)
        self.rows = torch.from_numpy(loader.rows).to(self.device)
        self.present = {name: torch.ones(batch_size, dtype=torch.bool, device=self.device) for name in self.columns}
        self.model = model.train()
        self.call = torch.compile(model) if self.device.type == "cuda" else model
        learned = [parameter for name, parameter in model.named_parameters() if not name.startswith("probe.")]
        self.optimizer = torch.optim.AdamW(learned, lr=1e-3, fused=True)

    def steps(self, number: int) -> float:
        for _ in range(number):
            rows = self.rows[torch.randint(len(self.rows), (self.batch_size,), device=self.device)]
            inputs = {name: ready({part: t[rows] for part, t in parts.items()}) for name, parts in self.columns.items()}
            with torch.autocast(self.device.type, torch.bfloat16):
                output = self.call(Batch(inputs, self.present, {}, rows))["label"]
                loss = torch.nn.functional.cross_entropy(output, self.labels[rows])
            loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
        return 0.0


def ready(parts: dict[str, torch.Tensor]):
    made = {part: levels(tensor) for part, tensor in parts.items()}
    return made[""] if list(made) == [""] else made


def levels(tensor: torch.Tensor) -> torch.Tensor:
    scale = {torch.uint8: 255.0, torch.int16: 32768.0}.get(tensor.dtype)
    if scale is not None:
        return tensor.float() / scale
    return tensor.long() if tensor.dtype == torch.int32 else tensor


if __name__ == "__main__":
    sys.exit(main())
