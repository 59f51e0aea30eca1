"""From a stored dataset to a filled prompt store.

A run asks about the samples that have no answer yet and writes each answer as it comes. Stopping it at any point and
starting it again gives the store that an undisturbed run gives, whatever the point.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from modeling_hfr_ame.errors import ConfigError, DataError, MediaError
from modeling_hfr_ame.prompts.clips import Clip, ClipView, clips_by_sample
from modeling_hfr_ame.prompts.generator import Answer, PromptGenerator, PromptRequest
from modeling_hfr_ame.prompts.instructions import InstructionTemplate, instruction_template, parse_cues
from modeling_hfr_ame.prompts.rows import (
    ANSWERED,
    FAILED,
    TRAINING_SPLIT,
    PromptInputs,
    PromptRow,
    StoreDescription,
    row_key,
    sha256_of,
    storable_text,
)
from modeling_hfr_ame.prompts.store_card import write_store_card
from modeling_hfr_ame.prompts.writer import PromptWriter

_MODALITIES = ("audio", "vision")


@dataclass(frozen=True)
class GenerationSummary:
    """How a run went.

    Attributes:
        store: The file.
        samples: Samples of the wanted splits.
        kept: Those that had an answer before.
        answered: Those answered now.
        failed: Those asked about now without an answer.
        left: Those not asked about, because of `limit`.
        without_clip: Samples that the clips' folder has no clip of.
        n_in: Tokens read now, as far as told.
        n_out: Tokens written now, as far as told.
    """

    store: Path
    samples: int
    kept: int
    answered: int
    failed: int
    left: int
    without_clip: int
    n_in: int
    n_out: int


@dataclass(frozen=True)
class GenerationPlan:
    """What a run would ask, made by `plan_generation`.

    Attributes:
        description: Of the store.
        samples: Samples of the wanted splits.
        without_clip: Those that the clips' folder has no clip of.
        requests: One request per sample, read lazily, as often as called.
    """

    description: StoreDescription
    samples: int
    without_clip: int
    requests: Callable[[], Iterator[PromptRequest]]


def plan_generation(
    dataset: str | Path,
    generator: PromptGenerator,
    *,
    clips: str | Path | None = None,
    view: ClipView | None = None,
    splits: Sequence[str] | None = None,
    language: str = "en",
    template: InstructionTemplate | None = None,
    paper_protocol: bool = False,
) -> GenerationPlan:
    """Works out what there is to ask, without asking.

    Args:
        dataset: Folder of a stored dataset.
        generator: Who answers.
        clips: Folder of the clips; None = no pictures and no sound.
        view: What is shown of a clip, as far as the generator can be shown it; None = the defaults.
        splits: Splits to ask about; None = all.
        language: Language of the hints.
        template: The instruction; None = ours in that language.
        paper_protocol: Show training samples' labels, as the published system does. A teacher that reads such hints
            can read the answer off them in training and not in the test.

    Returns:
        The plan.

    Raises:
        ConfigError: The language has no instruction, or the generator can't write in it.
        DataError: The folder isn't a stored dataset, lacks a split, or the clips' folder can't be used.
    """
    from modeling_hfr_ame.data.manifest import read_manifest

    manifest = read_manifest(dataset)
    generator.prepare(Path(dataset), manifest, language)
    names = list(manifest["counts"]) if splits is None else list(splits)
    if unknown := [name for name in names if name not in manifest["counts"]]:
        raise DataError(
            f"{str(dataset)!r} has the splits {', '.join(manifest['counts'])}, asked for {', '.join(unknown)}; name "
            "some of them"
        )
    template = template or instruction_template(language, paper_protocol)
    if (template.label is not None) != paper_protocol:
        raise ConfigError(
            f"a template has a line for the label exactly under paper_protocol, found {template.template_id} with "
            f"paper_protocol={paper_protocol}; use the other template"
        )
    shown, paths = None, {}
    if clips is not None and (generator.shows_pictures or generator.sound_hz):
        shown = view or ClipView()
        num_frames = shown.num_frames if generator.shows_pictures else 0
        shown = replace(shown, num_frames=num_frames, sound_hz=generator.sound_hz)
        paths = clips_by_sample(clips, _names_of(dataset, names))
    template_id, template_sha = generator.wording or (template.template_id, template.sha256)
    description = StoreDescription(
        dataset=manifest["dataset_name"],
        generator=generator.kind,
        model_id=generator.model_id,
        model_revision=generator.model_revision,
        template_id=template_id,
        template_sha=template_sha,
        language=language,
        decoding=generator.decoding,
        media={} if shown is None else shown.describe(),
        paper_protocol=paper_protocol,
    ).named()
    maker = _RequestMaker(description, template, tuple(manifest["label_range"]), shown, paths, generator)
    samples = sum(manifest["counts"][name]["rows"] for name in names)
    return GenerationPlan(
        description,
        samples,
        without_clip=0 if shown is None else samples - len(paths),
        requests=lambda: maker.requests(dataset, names),
    )


def generate_prompts(
    dataset: str | Path,
    store: str | Path,
    generator: PromptGenerator,
    *,
    limit: int | None = None,
    retry_failed: bool = True,
    on_row: Callable[[PromptRow], None] | None = None,
    **options: Any,
) -> GenerationSummary:
    """Fills a prompt store: asks about every sample that has no answer yet.

    Args:
        dataset: Folder of a stored dataset.
        store: Folder of the stores; the run's own file in it is made or continued.
        generator: Who answers.
        limit: Largest number of samples to ask about now; None = all.
        retry_failed: Ask again about samples that failed in an earlier run.
        on_row: Called with each row after it is written.
        options: As `plan_generation` takes them.

    Returns:
        How it went.

    Raises:
        ConfigError: An option can't be used, or the generator gave up for good. What was answered before is kept.
        DataError: The dataset or the store can't be used, or another process writes the store.
    """
    plan = plan_generation(dataset, generator, **options)
    with PromptWriter(store, plan.description) as writer:
        summary = write_answers(
            plan.requests(), generator, writer, limit=limit, retry_failed=retry_failed, on_row=on_row
        )
    write_store_card(store)
    return replace(summary, samples=plan.samples, without_clip=plan.without_clip)


def write_answers(
    requests: Iterable[PromptRequest],
    generator: PromptGenerator,
    writer: PromptWriter,
    *,
    limit: int | None = None,
    retry_failed: bool = True,
    on_row: Callable[[PromptRow], None] | None = None,
) -> GenerationSummary:
    """Asks what has no answer yet and writes each answer as it comes; see `generate_prompts`.

    Args:
        requests: Of the writer's store.
        generator: Who answers.
        writer: Open.
        limit: Largest number of samples to ask about; None = all.
        retry_failed: Ask again about what failed in an earlier run.
        on_row: Called with each row after it is written.

    Returns:
        How it went; `without_clip` is 0.

    Raises:
        ConfigError: The generator gave up for good.
        DataError: A row can't be written.
    """
    counts: Counter[str] = Counter()

    def open_requests() -> Iterator[PromptRequest]:
        for request in requests:
            counts["samples"] += 1
            earlier = writer.row_of_key(request.key)
            if earlier is not None and (earlier.answered or not retry_failed):
                counts["kept"] += 1
            elif limit is not None and counts["asked"] >= limit:
                counts["left"] += 1
            else:
                counts["asked"] += 1
                yield request

    for request, answer in generator.answer(open_requests()):
        row = _make_row(request, answer, writer.description)
        if writer.append(row):
            counts[row.status] += 1
            counts["n_in"] += row.n_in or 0
            counts["n_out"] += row.n_out or 0
            if on_row is not None:
                on_row(row)
    return GenerationSummary(
        store=writer.path,
        samples=counts["samples"],
        kept=counts["kept"],
        answered=counts[ANSWERED],
        failed=counts[FAILED],
        left=counts["left"],
        without_clip=0,
        n_in=counts["n_in"],
        n_out=counts["n_out"],
    )


def _make_row(request: PromptRequest, answer: Answer, description: StoreDescription) -> PromptRow:
    text = storable_text(answer.text).strip()
    error = answer.error or (None if text else "the answer was blank")
    return PromptRow(
        key=request.key,
        sample_id=request.sample_id,
        split=request.split,
        status=FAILED if error else ANSWERED,
        text="" if error else text,
        cues=parse_cues("" if error else text),
        description=description,
        label_shown=request.label is not None,
        inputs=request.inputs,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        n_in=answer.n_in,
        n_out=answer.n_out,
        finish=answer.finish,
        served_model=answer.served_model,
        error=storable_text(error)[:500] if error else None,
    )


@dataclass(frozen=True)
class _RequestMaker:
    """Turns stored rows into requests."""

    description: StoreDescription
    template: InstructionTemplate
    label_range: tuple[float, float]
    view: ClipView | None
    paths: Mapping[str, Path]
    generator: PromptGenerator

    def requests(self, dataset: str | Path, splits: Sequence[str]) -> Iterator[PromptRequest]:
        from modeling_hfr_ame.data.stored import load_stored_dataset, stored_rows

        for split in splits:
            rows = load_stored_dataset(dataset, split)
            if not self.generator.reads_features:
                rows = rows.select_columns(["id", "text", "label"])
            for row in stored_rows(rows):
                yield self.request(split, row)

    def request(self, split: str, row: Mapping[str, Any]) -> PromptRequest:
        shows_label = self.description.paper_protocol and split == TRAINING_SPLIT
        label = f"{row['label']:+.2f}" if shows_label else None
        path = self.paths.get(row["id"])
        clip = Clip(path, self.view) if path is not None and self.view is not None else None
        features: dict[str, np.ndarray] = {}
        if self.generator.reads_features:
            features = {name: row[name] for name in _MODALITIES if row.get(name) is not None}
        inputs = PromptInputs(
            transcript=None if row["text"] is None else sha256_of(row["text"]),
            frames=clip.frame_hashes if clip else (),
            audio=clip.audio_hash if clip else None,
            features=_hash_features(features) if features else None,
            label=None if label is None else sha256_of(label),
        )
        return PromptRequest(
            key=row_key(row["id"], inputs, self.description, shows_label),
            sample_id=row["id"],
            split=split,
            transcript=row["text"],
            instruction=self.template.render(
                row["text"],
                num_pictures=len(inputs.frames),
                has_sound=inputs.audio is not None,
                label=label,
                label_range=self.label_range,
            ),
            label=label,
            inputs=inputs,
            clip=clip,
            features=features,
        )


def _names_of(dataset: str | Path, splits: Sequence[str]) -> list[dict[str, Any]]:
    from modeling_hfr_ame.data.stored import load_stored_dataset

    columns = ["id", "video_id", "clip_id"]
    return [row for split in splits for row in load_stored_dataset(dataset, split).select_columns(columns)]


def _hash_features(features: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name, frames in sorted(features.items()):
        digest.update(f"{name} {frames.shape} ".encode())
        digest.update(np.ascontiguousarray(frames, dtype=np.float32).tobytes())
    return digest.hexdigest()


def failed_before_asking(request: PromptRequest) -> Answer | None:
    """Gives the failure of a sample of which there is nothing to show; None where there is something."""
    if request.transcript is None and request.clip is None and not request.features:
        return Answer(error="nothing to show: the sample has no transcript, and no clip or features were given")
    return None


def media_failure(error: MediaError) -> Answer:
    """Turns a clip that can't be decoded into the failure of its sample."""
    return Answer(error=f"the clip can't be shown: {error}")
