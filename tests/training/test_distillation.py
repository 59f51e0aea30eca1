"""MMSLF in training: hints from a store, a teacher, and a student that learns from it."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from modeling_hfr_ame import ConfigError, DataError, MmslfForSentiment
from modeling_hfr_ame.evaluation import evaluate_runs
from modeling_hfr_ame.prompts import generate_prompts
from modeling_hfr_ame.prompts.template_generator import TemplateGenerator
from modeling_hfr_ame.training import main, train_teacher_and_student
from modeling_hfr_ame.training.distillation import TeacherGuidance
from tests.training.tiny_run import tiny_run_words

TINY_MMSLF = [
    "hidden_size=16",
    "head_size=8",
    "num_aligner_layers=1",
    "num_aligner_heads=2",
    "aligner_ffn_size=16",
    "num_fusion_layers=1",
    "num_attention_heads=2",
    "fusion_ffn_size=16",
    "num_prompt_layers=1",
    "num_prompt_heads=2",
    "prompt_ffn_size=16",
    "text_config.hidden_size=16",
    "text_config.num_attention_heads=2",
    "text_config.intermediate_size=32",
    "text_config.num_hidden_layers=1",
]


def _words(talkers: Path, out: Path, *more: str, overrides: tuple[str, ...] = ()) -> list[str]:
    words = tiny_run_words(talkers, out, "--seeds", "1", *more)
    return [*words[: words.index("--config_overrides") + 1], *TINY_MMSLF, *overrides]


def _train(talkers: Path, out: Path, variant: str, *more: str, overrides: tuple[str, ...] = ()) -> Path:
    main(_words(talkers, out, "--model", "mmslf", "--variant", variant, *more, overrides=overrides))
    return out / "seed-1"


@pytest.fixture(scope="module")
def prompts(talkers: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prompt store for the talkers."""
    folder = tmp_path_factory.mktemp("prompts")
    generate_prompts(talkers, folder, TemplateGenerator())
    return folder


