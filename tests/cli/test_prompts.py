from pathlib import Path

import pytest
from typer.testing import CliRunner

from modeling_hfr_ame.cli import app
from modeling_hfr_ame.prompts.store import PromptStore
from tests.prompts.loopback_endpoint import LoopbackEndpoint
from tests.prompts.prompt_rows import write_dataset


def run(*arguments: object) -> list[str]:
    result = CliRunner().invoke(app, ["prompts", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("prompts") / "data")


def test_prompts_fills_a_store_from_rules_and_shows_its_coverage(dataset: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    lines = run(dataset, "--store", store, "--split", "train")
    path = next(store.glob("*.jsonl"))
    assert lines == ["4 samples: 0 kept, 4 answered, 0 failed, 0 left", f"prompt store: {path}"]
    assert run(dataset, "--store", store)[0] == "8 samples: 4 kept, 4 answered, 0 failed, 0 left"
    assert run(dataset, "--store", store, "--coverage") == [
        f"{path.stem} (labels not shown)",
        "  train: 4 of 4 answered (100.0%), 0 failed, 0 missing, 0 stale",
        "  validation: 2 of 2 answered (100.0%), 0 failed, 0 missing, 0 stale",
        "  test: 2 of 2 answered (100.0%), 0 failed, 0 missing, 0 stale",
    ]


def test_prompts_under_the_paper_protocol_says_so(dataset: Path, tmp_path: Path) -> None:
    run(dataset, "--store", tmp_path, "--paper-protocol")
    assert run(dataset, "--store", tmp_path, "--coverage")[0].endswith("(paper protocol: training rows show the label)")
    assert PromptStore.open(tmp_path).describe()["label_shown"] == 4


def test_prompts_asks_an_endpoint_and_a_dry_run_asks_nothing(dataset: Path, tmp_path: Path) -> None:
    with LoopbackEndpoint(lambda key, attempt: "500" if attempt == 0 else "ok") as endpoint:
        options = [
            dataset,
            "--store",
            tmp_path,
            "--generator",
            "openai",
            "--model",
            "m",
            "--base-url",
            endpoint.base_url,
        ]
        estimate = run(*options, "--dry-run", "--price", "1", "2", "--max-tokens", "100")
        # The sample without words or clip is counted here, and fails without a request below.
        assert estimate[0] == "would ask about 8 samples (0 have an answer) and show 0 pictures"
        assert estimate[1].endswith("at most 800 to write")
        assert estimate[2].startswith("cost: about 0.00")
        assert endpoint.requests == []
        assert not list(tmp_path.glob("*.jsonl"))
        lines = run(*options, "--max-tokens", "100", "--limit", "2", "--concurrency", "1")
        assert lines[:2] == ["8 samples: 0 kept, 2 answered, 0 failed, 6 left", "tokens: 22 read, 14 written"]
        assert run(*options, "--dry-run", "--max-tokens", "100")[0].startswith("would ask about 6 samples (2 have")
        assert len(endpoint.requests) == 4


def test_prompts_coverage_of_an_unknown_dataset_says_so(dataset: Path, tmp_path: Path) -> None:
    assert run(dataset, "--store", tmp_path, "--coverage") == [
        f"no prompt store of the dataset 'test_builder' in {tmp_path}"
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--generator", "openai"], "--generator openai asks a model, found no --model"),
        (["--generator", "openai", "--model", "m"], "asks an endpoint, found no --base-url"),
        (["--model", "m"], "the template generator has no model, found --model or --base-url (m)"),
        (["--language", "de"], "asked for 'de'"),
        (["--generator", "local-text", "--model", "absent/model"], "'absent/model' isn't one"),
    ],
)
def test_prompts_with_wrong_options_prints_one_line(
    dataset: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    result = CliRunner().invoke(app, ["prompts", str(dataset), "--store", str(tmp_path), *options])
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
