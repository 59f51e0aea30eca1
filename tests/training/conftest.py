from pathlib import Path

import pytest

from modeling_hfr_ame.data import prepare_synthetic_talkers


@pytest.fixture(scope="session")
def talkers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stored dataset of a few generated talkers."""
    out = tmp_path_factory.mktemp("data") / "talkers"
    return prepare_synthetic_talkers(out, num_train=26, num_validation=8, num_test=4)
