"""Numbers of the published systems, and the tool that compares a model with them."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel

from modeling_hfr_ame import DataError
from modeling_hfr_ame.cli import main
from modeling_hfr_ame.evaluation.parity import check_parity, parity_lines, read_weights
from modeling_hfr_ame.evaluation.reference_systems import find_reference_system

pytestmark = pytest.mark.filterwarnings("ignore:.*attention implementation.*")


@pytest.fixture
def golden(shared_data: Path) -> Path:
    folder = shared_data / "golden"
    if not folder.is_dir():
        pytest.skip("no golden values")
    return folder


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["cyin", "dashfusion", "hme", "lnln", "mmslf_teacher", "mmslf_student"])
def test_reference_variant_gives_every_golden_number(golden: Path, name: str) -> None:
    report = check_parity(golden / name)
    assert report.passed, "\n".join(parity_lines(report, brief=True))
    assert len(report.omitted) <= 3


@pytest.fixture
def copied_lnln(golden: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(golden / "lnln", tmp_path / "lnln"))


def _change(folder: Path, file: str, name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    tensors = load_file(folder / file)
    tensors[name] = change(tensors[name].clone())
    save_file(tensors, folder / file)


@pytest.mark.real_data
def test_parity_with_one_changed_weight_fails(copied_lnln: Path) -> None:
    _change(copied_lnln, "params.safetensors", "dmml.3.weight", lambda weight: weight * 1.01)
    report = check_parity(copied_lnln)
    failed = {item.name for item in report.comparisons if not item.passed}
    assert {"out.sentiment_preds", "loss.l_sp"} <= failed
    # What lies before the changed weight is as it was.
    assert "out.fusion_mean" not in failed


@pytest.mark.real_data
def test_parity_with_one_changed_gradient_norm_fails(copied_lnln: Path) -> None:
    path = copied_lnln / "grads.json"
    norms = json.loads(path.read_text())
    norms["dmml.3.weight"]["l2"] *= 1.002
    path.write_text(json.dumps(norms))
    report = check_parity(copied_lnln)
    assert [item.name for item in report.comparisons if not item.passed] == ["grad.dmml.3.weight"]


@pytest.mark.real_data
def test_parity_lines_state_the_error_of_every_tensor_and_gradient(copied_lnln: Path) -> None:
    _change(copied_lnln, "params.safetensors", "dmml.3.weight", lambda weight: weight * 1.01)
    report = check_parity(copied_lnln)
    lines = parity_lines(report)
    for item in report.comparisons:
        line = next(line for line in lines if line.split()[0] == item.name)
        assert line.split()[1:] == [f"{item.error:.2e}", "ok" if item.passed else "FAILED"]
    brief = parity_lines(report, brief=True)
    assert not any(line.endswith(" ok") for line in brief)
    assert sum(line.endswith(" FAILED") for line in brief) == sum(not item.passed for item in report.comparisons) > 0
    assert brief[-1] == lines[-1] == f"LNLN: {len(report.comparisons)} compared, {len(brief) - 3} failed, 0 omitted"


@pytest.mark.real_data
def test_parity_command_with_a_value_the_model_lacks_exits_with_1(
    copied_lnln: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tensors = load_file(copied_lnln / "io.safetensors")
    save_file(tensors | {"out.unheard_of": torch.zeros(2)}, copied_lnln / "io.safetensors")
    with pytest.raises(SystemExit) as stop:
        main(["parity", str(copied_lnln)])
    assert stop.value.code == 1
    assert "out.unheard_of  MISSING" in capsys.readouterr().out


@pytest.mark.real_data
def test_lnln_of_other_sizes_is_built_from_its_own_config(golden: Path) -> None:
    system = find_reference_system("LNLN")
    settings = json.loads((golden / "lnln" / "config.json").read_text())
    reference = load_file(golden / "lnln" / "params.safetensors")
    model = settings["reference_config"]["model"]
    model["feature_extractor"] |= {"input_length": [10, 21, 9], "hidden_dims": [40, 48, 56], "heads": 3}
    model["dmc"]["proxy_dominant_feature_generator"] |= {"depth": 2, "hidden_dim": 20}
    model["dmml"]["hyper_modality_learning"] |= {"depth": 1, "heads": 8}
    config = system.config_of(settings, reference)
    assert [config.length_limit(name) for name in ("text", "audio", "vision")] == [10, 9, 21]
    assert [config.block_size(name, "ffn_size") for name in ("text", "audio", "vision")] == [40, 56, 48]
    assert config.block_size("proxy", "num_layers") == 2
    assert config.num_hyper_layers == 1
    own = system.model_class(config).state_dict()
    # The reference's weights have the sizes of the unchanged configuration.
    with pytest.raises(DataError, match=r"dmml\.1\.layers\.1\.0.*which the model lacks|must hold the values of"):
        system.build(settings, reference)
    assert own["proxy_generator.layers.1.ffn_in.weight"].shape == (20, 128)


def _change_config(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / "config.json"
    settings = json.loads(path.read_text())
    change(settings)
    path.write_text(json.dumps(settings))


def _failed(folder: Path) -> set[str]:
    report = check_parity(folder)
    assert report.unexplained == []
    return {item.name for item in report.comparisons if not item.passed}


@pytest.mark.real_data
def test_lnln_with_longer_tables_than_it_reads_gives_the_same_numbers(copied_lnln: Path) -> None:
    def longer(settings: dict[str, Any]) -> None:
        model = settings["reference_config"]["model"]
        model["dmc"]["proxy_dominant_feature_generator"]["input_length"] += 5
        model["dmml"]["language_encoder"]["input_length"] += 5
        model["dmml"]["fuison_transformer"]["source_length"] += 5

    _change_config(copied_lnln, longer)
    for name in ("proxy_dominate_modality_generator.pos_embedding", "dmml.0.pos_embedding", "dmml.2.pos_embedding_s"):
        _change(copied_lnln, "params.safetensors", name, lambda table: torch.cat([table, table[:, :5] + 1], dim=1))
    assert _failed(copied_lnln) == set()


@pytest.mark.real_data
@pytest.mark.parametrize("key", ["alpha", "beta", "gamma"])
def test_lnln_with_a_loss_weight_of_zero_still_gives_every_term(copied_lnln: Path, key: str) -> None:
    _change_config(copied_lnln, lambda settings: settings["reference_config"]["base"].update({key: 0.0}))
    failed = {name for name in _failed(copied_lnln) if not name.startswith("grad.")}
    # The weights decide on the sum and on what its optimiser step does, and on nothing else.
    assert "loss.loss" in failed
    assert failed <= {"loss.loss", "loss.after_adamw_step", "out.after_adamw_step.sentiment_preds"}


@pytest.mark.real_data
def test_cyin_row_without_modality_gives_what_the_complete_row_gave(golden: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(golden / "cyin", tmp_path / "cyin"))
    mask = load_file(folder / "io.safetensors")["in.modality_mask"]
    complete = mask.bool().all(-1)
    assert complete.any()
    # The reference falls through to the real inputs of such a row.
    _change(folder, "io.safetensors", "in.modality_mask", lambda mask: mask * ~complete.unsqueeze(-1))
    assert _failed(folder) == set()


@pytest.mark.real_data
def test_cyin_memories_have_the_layers_of_the_weights(golden: Path) -> None:
    settings = json.loads((golden / "cyin" / "config.json").read_text())
    settings["hyperparameters"]["memory_layers"] = 1
    reference = load_file(golden / "cyin" / "params.safetensors")
    assert find_reference_system("CyIN").config_of(settings, reference).num_memory_layers == 3


@pytest.mark.real_data
def test_hme_row_without_modality_is_encoded_as_three_removed_ones(golden: Path) -> None:
    system = find_reference_system("HME")
    settings = json.loads((golden / "hme" / "config.json").read_text())
    stored = load_file(golden / "hme" / "io.safetensors")
    inputs = {name.removeprefix("in."): value for name, value in stored.items() if name.startswith("in.")}
    mask = inputs["modality_mask"]
    assert mask[0].all()
    inputs["modality_mask"] = torch.cat([torch.zeros_like(mask[:1]), mask[1:]])
    reference = {name: value.float() for name, value in load_file(golden / "hme" / "params.safetensors").items()}
    found = system.replay(system.build(settings, reference), inputs, settings).outputs
    for column, letter in enumerate("lav"):
        removed = int((mask[:, column] == 0).nonzero()[0])
        encoded = found[f"out.encoded_{letter}"]
        torch.testing.assert_close(encoded[0], encoded[removed], atol=1e-5, rtol=1e-5)


@pytest.mark.real_data
def test_parity_of_a_folder_that_lacks_an_input_raises(copied_lnln: Path) -> None:
    tensors = load_file(copied_lnln / "io.safetensors")
    del tensors["in.audio_m"]
    save_file(tensors, copied_lnln / "io.safetensors")
    with pytest.raises(DataError, match=r"must hold what LNLN needs; found no 'audio_m' in lnln"):
        check_parity(copied_lnln)


@pytest.mark.real_data
@pytest.mark.parametrize("variant", ["reference", "repaired"])
def test_checkpoint_of_torch_save_becomes_a_saved_model(golden: Path, tmp_path: Path, variant: str) -> None:
    system = find_reference_system("LNLN")
    settings = json.loads((golden / "lnln" / "config.json").read_text())
    reference = load_file(golden / "lnln" / "params.safetensors")
    torch.save({"state_dict": reference}, tmp_path / "best.pth")
    config = system.config_of(settings, reference)
    config.variant = variant
    model = AutoModel.from_config(config)
    model.load_state_dict(system.convert(read_weights(tmp_path / "best.pth"), model))
    model.save_pretrained(tmp_path / "imported")
    loaded = AutoModel.from_pretrained(tmp_path / "imported").state_dict()
    assert torch.equal(loaded["head.weight"], reference["dmml.3.weight"].float())
    assert all(torch.equal(loaded[name], value) for name, value in model.state_dict().items())


def test_reference_system_of_unknown_name_raises() -> None:
    with pytest.raises(DataError, match=r"the model must be one of .*LNLN.*; found 'bert'"):
        find_reference_system("bert")


def test_parity_of_a_folder_without_files_raises(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=re.escape("a golden folder needs a readable config.json")):
        check_parity(tmp_path)


def test_weights_of_torch_save_are_read_without_running_code(tmp_path: Path) -> None:
    weights = {"module.a": torch.randn(2, 3), "module.b": torch.arange(3)}
    torch.save({"state_dict": weights}, tmp_path / "best.pth")
    found = read_weights(tmp_path / "best.pth")
    assert sorted(found) == ["a", "b"]
    assert torch.equal(found["a"], weights["module.a"])
    assert torch.equal(found["b"], weights["module.b"])