@pytest.fixture(scope="module")
def pair(talkers: Path, prompts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher and its student, trained with one command."""
    out = tmp_path_factory.mktemp("pair")
    summaries = train_teacher_and_student(_words(talkers, out, "--prompts", str(prompts)))
    assert {role: [run.status for run in runs] for role, runs in summaries.items()} == {
        "teacher": ["trained"],
        "student": ["trained"],
    }
    return out


def _record(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "run.json").read_text(encoding="utf-8")))


def test_one_command_trains_a_teacher_and_then_its_student(pair: Path) -> None:
    teacher, student = pair / "teacher" / "seed-1", pair / "student" / "seed-1"
    assert _record(teacher)["variant"] == "teacher"
    assert _record(teacher)["prompts"]["label_policy"] == "labels not shown"
    assert _record(teacher)["prompts"]["coverage"]["train"] == {"rows": 26, "answered": 26}
    told = _record(student)["teacher"]
    assert (told["seed"], told["prompts"]) == (1, _record(teacher)["prompts"])
    log = [json.loads(line) for line in (student / "trainer_log.jsonl").read_text().splitlines()]
    assert all(entry["loss_map"] > 0 and entry["loss_tokens"] > 0 for entry in log if "loss_task" in entry)
    assert list((pair / "student" / "prompt_states").iterdir()) != []


def test_student_is_saved_without_its_teacher_and_predicts_without_hints(pair: Path) -> None:
    folder = pair / "student" / "seed-1"
    weights = load_file(folder / "model.safetensors")
    assert not [name for name in weights if "prompt" in name or "teacher" in name]
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    assert isinstance(model, MmslfForSentiment)
    assert model.config.role == "student"


def test_teacher_is_left_as_it_was_and_gives_the_same_targets_each_time(
    talkers: Path, pair: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = pair / "teacher" / "seed-1" / "model.safetensors"
    before = load_file(file)
    seen: list[TeacherGuidance] = []
    given: list[dict[str, torch.Tensor]] = []
    call = TeacherGuidance.__call__

    def watched(self: TeacherGuidance, batch: dict[str, Any]) -> dict[str, Any]:
        assert "prompt_states" in batch
        assert not self.model.training
        guided = call(self, batch)
        assert not [name for name in guided if name.startswith("prompt")]
        assert not any(value.requires_grad for value in guided["teacher"].values())
        again = call(self, batch)["teacher"]
        assert all(torch.equal(value, again[name]) for name, value in guided["teacher"].items())
        seen.append(self)
        given.append(guided["teacher"])
        return guided

    monkeypatch.setattr(TeacherGuidance, "__call__", watched)
    _train(talkers, tmp_path, "student", "--teacher", str(pair / "teacher"))
    assert len(given) == 6  # two epochs of three batches
    now = seen[-1].model.state_dict()
    assert all(torch.equal(value, now[name].cpu()) for name, value in before.items())
    assert not any(parameter.requires_grad for parameter in seen[-1].model.parameters())


@pytest.mark.slow
def test_interrupted_student_goes_on_to_the_same_weights(
    talkers: Path, pair: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = ("--teacher", str(pair / "teacher"), "--num_train_epochs", "3")
    whole = _train(talkers, tmp_path / "whole", "student", *more)
    call, count = TeacherGuidance.__call__, [0]

    def stop(self: TeacherGuidance, batch: dict[str, Any]) -> dict[str, Any]:
        count[0] += 1
        if count[0] == 8:
            raise KeyboardInterrupt
        return call(self, batch)

    with monkeypatch.context() as patched:
        patched.setattr(TeacherGuidance, "__call__", stop)
        with pytest.raises(KeyboardInterrupt):
            _train(talkers, tmp_path / "resumed", "student", *more)
    resumed = _train(talkers, tmp_path / "resumed", "student", *more)
    assert _record(resumed)["resumed"]
    expected, found = (load_file(folder / "model.safetensors") for folder in (whole, resumed))
    assert all(torch.equal(value, found[name]) for name, value in expected.items())


def test_evaluation_of_a_teacher_reads_its_hints_again(pair: Path, tmp_path: Path) -> None:
    document = evaluate_runs(pair / "teacher", split="validation", protocols=("P0",), out=tmp_path)
    name = next(iter(document["models"]))
    mae = document["models"][name]["protocols"]["P0"]["recipes"]["clean"]["metrics"]["mae"]["mean"]
    selected = _record(pair / "teacher" / "seed-1")["selected_validation"]["eval_mae"]
    assert mae == pytest.approx(selected, abs=1e-4)


def test_evaluation_of_a_teacher_without_a_store_raises(pair: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(pair / "teacher" / "seed-1", tmp_path / "seed-1"))
    record = _record(copied)
    del record["prompts"]["folder"]
    (copied / "run.json").write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"reads hints, but neither its record nor the call names a prompt store"):
        evaluate_runs(copied, split="validation", protocols=("P0",), out=tmp_path / "out")


def test_store_with_too_few_hints_is_refused_unless_less_is_asked_for(
    talkers: Path, prompts: Path, tmp_path: Path
) -> None:
    thinned = Path(shutil.copytree(prompts, tmp_path / "prompts"))
    (file,) = thinned.glob("*.jsonl")
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    file.write_text("".join(lines[:-20]), encoding="utf-8")
    with pytest.raises(DataError, match=r"each split needs hints for at least 100% of its samples"):
        _train(talkers, tmp_path / "refused", "teacher", "--prompts", str(thinned))
    words = ("--prompts", str(thinned), "--min_prompt_coverage", "0")
    folder = _train(talkers, tmp_path / "some", "teacher", *words)
    coverage = _record(folder)["prompts"]["coverage"]
    assert 0 < sum(found["answered"] for found in coverage.values()) < 34
    # A student of that teacher falls back to the empty hint in the same rows.
    _train(talkers, tmp_path / "student", "student", "--teacher", str(folder))


def test_store_whose_training_rows_saw_a_label_says_so_in_the_record(talkers: Path, tmp_path: Path) -> None:
    generate_prompts(talkers, tmp_path / "prompts", TemplateGenerator(), paper_protocol=True)
    folder = _train(talkers, tmp_path / "run", "teacher", "--prompts", str(tmp_path / "prompts"))
    assert _record(folder)["prompts"]["paper_protocol"] is True


def test_student_with_other_hints_than_its_teacher_is_refused(talkers: Path, pair: Path, tmp_path: Path) -> None:
    generate_prompts(talkers, tmp_path / "prompts", TemplateGenerator(), paper_protocol=True)
    words = ("--teacher", str(pair / "teacher"), "--prompts", str(tmp_path / "prompts"))
    with pytest.raises(ConfigError, match="a teacher must read the hints that it was trained with"):
        _train(talkers, tmp_path / "run", "student", *words)


@pytest.mark.parametrize(
    ("variant", "words", "message"),
    [
        ("teacher", (), "variant 'teacher' reads hints out of a prompt store, but prompts is not set"),
        ("student", (), "variant 'student' learns from a teacher, but teacher is not set"),
        ("student_alone", ("--teacher", "x"), "variant 'student_alone' of mmslf doesn't read teacher"),
        ("student_alone", ("--prompts", "x"), "variant 'student_alone' of mmslf doesn't read prompts"),
    ],
)
def test_missing_or_unread_source_raises(
    talkers: Path, tmp_path: Path, variant: str, words: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        _train(talkers, tmp_path, variant, *words)


def test_teacher_that_does_not_fit_its_student_raises(talkers: Path, pair: Path, tmp_path: Path) -> None:
    teacher = ("--teacher", str(pair / "teacher"))
    with pytest.raises(ConfigError, match=r"they differ in num_fusion_tokens 4 and 3; train both"):
        _train(talkers, tmp_path / "a", "student", *teacher, overrides=("num_fusion_tokens=3",))
    with pytest.raises(ConfigError, match=r"has seeds 1 and not 2|must be the run of a teacher"):
        _train(talkers, tmp_path / "b", "student", "--teacher", str(pair / "student"))


def test_seed_that_no_teacher_has_raises(talkers: Path, prompts: Path, pair: Path, tmp_path: Path) -> None:
    both = tmp_path / "teachers"
    for seed in (1, 3):
        copied = Path(shutil.copytree(pair / "teacher" / "seed-1", both / f"seed-{seed}"))
        (copied / "run.json").write_text(json.dumps(_record(copied) | {"seed": seed}), encoding="utf-8")
    with pytest.raises(ConfigError, match="has seeds 1, 3 and not 2; train that teacher"):
        _train(talkers, tmp_path / "run", "student", "--teacher", str(both), "--seeds", "2")


def test_teacher_of_another_dataset_raises(talkers: Path, pair: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(pair / "teacher" / "seed-1", tmp_path / "teacher"))
    (copied / "run.json").write_text(json.dumps(_record(copied) | {"manifest_sha256": "0"}), encoding="utf-8")
    with pytest.raises(ConfigError, match="teacher and student must see the same dataset"):
        _train(talkers, tmp_path / "run", "student", "--teacher", str(copied))


def test_argument_that_the_command_sets_itself_raises(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="model, variant and teacher are set for both runs, but found --variant"):
        train_teacher_and_student(["--variant", "teacher"])


@pytest.mark.slow
def test_two_files_are_the_teachers_and_the_students(talkers: Path, prompts: Path, tmp_path: Path) -> None:
    for role, layers in (("teacher", 2), ("student", 1)):
        fields = ", ".join(word.replace("=", ": ") for word in TINY_MMSLF) + f", num_fusion_layers: {layers}"
        fields = fields.replace("num_fusion_layers: 1, ", "", 1)
        (tmp_path / f"{role}.yaml").write_text(f"config_overrides: {{{fields}}}\n", encoding="utf-8")
    words = _words(talkers, tmp_path / "runs", "--prompts", str(prompts))
    words = words[: words.index("--config_overrides")]
    files = [str(tmp_path / f"{role}.yaml") for role in ("teacher", "student")]
    train_teacher_and_student([*files, *words, "--num_train_epochs", "1"])
    for role, layers in (("teacher", 2), ("student", 1)):
        config = json.loads((tmp_path / "runs" / role / "seed-1" / "config.json").read_text(encoding="utf-8"))
        assert (config["role"], config["num_fusion_layers"]) == (role, layers)


def test_cached_text_states_train_as_the_frozen_encoder_does(talkers: Path, tmp_path: Path) -> None:
    frozen = ("--freeze_text_encoder", "--num_train_epochs", "1")
    # With no dropout in the encoder, the cache only saves time.
    still = ("text_config.hidden_dropout_prob=0", "text_config.attention_probs_dropout_prob=0")
    plain = _train(talkers, tmp_path / "plain", "student_alone", *frozen, overrides=still)
    cached = _train(talkers, tmp_path / "cached", "student_alone", *frozen, "--cache_text_states", overrides=still)
    expected, found = (load_file(folder / "model.safetensors") for folder in (plain, cached))
    for name, value in expected.items():
        # A key's bias gets no gradient but rounding, which Adam divides by itself.
        if not name.endswith("key_norm.bias"):
            torch.testing.assert_close(found[name], value, atol=1e-4, rtol=1e-3, msg=name)


def test_cache_of_changing_texts_raises(talkers: Path, tmp_path: Path) -> None:
    message = "cache_text_states needs the same text states in every epoch, but found a text encoder that is trained"
    with pytest.raises(ConfigError, match=message):
        _train(talkers, tmp_path / "a", "student_alone", "--cache_text_states")
    words = ("--cache_text_states", "--freeze_text_encoder", "--train_corruption", "mix")
    with pytest.raises(ConfigError, match="but found train_corruption mix"):
        _train(talkers, tmp_path / "b", "student_alone", *words)


@pytest.fixture
def encoder_folder(talkers: Path, tmp_path: Path) -> Path:
    """A text encoder with weights and a tokenizer, as a pretrained one comes."""
    run = _train(talkers, tmp_path / "source", "student_alone", "--num_train_epochs", "1")
    folder = tmp_path / "encoder"
    AutoModelForSequenceClassification.from_pretrained(run).text_model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(run).save_pretrained(folder)
    return folder


def test_frozen_pair_reads_cached_states_of_text_and_hints(
    talkers: Path, prompts: Path, encoder_folder: Path, tmp_path: Path
) -> None:
    cached = ("--text_encoder", str(encoder_folder), "--freeze_text_encoder", "--cache_text_states")
    out = tmp_path / "runs"
    train_teacher_and_student(_words(talkers, out, "--prompts", str(prompts), "--num_train_epochs", "1", *cached))
    assert list((out / "teacher" / "prompt_states").iterdir()) != []
    config = json.loads((out / "teacher" / "seed-1" / "config.json").read_text(encoding="utf-8"))
    assert config["prompt_encoder"] == "shared"
    # States of another encoder say nothing to the teacher.
    with pytest.raises(ConfigError, match="the weights of the text encoder whose states are cached"):
        _train(talkers, tmp_path / "x", "student", "--teacher", str(out / "teacher"), *cached[2:])


def test_trained_pretrained_encoder_leaves_the_prompts_a_frozen_copy(
    talkers: Path, prompts: Path, encoder_folder: Path, tmp_path: Path
) -> None:
    words = ("--text_encoder", str(encoder_folder), "--prompts", str(prompts), "--num_train_epochs", "1")
    folder = _train(talkers, tmp_path / "run", "teacher", *words)
    weights, start = load_file(folder / "model.safetensors"), load_file(encoder_folder / "model.safetensors")
    name = "encoder.layer.0.output.dense.weight"
    assert torch.equal(weights[f"prompts.text_model.{name}"], start[name])
    assert not torch.equal(weights[f"text_model.{name}"], start[name])
    assert list((tmp_path / "run" / "prompt_states").iterdir()) != []
