"""Media files: decoding into waveforms and pictures within hard limits, in a process of its own; transcripts."""

from modeling_hfr_ame.frame_sampling import Picture
from modeling_hfr_ame.media.decode import (
    Media,
    MediaAudio,
    MediaVideo,
    decode_audio,
    decode_media,
    decode_video_frames,
)
from modeling_hfr_ame.media.isolated_decoding import MediaStream, read_media, read_waveform
from modeling_hfr_ame.media.speech_recognition import SpeechRecogniser
from modeling_hfr_ame.media.thumbnails import Thumbnail
from modeling_hfr_ame.media.transcripts import TRANSCRIPT_SUFFIXES, TimedWord, read_transcript
from modeling_hfr_ame.media_decoding import AudioBlock
from modeling_hfr_ame.media_limits import MediaLimits

__all__ = [
    "TRANSCRIPT_SUFFIXES",
    "AudioBlock",
    "Media",
    "MediaAudio",
    "MediaLimits",
    "MediaStream",
    "MediaVideo",
    "Picture",
    "SpeechRecogniser",
    "Thumbnail",
    "TimedWord",
    "decode_audio",
    "decode_media",
    "decode_video_frames",
    "read_media",
    "read_transcript",
    "read_waveform",
]
