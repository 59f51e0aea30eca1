"""Prediction for recordings: one score, a timeline, a restoration view, and figures of them."""

from modeling_hfr_ame.media import TimedWord
from modeling_hfr_ame.prediction.clip import Clip, Thumbnail
from modeling_hfr_ame.prediction.figure_style import save_figure
from modeling_hfr_ame.prediction.files import (
    PredictionOptions,
    list_media_files,
    predict_file,
    predict_files,
)
from modeling_hfr_ame.prediction.predictor import Predictor
from modeling_hfr_ame.prediction.recipes import CorruptionChoice, corruption_choices, recipe_name
from modeling_hfr_ame.prediction.restoration_figure import draw_restoration
from modeling_hfr_ame.prediction.restoration_view import ModalityRestoration, RestorationView
from modeling_hfr_ame.prediction.results import FilePrediction, Prediction, Timeline, Window
from modeling_hfr_ame.prediction.severity_figure import draw_severity
from modeling_hfr_ame.prediction.tables import csv_rows, write_csv
from modeling_hfr_ame.prediction.timeline_figure import draw_timeline

__all__ = [
    "Clip",
    "CorruptionChoice",
    "FilePrediction",
    "ModalityRestoration",
    "Prediction",
    "PredictionOptions",
    "Predictor",
    "RestorationView",
    "Thumbnail",
    "TimedWord",
    "Timeline",
    "Window",
    "corruption_choices",
    "csv_rows",
    "draw_restoration",
    "draw_severity",
    "draw_timeline",
    "list_media_files",
    "predict_file",
    "predict_files",
    "recipe_name",
    "save_figure",
    "write_csv",
]
