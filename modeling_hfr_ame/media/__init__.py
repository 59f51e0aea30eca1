"""Media files: decoding into waveforms and frames within hard limits."""

from modeling_hfr_ame.media.decode import (
    Media,
    MediaAudio,
    MediaVideo,
    decode_audio,
    decode_media,
    decode_video_frames,
)
from modeling_hfr_ame.media.limits import MediaLimits

__all__ = ["Media", "MediaAudio", "MediaLimits", "MediaVideo", "decode_audio", "decode_media", "decode_video_frames"]
