"""Builds a stored dataset from raw video clips and a label table in CMU-MOSI's layout.

python -m dataset_scripts.mosi_clips --clips MOSI/segmented_video --labels MOSI/label.csv --out prepared/mosi
python -m dataset_scripts.mosi_clips --labels MOSI/label.csv --out prepared/mosi_text
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from dataset_scripts.publishing import add_push_options, check_push_options, push_if_asked
from modeling_hfr_ame.data import prepare_mosi_clips, read_manifest


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the script.

    Args:
        argv: Command-line arguments; None takes the process's own.
    """
    parser = argparse.ArgumentParser(description="Build a stored dataset from raw clips and a label table.")
    parser.add_argument("--clips", type=Path, help="folder of .mp4 clips; left out: text only")
    parser.add_argument("--labels", type=Path, required=True, help="CSV: video_id,clip_id,text,label,...,mode")
    parser.add_argument("--out", type=Path, required=True, help="folder of the stored dataset")
    # One option per video: ids may begin with a hyphen, which only --exclude-video=ID can carry.
    parser.add_argument(
        "--exclude-video",
        dest="exclude_videos",
        action="append",
        default=[],
        metavar="ID",
        help="a video for the held_out split; repeatable",
    )
    parser.add_argument("--workers", type=int, default=2, help="processes that decode")
    parser.add_argument("--audio-frame-rate-hz", type=float, default=10.0)
    parser.add_argument("--video-frame-rate-hz", type=float, default=5.0)
    parser.add_argument("--dataset-name", default="mosi_clips", help="name in reports and corruption keys")
    parser.add_argument("--cache", type=Path, help="folder of the feature cache; default: beside --out")
    parser.add_argument("--overwrite", action="store_true", help="replace an older dataset in the folder")
    add_push_options(parser)
    arguments = parser.parse_args(argv)
    check_push_options(parser, arguments)
    folder = prepare_mosi_clips(
        arguments.clips,
        arguments.labels,
        arguments.out,
        exclude_videos=arguments.exclude_videos,
        workers=arguments.workers,
        audio_frame_rate_hz=arguments.audio_frame_rate_hz,
        video_frame_rate_hz=arguments.video_frame_rate_hz,
        dataset_name=arguments.dataset_name,
        cache=arguments.cache,
        overwrite=arguments.overwrite,
    )
    manifest = read_manifest(folder)
    print(folder)
    for split, counts in manifest["counts"].items():
        present = ", ".join(f"{number} with {modality}" for modality, number in counts["present"].items())
        print(f"{split}: {counts['rows']} rows ({present})")
    print(f"failed clips: {len(manifest['failed'])}; pictures without a face: {manifest['clips']['no_face_share']}")
    push_if_asked(folder, arguments)


if __name__ == "__main__":
    main()
