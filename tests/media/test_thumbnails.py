import numpy as np
import pytest

pytest.importorskip("cv2", reason="pictures are shrunk by OpenCV")

from modeling_hfr_ame.frame_sampling import Picture
from modeling_hfr_ame.media.thumbnails import ThumbnailPicker


def pick(num_pictures: int, num_wanted: int, width: int = 320) -> list[float]:
    picker = ThumbnailPicker(num_wanted)
    for index in range(num_pictures):
        picker.add(Picture(index / 5, np.full((8, width, 3), index % 256, np.uint8)))
    thumbnails = picker.finish()
    for each in thumbnails:
        assert each.pixels.shape == (round(8 * min(1, 160 / width)), min(width, 160), 3)
        assert (each.pixels == round(each.time_s * 5) % 256).all()
    return [each.time_s for each in thumbnails]


@pytest.mark.parametrize("num_pictures", [24, 47, 48, 100, 3000])
def test_thumbnails_are_evenly_spaced_over_a_recording_of_any_length(num_pictures: int) -> None:
    times_s = pick(num_pictures, 12)
    assert len(times_s) == 12
    steps = np.diff(times_s)
    assert steps.min() > 0
    # The ends are within two steps of the recording's.
    assert times_s[0] <= 2 * steps.mean()
    assert num_pictures / 5 - times_s[-1] <= 2 * steps.mean() + 0.2
    assert steps.max() <= 2.1 * steps.min()


def test_thumbnails_of_a_short_recording_are_all_of_its_pictures() -> None:
    assert pick(3, 12) == [0.0, 0.2, 0.4]
    assert pick(5, 12, width=64) == [0.0, 0.2, 0.4, 0.6, 0.8]


def test_no_thumbnails_are_kept_where_none_are_wanted() -> None:
    assert pick(50, 0) == []
    assert pick(0, 4) == []
