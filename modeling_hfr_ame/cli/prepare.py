"""`hfr-ame prepare`."""

from enum import StrEnum
from pathlib import Path
from typing import Any

import typer

from ..errors import DataError


class Layout(StrEnum):
    """What `prepare` can be told; left out, it finds out."""

    AUTO = "auto"
    MOSI_CLIPS = "mosi-clips"
    SYNTHETIC_TALKERS = "synthetic-talkers"


def prepare(
    source: Path | None = typer.Argument(
        None,
        metavar="[SOURCE]",
        help="A feature pickle (MMSA, MMSA-FET, MulT, MISA, MAG-BERT), a folder of .csd files, MFN's .h5 folder, .npz, "
        "a CSV/TSV table or a folder of them, a folder of COVAREP and OpenFace files, or a folder of video clips.",
    ),
    out: Path = typer.Option(..., "--out", help="Folder for the stored dataset."),
    layout: Layout = typer.Option(Layout.AUTO, "--layout", help="auto finds the source's layout out and prints it."),
    labels: Path | None = typer.Option(
        None, "--labels", help="Label table of clips or extracted features; without SOURCE: a text-only dataset."
    ),
    splits: Path | None = typer.Option(
        None, "--splits", help="CSV video_id[,clip_id],mode for a source without folds of its own (.csd)."
    ),
    name: str | None = typer.Option(None, "--name", help="Dataset name; part of every corruption key."),
    label_range: tuple[float, float] | None = typer.Option(
        None, "--label-range", help="Lowest and highest label, where the source leaves it open."
    ),
    align_words: bool = typer.Option(False, "--align-words", help="One audio and vision frame per word (.csd)."),
    keep_text_features: bool = typer.Option(
        False, "--keep-text-features", help="Store word vectors although the source holds the words."
    ),
    workers: int = typer.Option(2, "--workers", min=1, help="Number of processes that decode (clips)."),
    audio_hz: float = typer.Option(10.0, "--audio-hz", help="Audio feature frames per second (clips)."),
    video_hz: float = typer.Option(5.0, "--video-hz", help="Vision feature frames per second (clips)."),
    audio_backend: str = typer.Option(
        "native", "--audio-backend", help="native, or hf:<id or path> of a Hub audio model (clips)."
    ),
    vision_backend: str = typer.Option(
        "native", "--vision-backend", help="native, or hf:<id or path> of a Hub vision model (clips)."
    ),
    exclude_video: list[str] = typer.Option(
        [], "--exclude-video", help="Video kept out of training and validation; repeatable (clips)."
    ),
    seed: int = typer.Option(0, "--seed", help="Seed of the generator (synthetic-talkers)."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace a dataset that exists."),
) -> None:
    """Turn feature files, clips and labels, or the synthetic generator, into a stored dataset."""
    from .. import data

    if layout is Layout.SYNTHETIC_TALKERS:
        if source is not None or labels is not None:
            raise DataError(
                f"synthetic-talkers is generated, takes no source, found {source or labels}; drop SOURCE and --labels"
            )
        folder = data.prepare_synthetic_talkers(out, seed=seed, overwrite=overwrite)
        _echo_summary(data.read_manifest(folder))
    elif _is_clips(source, layout, labels):
        if labels is None:
            raise DataError("a folder of clips needs a label table, found no --labels; pass --labels LABELS.csv")
        typer.echo("layout: mosi-clips" if source is not None else "layout: mosi-clips, text only")
        folder = data.prepare_mosi_clips(
            source,
            labels,
            out,
            workers=workers,
            audio_frame_rate_hz=audio_hz,
            video_frame_rate_hz=video_hz,
            audio_backend=audio_backend,
            vision_backend=vision_backend,
            exclude_videos=tuple(exclude_video),
            overwrite=overwrite,
            dataset_name=name or "mosi_clips",
        )
        _echo_summary(data.read_manifest(folder))
    else:
        assert source is not None
        options = data.SourceOptions(
            dataset_name=name,
            label_range=label_range,
            labels=labels,
            align="words" if align_words else None,
            keep_text_features=keep_text_features,
            splits=splits,
        )
        prepared = data.prepare_source(source, out, options=options, overwrite=overwrite, say=typer.echo)
        folder = prepared.folder
    typer.echo(f"stored dataset: {folder}")


def _is_clips(source: Path | None, layout: Layout, labels: Path | None) -> bool:
    from .. import data

    if layout is Layout.MOSI_CLIPS:
        return True
    if source is None:
        if labels is None:
            raise DataError("prepare needs a SOURCE, found none; name a file or folder, or --layout synthetic-talkers")
        return True
    return data.recognise_source(source) == "mosi-clips"


def _echo_summary(manifest: dict[str, Any]) -> None:
    """Says how many rows of each split have which modality, and how many clips failed."""
    for split, counts in manifest["counts"].items():
        present = ", ".join(f"{name} {number}" for name, number in counts["present"].items())
        typer.echo(f"{split}: {counts['rows']} rows ({present})")
    if manifest.get("failed"):
        typer.echo(f"{len(manifest['failed'])} clips failed; manifest.json lists them with reasons", err=True)
