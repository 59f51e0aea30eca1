"""Media files: decoding into waveforms and frames within hard limits; transcripts."""

from modeling_hfr_ame.media.decode import (
    Media,
    MediaAudio,
    MediaVideo,
    decode_audio,
    decode_media,
    decode_video_frames,
)
from modeling_hfr_ame.media.limits import MediaLimits
from modeling_hfr_ame.media.speech_recognition import SpeechRecogniser
from modeling_hfr_ame.media.transcripts import TRANSCRIPT_SUFFIXES, TimedWord, read_transcript

__all__ = [
    "TRANSCRIPT_SUFFIXES",
    "Media",
    "MediaAudio",
    "MediaLimits",
    "MediaVideo",
    "SpeechRecogniser",
    "TimedWord",
    "decode_audio",
    "decode_media",
    "decode_video_frames",
    "read_transcript",
]
