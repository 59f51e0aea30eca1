"""Training on several sources, and the study that compares a model with ERM on an unseen target."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from accelerate import PartialState
from rich.console import Console

from modeling_hfr_ame.errors import ConfigError
from modeling_hfr_ame.evaluation import evaluate_runs
from modeling_hfr_ame.training import main
from modeling_hfr_ame.training.arguments import DataArguments
from modeling_hfr_ame.training.assembly import provide_domains
from modeling_hfr_ame.training.domain_study import ERM, DomainStudy, run_domain_study, study_tables
from modeling_hfr_ame.training.run_record import read_json
from tests.data.test_domains import make_domain

TEXT = {
    "text_config.hidden_size": 16,
    "text_config.num_attention_heads": 2,
    "text_config.intermediate_size": 16,
    "text_config.num_hidden_layers": 1,
}
TINY = TEXT | {
    "hidden_size": 16,
    "num_attention_heads": 2,
    "ffn_size": 16,
    "adapter_size": 8,
    "num_adapter_heads": 2,
    "expert_ffn_size": 16,
}
TINY_LNLN = TEXT | {"hidden_size": 16, "num_tokens": 2, "num_attention_heads": 2, "head_size": 8, "ffn_size": 16}


@pytest.fixture
def folders(tmp_path: Path) -> tuple[str, str, str]:
    """Two sources, one of them with other labels, and a target."""
    made = [
        make_domain(tmp_path, "mosi"),
        make_domain(tmp_path, "sims", low=-1.0, high=1.0),
        make_domain(tmp_path, "mosei"),
    ]
    first, second, target = (str(domain.folder) for domain in made)
    return first, second, target


def words(out: Path, folders: tuple[str, str, str], *more: str, model: str, overrides: dict[str, Any]) -> list[str]:
    first, second, target = folders
    data = ["--sources", first, second, "--target", target, "--output_dir", str(out), "--model", model]
    loop = ["--global_batch_size", "8", "--num_train_epochs", "1", "--use_cpu", "--disable_tqdm", "true"]
    fields = [f"{key}={json.dumps(value)}" for key, value in overrides.items()]
    return [*data, *loop, "--seeds", "1", *more, "--config_overrides", *fields]


@pytest.mark.parametrize(("model", "overrides"), [("midg", TINY), ("lnln", TINY_LNLN)])
def test_any_model_trains_on_sources_and_records_the_setting(
    folders: tuple[str, str, str], tmp_path: Path, model: str, overrides: dict[str, Any]
) -> None:
    (summary,) = main(words(tmp_path / "runs", folders, model=model, overrides=overrides))
    record = summary.record
    assert record["dataset_name"] == "mosi_sims_to_mosei"
    assert record["num_rows"] == {"train": 10, "validation": 10}
    assert record["domains"]["selection"] == "source_valid"
    assert record["selection_rule"].endswith("on rows of the sources only")
    logged = (summary.folder / "trainer_log.jsonl").read_text(encoding="utf-8")
    # Two sources in the batches, which MIDG alone tells apart.
    assert ("loss_risk_variance" in logged) == (model == "midg")


def test_oracle_selection_is_called_cheating_in_record_and_tables(
    folders: tuple[str, str, str], tmp_path: Path
) -> None:
    (summary,) = main(words(tmp_path / "runs", folders, "--domain_selection", "oracle", model="midg", overrides=TINY))
    assert summary.record["selection_rule"].startswith("CHEATING")
    console = Console(file=StringIO(), width=200)
    evaluate_runs(summary.folder, protocols=("P0",), out=tmp_path / "results", console=console, device="cpu")
    printed, written = console.file.getvalue(), (tmp_path / "results" / "results.md").read_text(encoding="utf-8")  # type: ignore[attr-defined]
    for table in (printed, written):
        assert "mosi_sims_to_mosei_ORACLE_CHEATING" in table
        assert "CHEATING: the checkpoint is selected on labelled data of the target (oracle)" in table
        assert "source sims: labels [-1.0, 1.0] scaled to [-3, 3] by 3" in table
        assert "constant" in table


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sources": ["a"]}, "domain generalisation needs sources and a target, but found sources"),
        ({"target": "a"}, "domain generalisation needs sources and a target"),
        ({"sources": ["a"], "target": "b", "domain_setting": "mosi_to_sims"}, "names sources and target itself"),
        ({"domain_setting": "mosi_to_mosi"}, "a domain setting is one of"),
    ],
)
def test_setting_that_is_not_one_is_refused(fields: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        provide_domains(DataArguments(**fields), tmp_path, PartialState())


def test_benchmark_setting_is_found_below_its_root_and_kept_apart_from_others(
    folders: tuple[str, str, str], tmp_path: Path
) -> None:
    arguments = {"domain_setting": "mosi_sims_to_mosei", "domain_root": str(Path(folders[0]).parent)}
    folder = provide_domains(DataArguments(**arguments), tmp_path / "runs", PartialState())
    assert folder == provide_domains(DataArguments(**arguments), tmp_path / "runs", PartialState())
    assert provide_domains(DataArguments(), tmp_path, PartialState()) is None
    other = DataArguments(**arguments | {"domain_setting": "mosi_to_mosei"})
    with pytest.raises(ConfigError, match="holds 'mosi_sims_to_mosei' of other data or other modes"):
        provide_domains(other, tmp_path / "runs", PartialState())


@pytest.fixture
def study(folders: tuple[str, str, str]) -> DomainStudy:
    shared = {
        "sources": list(folders[:2]),
        "target": folders[2],
        "model": "midg",
        "modalities": "t",
        "freeze_text_encoder": True,
        "cache_text_states": True,
        "global_batch_size": 8,
        "num_train_epochs": 1,
        "use_cpu": True,
        "disable_tqdm": True,
        "config_overrides": TINY,
    }
    rates = [{"learning_rate": 1e-3}, {"learning_rate": 1e-2}]
    return DomainStudy(shared, {"midg": rates, ERM: rates}, (1, 2))


def test_study_gives_each_model_its_budget_and_scores_the_target_once(study: DomainStudy, tmp_path: Path) -> None:
    document = run_domain_study(study, tmp_path / "study")
    for name in ("midg", ERM):
        model = document["models"][name]
        assert len(model["validation_mae"]) == 2
        assert model["candidate"] == model["validation_mae"].index(min(model["validation_mae"]))
        runs = {path.parents[1].name for path in (tmp_path / "study").glob(f"{name}-*/seed-1/run.json")}
        assert runs == {f"{name}-0", f"{name}-1"}
        assert {path.parents[1].name for path in (tmp_path / "study").glob(f"{name}-*/seed-2/run.json")} == {
            f"{name}-{model['candidate']}"
        }
    erm = read_json(next((tmp_path / "study").glob("erm-0/seed-1/run.json")))
    assert erm is not None
    assert erm["variant"] == "erm"
    assert (
        document["models"][ERM]["num_parameters"]["trainable"]
        < document["models"]["midg"]["num_parameters"]["trainable"]
    )
    stored = tmp_path / "study" / "domain_study.json"
    before = stored.stat().st_mtime_ns
    assert run_domain_study(study, tmp_path / "study")["domains"] == document["domains"]
    assert stored.stat().st_mtime_ns == before


def test_study_tables_show_constant_and_erm_rows_scales_and_selection(study: DomainStudy, tmp_path: Path) -> None:
    text = study_tables(run_domain_study(study, tmp_path / "study"))
    for part in ("| erm |", "| constant mean |", "| constant median |", "midg − erm", "scaled to [-3, 3] by 3", "mae"):
        assert part in text
    assert "selection on validation rows of the sources only" in text
    assert (tmp_path / "study" / "domain_study.md").read_text(encoding="utf-8") == text


def test_study_without_erm_or_with_another_budget_is_refused() -> None:
    with pytest.raises(ConfigError, match="a study compares models with 'erm' on the same number"):
        DomainStudy({}, {"midg": [{}], "lnln": [{}]}, (1,))
    with pytest.raises(ConfigError, match=r"found \{'midg': 2, 'erm': 1\}"):
        DomainStudy({}, {"midg": [{}, {}], ERM: [{}]}, (1,))
    with pytest.raises(ConfigError, match="a study needs different seeds"):
        DomainStudy({}, {"midg": [{}], ERM: [{}]}, (1, 1))


def test_study_file_needs_its_keys_and_a_setting(
    study: DomainStudy, folders: tuple[str, str, str], tmp_path: Path
) -> None:
    path = tmp_path / "study.yaml"
    with pytest.raises(ConfigError, match="a study must be a YAML file"):
        DomainStudy.read(path)
    path.write_text("shared: {}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="a study has exactly the keys shared, models, seeds"):
        DomainStudy.read(path)
    plain = {key: value for key, value in study.shared.items() if key not in ("sources", "target")}
    models = {name: list(settings) for name, settings in study.candidates.items()}
    content = {"shared": plain | {"dataset": folders[0]}, "models": models, "seeds": [1, 2]}
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(ConfigError, match="a domain study needs sources and a target, found the ordinary dataset"):
        run_domain_study(DomainStudy.read(path), tmp_path / "study")
