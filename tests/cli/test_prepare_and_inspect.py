import pickle
from pathlib import Path

import matplotlib.image
import pytest
from typer.testing import CliRunner

from modeling_hfr_ame.cli import app, main
from modeling_hfr_ame.data import open_source
from modeling_hfr_ame.errors import DataError
from tests.data.sources.layout_making import mmsa_tree


def _save(tmp_path: Path) -> Path:
    path = tmp_path / "unaligned_50.pkl"
    path.write_bytes(pickle.dumps(mmsa_tree(), protocol=4))
    return path


def test_prepare_finds_the_layout_out_and_reports_counts_and_rules(tmp_path: Path) -> None:
    source = _save(tmp_path)
    result = CliRunner().invoke(app, ["prepare", str(source), "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "layout: mmsa-unaligned; dataset cmu_mosi, labels in [-3.0, 3.0]"
    assert "stored: train 9 rows (text 9, audio 9, vision 9)" in lines
    assert any(line.startswith("count: train 9: 1275 fewer than published") for line in lines)
    assert any(line.startswith("rule padding_cut: ") for line in lines)
    assert lines[-1] == f"stored dataset: {tmp_path / 'out'}"


def test_prepare_options_overrule_what_was_found(tmp_path: Path) -> None:
    source = _save(tmp_path)
    words = ["prepare", str(source), "--out", str(tmp_path / "out"), "--name", "mine", "--label-range", "-5", "5"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("layout: mmsa-unaligned; dataset mine, labels in [-5.0, 5.0]")


def test_prepare_without_source_says_what_to_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="prepare needs a SOURCE, found none"):
        main(["--debug", "prepare", "--out", str(tmp_path / "out")])


def test_prepare_an_unknown_source_lists_what_is_read(tmp_path: Path) -> None:
    (tmp_path / "notes.docx").write_text("x")
    with pytest.raises(DataError, match=r"a source is a feature pickle, .* found \.docx at 'notes\.docx'"):
        main(["--debug", "prepare", str(tmp_path / "notes.docx"), "--out", str(tmp_path / "out")])


def test_inspect_prints_a_sheet_and_draws_one_picture(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    assert CliRunner().invoke(app, ["prepare", str(_save(tmp_path)), "--out", str(folder)]).exit_code == 0
    result = CliRunner().invoke(app, ["inspect", str(folder)])
    assert result.exit_code == 0, result.output
    sheet = result.stdout
    assert "train: 9 rows of 3 videos, 9 with all three modalities; labels" in sheet
    assert "audio: absent in 0.0% of rows; frames min / median / 95 % / max 5 / 6 / 8 / 8" in sheet
    assert "audio: 5 features, standard deviations" in sheet
    picture = matplotlib.image.imread(folder / "data_sheet.png")
    assert picture.shape[0] > 500
    assert picture[..., :3].std() > 0.05


def test_inspect_an_unknown_sample_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    assert CliRunner().invoke(app, ["prepare", str(_save(tmp_path)), "--out", str(folder)]).exit_code == 0
    with pytest.raises(DataError, match=r"--sample must be the id of a row, found 'nobody' in none of train"):
        main(["--debug", "inspect", str(folder), "--sample", "nobody"])


def test_prepare_a_folder_of_clips_with_its_table_inside_is_a_folder_of_clips(tmp_path: Path) -> None:
    (tmp_path / "segmented_video").mkdir()
    (tmp_path / "segmented_video" / "a_1.mp4").write_bytes(b"")
    (tmp_path / "labels.csv").write_text("video_id,clip_id,text,label,mode\na,1,so,1.0,train\n")
    with pytest.raises(DataError, match="a folder of clips needs a label table, found no --labels"):
        main(["--debug", "prepare", str(tmp_path), "--out", str(tmp_path / "out")])
    with pytest.raises(DataError, match="a folder of clips is converted by prepare_mosi_clips"):
        open_source(tmp_path)
