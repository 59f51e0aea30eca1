"""`hfr-ame prepare`."""

from enum import StrEnum
from pathlib import Path
from typing import Any

import typer

from ..errors import DataError


class Layout(StrEnum):
    """The source layouts that `prepare` reads or makes."""

    MOSI_CLIPS = "mosi-clips"
    SYNTHETIC_TALKERS = "synthetic-talkers"


def prepare(
    clips: Path | None = typer.Argument(
        None, metavar="[CLIPS]", help="Folder of video clips; left out: text only (mosi-clips)."
    ),
    out: Path = typer.Option(..., "--out", help="Folder for the stored dataset."),
    layout: Layout = typer.Option(Layout.MOSI_CLIPS, "--layout", help="Layout of the source."),
    labels: Path | None = typer.Option(None, "--labels", help="CSV of labels and transcripts (mosi-clips)."),
    workers: int = typer.Option(2, "--workers", min=1, help="Number of processes that decode (mosi-clips)."),
    audio_hz: float = typer.Option(10.0, "--audio-hz", help="Audio feature frames per second (mosi-clips)."),
    video_hz: float = typer.Option(5.0, "--video-hz", help="Vision feature frames per second (mosi-clips)."),
    exclude_video: list[str] = typer.Option(
        [], "--exclude-video", help="Video kept out of training and validation; repeatable (mosi-clips)."
    ),
    seed: int = typer.Option(0, "--seed", help="Seed of the generator (synthetic-talkers)."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace a dataset that exists."),
) -> None:
    """Turn clips and labels, or the synthetic generator, into a stored dataset."""
    from .. import data

    if layout is Layout.SYNTHETIC_TALKERS:
        if clips is not None or labels is not None:
            raise DataError(
                f"synthetic-talkers is generated, takes no source, found {clips or labels}; drop CLIPS and --labels"
            )
        folder = data.prepare_synthetic_talkers(out, seed=seed, overwrite=overwrite)
    else:
        if labels is None:
            raise DataError("mosi-clips needs a label file, found no --labels; pass --labels LABELS.csv")
        folder = data.prepare_mosi_clips(
            clips,
            labels,
            out,
            workers=workers,
            audio_frame_rate_hz=audio_hz,
            video_frame_rate_hz=video_hz,
            exclude_videos=tuple(exclude_video),
            overwrite=overwrite,
        )
    _echo_summary(data.read_manifest(folder))
    typer.echo(f"stored dataset: {folder}")


def _echo_summary(manifest: dict[str, Any]) -> None:
    """Says how many rows of each split have which modality, and how many clips failed."""
    for split, counts in manifest["counts"].items():
        present = ", ".join(f"{name} {number}" for name, number in counts["present"].items())
        typer.echo(f"{split}: {counts['rows']} rows ({present})")
    if manifest.get("failed"):
        typer.echo(f"{len(manifest['failed'])} clips failed; manifest.json lists them with reasons", err=True)
