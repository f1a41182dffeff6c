"""A received config.yaml runs no code: it names classes of its place alone, and reads no environment."""

import contextlib
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from mmrun import compose
from mmrun.cli import main
from mmrun.config import config_dir
from mmrun.errors import ConfigError
from mmrun.instantiate import find_target

# What was importable under the name of an mmrun module, or lies beside the classes of a place
TARGETS = [
    "os.system",
    "builtins.exec",
    "subprocess.Popen",
    "mmrun.models.encoders.timm.load_state_dict",
    "mmrun.models.encoders.timm.torch",
    "mmrun.models.encoders.hf.load_model",
    "mmrun.training.checkpoint.save_file",
    "mmrun.training.checkpoint.save",
    "mmrun.cli.main",
    "mmrun.cli.import_module",
    "mmrun.compose.import_module",
    "mmrun.instantiate.import_module",
    "mmrun.results.files.write_atomically",
    "mmrun.data.sources.manifest.read_sheet",
    "mmrun.data.sources.manifest._locate_file",
    "mmrun.search.trials.alone",
    "mmrun.run.callbacks.RunFolder",
    "mmrun.models.encoders.timm._check_file",
    "mmrun.models.fusions.presence.masked_mean",
    "torch.optim.lr_scheduler.LambdaLR",
    "torch.optim.swa_utils.AveragedModel",
    "torch.optim.Optimizer.load_state_dict",
    "torch.load",
    "pickle.loads",
    "mmrun.models.fusions.simple",
    "mmrun.models.fusions.simple.Concat.forward",
    "mmrun..models",
    "",
]
PLACES = [
    *("dataset", "fusion", "encoder.image", "encoder.image.preprocess", "optimizer", "balance", "augment", "sweep"),
    *("augment.image", "sweep.sampler", "callbacks.x", "strategy.adapt", "strategy.stages.train.objective"),
    *("strategy.stages.train.objective.task", "strategy.stages.train.optimizer", "fusion.align"),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("target", [*TARGETS, None, 5, ["os.system"], {"_target_": "os.system"}])
def test_no_place_accepts_another_function(place, target):
    with pytest.raises(ConfigError):
        find_target({"_target_": target}, place)


def find_nodes(value: object, key_path: str) -> Iterator[tuple[str, dict[str, object]]]:
    if isinstance(value, dict):
        if "_target_" in value:
            yield key_path, value
        for key, item in value.items():
            yield from find_nodes(item, f"{key_path}.{key}")


def test_every_class_of_every_yaml_file_fits_its_place():
    places = {"encoder": "encoder.x", "callbacks": "callbacks.x", "objective": "strategy.stages.x.objective"}
    places |= {"task": "tasks.x", "pretext": "strategy.stages.x.objective.pretext", "adapter": "strategy.adapt"}
    num_checked = 0
    for file in sorted(config_dir().rglob("*.yaml")):
        group = file.relative_to(config_dir()).parts[0]
        place = ".".join(file.relative_to(config_dir()).parts[:-1]) if group == "augment" else places.get(group, group)
        if group not in ("train.yaml", "experiment", "strategy", "trainer"):
            for key_path, node in find_nodes(yaml.safe_load(file.read_text()), place):
                find_target(node, key_path)
                num_checked += 1
    assert num_checked > 120


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A finished run of two steps, and beside its files a pickle that would leave a file behind."""
    monkeypatch.chdir(tmp_path)
    train = ["train", "dataset=synthetic", "dataset.num_rows=60", "budget.steps=2", "trainer.progress=false"]
    assert main([*train, "cache=cache"]) == 0
    (folder,) = (path.parent for path in Path("outputs").rglob("config.yaml"))
    (folder / "pwn.bin").write_bytes(pickle.dumps(Touch()))
    return folder


class Touch:
    """Writes a file when it is unpickled."""

    def __reduce__(self):
        return Path.touch, (Path("pwned"),)


def plant(folder: Path, key_path: str, value: object) -> None:
    config = yaml.safe_load((folder / "config.yaml").read_text())
    node, keys = config, key_path.split(".")
    for key in keys[:-1]:
        node = node.setdefault(key, {}) if node.get(key) is not None else node.__setitem__(key, {}) or node[key]
    node[keys[-1]] = value
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


HARM = {"_target_": "mmrun.models.encoders.timm.load_state_dict", "checkpoint_path": "pwn.bin", "weights_only": False}
PLANTED = [
    *("fusion", "encoder.a", "encoder.a.preprocess", "dataset", "optimizer", "balance", "augment", "callbacks.x"),
    *("strategy.adapt", "strategy.stages.train.objective", "strategy.stages.train.optimizer"),
]


def test_a_received_run_runs_no_code(run, tmp_path, capsys):
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    verbs = (["eval"], ["resume"], ["verify"], ["predict", "rows.csv"])
    harm = {**HARM, "checkpoint_path": str(run / "pwn.bin")}
    original = (run / "config.yaml").read_text()
    damage = {**dict.fromkeys(PLANTED, harm), "encoder.b": {}}
    for key_path, node in damage.items():
        (run / "config.yaml").write_text(original)
        plant(run, key_path, node)
        for verb, *arguments in verbs:
            code = main([verb, str(run), *arguments])
            assert len(capsys.readouterr().err.strip().splitlines()) <= 3
            assert code in (0, 1, 2)  # 0 where the verb builds no such part
            assert not (tmp_path / "pwned").exists()


def test_a_received_config_reads_no_environment(run, capsys, monkeypatch):
    monkeypatch.setenv("TOKEN", "hf_secret")
    plant(run, "experiment", "${oc.env:TOKEN}")
    assert main(["eval", str(run)]) == 2
    err = capsys.readouterr().err
    assert "hf_secret" not in err
    assert err.startswith("mmrun: experiment: '${oc.env:TOKEN}' is not a resolved value; write the value itself in")


def test_a_launcher_is_one_of_hydra(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    train = ["train", "-m", "dataset=synthetic", "budget.steps=1", "seed=0,1", "cache=cache"]
    with contextlib.suppress(RuntimeError):  # of Hydra
        assert main([*train, "hydra.launcher._target_=os.mkdir", "+hydra.launcher.path=pwned"]) != 0
    assert not (tmp_path / "pwned").exists()
    assert not list(tmp_path.rglob("metrics.json"))


def test_an_interpolation_in_a_stored_list_is_refused():
    with pytest.raises(ConfigError, match="is not a resolved value"):
        compose.restore({"modalities": ["a", "${oc.env:HOME}"]})
