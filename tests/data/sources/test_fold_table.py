from pathlib import Path

import pytest

from modeling_hfr_ame.data.sources.fold_table import read_fold_table
from modeling_hfr_ame.errors import DataError


def write(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "folds.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_fold_table_per_video_holds_for_all_its_segments(tmp_path: Path) -> None:
    folds = read_fold_table(write(tmp_path, "video_id,mode", "a,train", "b,dev", "c,none"))
    assert (folds.find("a", "1"), folds.find("a", "7"), folds.find("b", "1")) == ("train", "train", "validation")
    assert folds.find("c", "1") is None
    assert folds.find("d", "1") is None


def test_fold_table_per_segment_tells_them_apart(tmp_path: Path) -> None:
    folds = read_fold_table(write(tmp_path, "video_id,clip_id,label,mode", "a,1,0,train", "a,2,0,test"))
    assert (folds.find("a", "1"), folds.find("a", "2"), folds.find("a", "3")) == ("train", "test", None)


def test_fold_table_segment_ids_count_from_zero(tmp_path: Path) -> None:
    folds = read_fold_table(write(tmp_path, "video_id,segment_id,mode", "a,0,train", "a,1,valid"))
    assert (folds.find("a", "0"), folds.find("a", "1"), folds.find("a", "2")) == (None, "train", "validation")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["video_id,fold", "a,train"], r"columns video_id and mode, folds\.csv lacks mode \(found: video_id, fold\)"),
        (["video_id,clip_id,mode", "a,,train"], r"folds\.csv line 2 leaves its id blank; fill it in"),
        (["video_id,mode", ",train"], r"folds\.csv line 2 leaves its id blank"),
        (["video_id,segment_id,mode", "a,x,train"], r"segment_id must be a number from 0, folds\.csv line 2 has 'x'"),
        (["video_id,mode", "a,training"], r"mode must be one of train, .*, none, folds\.csv line 2 has 'training'"),
        (["video_id,mode", "a,"], r"folds\.csv line 2 has None; rename"),
        (["video_id,mode", "a,train", "a,test"], r"has one split, folds\.csv line 3 repeats a ; remove"),
    ],
)
def test_fold_table_mistake_is_refused(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_fold_table(write(tmp_path, *lines))
