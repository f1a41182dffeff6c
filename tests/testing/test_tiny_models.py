from pathlib import Path

import pytest
from safetensors.torch import load_file

from mmrun.testing.tiny_models import SAVE, save_tiny_model


@pytest.mark.parametrize("name", SAVE)
def test_a_tiny_model_is_the_same_each_time_and_holds_no_pickle(name: str, tmp_path: Path) -> None:
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        save_tiny_model(name, folder)
    assert {file.suffix for file in folders[0].iterdir()} == {".json", ".safetensors"}
    first, second = (load_file(folder / "model.safetensors") for folder in folders)
    assert all(first[key].equal(second[key]) for key in first)
