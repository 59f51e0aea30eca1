from pathlib import Path
from typing import Any

import pytest

from modeling_hfr_ame.data import load_stored_dataset, prepare_source, read_manifest, stored_rows
from modeling_hfr_ame.data.sources.source import SourceOptions
from modeling_hfr_ame.errors import DataError

_HEADER = "video_id,clip_id,text,label,label_T,label_A,label_V,annotation,mode\n"


def _write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_label_table_with_header_becomes_a_text_dataset(tmp_path: Path) -> None:
    path = _write(
        tmp_path / "label.csv", _HEADER + 'a,0001,"so, good",1.2,,,,Positive,train\na,2,bad,-2.0,,,,Negative,test\n'
    )
    prepared = prepare_source(path, tmp_path / "out")
    row = stored_rows(load_stored_dataset(prepared.folder, "train"))[0]
    assert (row["id"], row["text"], row["label"]) == ("a$_$0001", "so, good", 1.2)
    assert row["annotation"] == "Positive"
    assert row["audio"] is None
    assert read_manifest(prepared.folder)["label_range"] == [-3.0, 3.0]


def test_sims_table_without_header_keeps_its_first_row_and_unimodal_labels(tmp_path: Path) -> None:
    path = _write(
        tmp_path / "sims.csv",
        "video_0001,0001,gut,-1.0,-0.5,-1.0,-1.0,Negative,train\nvideo_0001,0002,schlecht,0.4,1.0,0.2,0.0,Positive,valid\n",
    )
    prepared = prepare_source(path, tmp_path / "out")
    row = stored_rows(load_stored_dataset(prepared.folder, "train"))[0]
    assert (row["id"], row["label_text"], row["label_audio"]) == ("video_0001$_$0001", -0.5, -1.0)
    assert read_manifest(prepared.folder)["label_range"] == [-1.0, 1.0]


def test_folder_of_mosei_tables_takes_clip_ids_and_splits_from_the_segments(tmp_path: Path) -> None:
    folder = tmp_path / "mosei"
    folder.mkdir()
    _write(
        folder / "segments_labels.csv",
        "video_id,segment_id,start,end,sentiment,mode\nv,0,1.0,2.5,1.0,valid\nv,1,2.5,4.0,-1.0,valid\nw,0,0.0,1.0,0.5,none\n",
    )
    _write(
        folder / "valid_text.csv",
        "video,start_time,end_time,sentiment,happy,text\nv,1.001,2.5,1.0,0.5,nice\nv,9.0,10.0,-1.0,,other\n",
    )
    prepared = prepare_source(folder, tmp_path / "out")
    rows = list(stored_rows(load_stored_dataset(prepared.folder, "validation")))
    assert [row["id"] for row in rows] == ["v$_$1", "v$_$9.0-10.0"]
    assert [row["happy"] for row in rows] == [0.5, None]
    assert rows[0]["start_s"] == 1.001


def test_table_of_labels_alone_says_that_transcripts_are_missing(tmp_path: Path) -> None:
    path = _write(tmp_path / "labels.csv", "video_id,segment_id,start,end,sentiment\nv,0,1.0,2.5,1.0\n")
    with pytest.raises(DataError, match=r"needs a table with a transcript column .* found labels\.csv: video_id"):
        prepare_source(path, tmp_path / "out")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x,y\n1,2\n", r"a table needs a header .* starts with 'x,y'"),
        (_HEADER + "a,1,so,1.0,,,,P,train\na,1,so,1.0,,,,P,train\n", r"label\.csv line 3 repeats 'a\$_\$1' of label"),
        (_HEADER + "a,1,so,much,,,,P,train\n", r"label must be a number, label\.csv line 2 has 'much'"),
        (_HEADER + "a,1,so,1.0,,,,P,training\n", r"mode must be one of .* line 2 has 'training'"),
        (_HEADER + "a,1,so,1.0,train\n", r"a row has 9 cells, label\.csv line 2 has 5"),
        (_HEADER + "a,1,so,9.0,,,,P,train\n", r"a label must be a finite number in \[-3, 3\], found 9\.0"),
        ("", r"a table needs at least one row"),
    ],
)
def test_damaged_table_says_file_line_and_cell(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        prepare_source(_write(tmp_path / "label.csv", text), tmp_path / "out")


def test_dataset_name_and_range_can_be_given(tmp_path: Path) -> None:
    path = _write(tmp_path / "label.csv", _HEADER + "a,1,so,0.2,,,,P,train\n")
    options = SourceOptions(dataset_name="mine", label_range=(0.0, 5.0))
    manifest = read_manifest(prepare_source(path, tmp_path / "out", options=options).folder)
    assert (manifest["dataset_name"], manifest["label_range"]) == ("mine", [0.0, 5.0])


def test_name_that_no_publication_has_is_said_unless_the_user_gave_it(tmp_path: Path) -> None:
    path = _write(tmp_path / "label.csv", _HEADER + "a,1,good,1.2,,,,Positive,train\n")
    said: dict[str, list[str]] = {"found": [], "given": []}
    prepare_source(path, tmp_path / "found", say=said["found"].append)
    prepare_source(path, tmp_path / "given", options=SourceOptions(dataset_name="mine"), say=said["given"].append)
    assert said["found"][1].startswith("name: label is no published dataset's; a copy of cmu_mosi, cmu_mosei")
    assert not [line for line in said["given"] if line.startswith("name:")]


@pytest.mark.parametrize("option", [{"splits": Path("folds.csv")}, {"labels": Path("labels.csv")}, {"align": "words"}])
def test_option_that_means_nothing_to_the_layout_is_refused(tmp_path: Path, option: dict[str, Any]) -> None:
    path = _write(tmp_path / "label.csv", _HEADER + "a,1,good,1.2,,,,Positive,train\n")
    (name,) = option
    with pytest.raises(DataError, match=rf"{name} is for csd.*, 'label\.csv' is label-table.* leave {name} out"):
        prepare_source(path, tmp_path / "out", options=SourceOptions(**option))
