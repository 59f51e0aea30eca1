import json
import re

import pytest

from modeling_hfr_ame.errors import DataError
from modeling_hfr_ame.evaluation.run_folders import find_runs, load_run


def make_record(folder, seed, **record):
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"seed": seed} | record))
    return folder


def test_find_runs_parent_of_seeds_gives_runs_by_seed(tmp_path):
    for seed in (1113, 42, 1111):
        make_record(tmp_path / f"seed-{seed}", seed)
    assert [run.seed for run in find_runs(tmp_path)] == [42, 1111, 1113]


def test_find_runs_single_folder_and_list_of_folders_are_read(tmp_path):
    a, b = make_record(tmp_path / "a", 2, note="x"), make_record(tmp_path / "b", 1)
    assert [run.folder for run in find_runs([a, str(b)])] == [b, a]
    assert find_runs(a)[0].record == {"seed": 2, "note": "x"}


def test_find_runs_folder_without_run_raises(tmp_path):
    with pytest.raises(DataError, match=re.escape("run.json or a parent of seed-* folders, found neither in")):
        find_runs(tmp_path)


def test_find_runs_no_path_raises():
    with pytest.raises(DataError, match="at least one run, found none"):
        find_runs([])


def test_find_runs_unfinished_seed_raises_with_its_name(tmp_path):
    make_record(tmp_path / "seed-1", 1)
    (tmp_path / "seed-2").mkdir()
    with pytest.raises(DataError, match=r"every seed of a run must be finished, .* has no run\.json in seed-2"):
        find_runs(tmp_path)


def test_find_runs_same_seed_twice_raises(tmp_path):
    runs = [make_record(tmp_path / name, 7) for name in "ab"]
    with pytest.raises(DataError, match="must have different seeds, found seed 7 more than once"):
        find_runs(runs)


@pytest.mark.parametrize("content", ["{", "{}", '{"seed": "x"}', "[1]"])
def test_find_runs_damaged_record_raises(tmp_path, content):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(DataError, match=r"run\.json must be JSON with a whole number as seed"):
        find_runs(tmp_path)


def test_load_run_folder_without_model_raises(tmp_path):
    run = find_runs(make_record(tmp_path / "empty", 1))[0]
    with pytest.raises(DataError, match="a run folder must hold a saved model and processor"):
        load_run(run)
