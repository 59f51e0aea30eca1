"""`hfr-ame prompts`."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ..errors import ConfigError

if TYPE_CHECKING:
    from ..prompts import GenerationPlan, PromptGenerator


class GeneratorKind(StrEnum):
    """Who writes the hints."""

    TEMPLATE = "template"
    OPENAI = "openai"
    LOCAL = "local"
    LOCAL_AUDIO = "local-audio"
    LOCAL_TEXT = "local-text"


def prompts(
    dataset: Path = typer.Argument(..., help="Folder of a stored dataset."),
    store: Path = typer.Option(..., "--store", help="Folder of the prompt stores; a run that stopped goes on there."),
    generator: GeneratorKind = typer.Option(GeneratorKind.TEMPLATE, "--generator", help="Who writes the hints."),
    model: str = typer.Option("", "--model", help="Model name at the endpoint, Hub id, or folder of a saved model."),
    revision: str | None = typer.Option(None, "--revision", help="Commit, tag, or what you know of the version."),
    clips: Path | None = typer.Option(None, "--clips", help="Folder of clips; left out: no pictures and no sound."),
    frames: int = typer.Option(3, "--frames", min=0, help="Pictures per clip, evenly spaced."),
    max_width: int = typer.Option(320, "--max-width", min=1, help="Width in pixels to which pictures are scaled down."),
    split: list[str] = typer.Option(
        [], "--split", help="Split to ask about; repeatable. All are asked about by default."
    ),
    language: str = typer.Option("en", "--language", help="Language of the hints: en or zh."),
    paper_protocol: bool = typer.Option(
        False, "--paper-protocol", help="Show training samples' labels to the model, as the published system does."
    ),
    max_tokens: int = typer.Option(300, "--max-tokens", min=1, help="Longest answer in tokens."),
    limit: int | None = typer.Option(None, "--limit", min=1, help="Ask about at most so many samples now."),
    retry_failed: bool = typer.Option(True, help="Ask again about samples that failed before."),
    base_url: str = typer.Option("", "--base-url", help="openai: address such as https://host/v1."),
    key_variable: str | None = typer.Option(
        None, "--key-variable", help="openai: environment variable that holds the key. The key itself is never stored."
    ),
    temperature: float | None = typer.Option(0.0, "--temperature", help="openai: 0 = the likeliest answer."),
    seed: int | None = typer.Option(None, "--seed", help="openai: for endpoints that take one."),
    image_detail: str | None = typer.Option(None, "--image-detail", help="openai: low, high or auto."),
    token_limit_name: str = typer.Option("max_tokens", "--token-limit-name", help="openai: or max_completion_tokens."),
    concurrency: int = typer.Option(4, "--concurrency", min=1, help="openai: requests under way at once."),
    requests_per_minute: float | None = typer.Option(None, "--requests-per-minute", help="openai: largest rate."),
    timeout: float = typer.Option(60.0, "--timeout", help="openai: seconds until a request is given up."),
    max_attempts: int = typer.Option(6, "--max-attempts", min=1, help="openai: tries per sample and run."),
    device: str | None = typer.Option(None, "--device", help="local: such as cpu or cuda:0."),
    dtype: str = typer.Option("auto", "--dtype", help="local: such as bfloat16."),
    batch_size: int = typer.Option(1, "--batch-size", min=1, help="local: samples per forward pass."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Print an estimate of tokens and cost; ask nothing."),
    price: tuple[float, float] | None = typer.Option(
        None, "--price", help="Prices per million tokens read and written, for --dry-run."
    ),
    tokens_per_picture: int = typer.Option(255, "--tokens-per-picture", min=0, help="For --dry-run."),
    coverage: bool = typer.Option(False, "--coverage", help="Print what the stores have of this dataset; ask nothing."),
) -> None:
    """Let a model, or rules, write hints about each sample once; training reads the store."""
    from ..prompts import ClipView, generate_prompts, plan_generation

    if coverage:
        _echo_coverage(dataset, store)
        return
    writes_here = {"max_new_tokens": max_tokens, "device": device, "dtype": dtype, "batch_size": batch_size}
    calls = {
        "concurrency": concurrency,
        "requests_per_minute": requests_per_minute,
        "timeout_s": timeout,
        "max_attempts": max_attempts,
    }
    asks = {
        "key_variable": key_variable,
        "max_tokens": max_tokens,
        "temperature": temperature,
        "seed": seed,
        "image_detail": image_detail,
        "token_limit_name": token_limit_name,
    }
    made = _make(generator, model, revision, base_url, asks, calls, writes_here)
    options: dict[str, Any] = {
        "clips": clips,
        "view": ClipView(num_frames=frames, max_width=max_width),
        "splits": split or None,
        "language": language,
        "paper_protocol": paper_protocol,
    }
    if dry_run:
        plan = plan_generation(dataset, made, **options)
        _echo_estimate(plan, store, max_tokens, tokens_per_picture, price, limit)
        return
    summary = generate_prompts(dataset, store, made, limit=limit, retry_failed=retry_failed, **options)
    typer.echo(
        f"{summary.samples} samples: {summary.kept} kept, {summary.answered} answered, {summary.failed} failed, "
        f"{summary.left} left"
    )
    if summary.without_clip:
        typer.echo(f"{summary.without_clip} samples have no clip and were asked about from the words alone")
    if summary.n_in or summary.n_out:
        typer.echo(f"tokens: {summary.n_in} read, {summary.n_out} written")
    typer.echo(f"prompt store: {summary.store}")
    if summary.failed:
        typer.echo("failed samples are kept with their errors; run again to ask about them again", err=True)


def _make(
    kind: GeneratorKind,
    model: str,
    revision: str | None,
    base_url: str,
    asks: dict[str, Any],
    calls: dict[str, Any],
    writes_here: dict[str, Any],
) -> "PromptGenerator":
    if kind is GeneratorKind.TEMPLATE:
        from ..prompts.template_generator import TemplateGenerator

        if model or base_url:
            raise ConfigError(
                f"the template generator has no model, found --model or --base-url ({model or base_url}); name another "
                "--generator or drop it"
            )
        return TemplateGenerator()
    if not model:
        raise ConfigError(f"--generator {kind} asks a model, found no --model; name one")
    if kind is GeneratorKind.OPENAI:
        from ..prompts.openai_generator import CallOptions, OpenAIGenerator

        if not base_url:
            raise ConfigError("--generator openai asks an endpoint, found no --base-url; pass one, https://host/v1")
        return OpenAIGenerator(base_url, model, revision=revision, calls=CallOptions(**calls), **asks)
    from ..prompts import local_generators

    classes = {
        GeneratorKind.LOCAL: local_generators.LocalImageTextGenerator,
        GeneratorKind.LOCAL_AUDIO: local_generators.LocalAudioTextGenerator,
        GeneratorKind.LOCAL_TEXT: local_generators.LocalTextGenerator,
    }
    return classes[kind](model, revision=revision, **writes_here)


def _echo_estimate(
    plan: "GenerationPlan",
    store: Path,
    max_tokens: int,
    tokens_per_picture: int,
    price: tuple[float, float] | None,
    limit: int | None,
) -> None:
    from ..prompts.cost_estimate import estimate_cost
    from ..prompts.writer import answered_keys

    estimate = estimate_cost(
        plan.requests(),
        answered_keys(store, plan.description),
        max_tokens=max_tokens,
        tokens_per_picture=tokens_per_picture,
        prices=price,
        limit=limit,
    )
    typer.echo(
        f"would ask about {estimate.samples} samples ({estimate.kept} have an answer) and show {estimate.pictures} "
        "pictures"
    )
    typer.echo(f"about {estimate.n_in} tokens to read and at most {estimate.n_out} to write")
    cost = "pass --price READ WRITTEN per million tokens" if estimate.cost is None else f"about {estimate.cost:.2f}"
    typer.echo(f"cost: {cost}")


def _echo_coverage(dataset: Path, store: Path) -> None:
    from ..data import read_manifest
    from ..prompts import PromptStore, list_prompt_stores, transcripts_by_split

    name, transcripts = read_manifest(dataset)["dataset_name"], transcripts_by_split(dataset)
    found = [each for each in list_prompt_stores(store) if each.dataset == name]
    if not found:
        typer.echo(f"no prompt store of the dataset {name!r} in {store}")
    for description in found:
        typer.echo(f"{description.name} ({description.label_policy})")
        for split, each in PromptStore.open(store, name=description.name).coverage(transcripts).items():
            typer.echo(
                f"  {split}: {each.answered} of {each.rows} answered ({each.share:.1%}), {each.failed} failed, "
                f"{each.missing} missing, {each.stale} stale"
            )
