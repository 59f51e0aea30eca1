"""The web page: a recording or a text in, its score under chosen corruption out. Needs Gradio, the extra `demo`."""

from modeling_hfr_ame.widget.clip_scorer import ClipScorer, Comparison
from modeling_hfr_ame.widget.server import LOOPBACK, WidgetSettings, open_widget, serve_widget

__all__ = ["LOOPBACK", "ClipScorer", "Comparison", "WidgetSettings", "open_widget", "serve_widget"]
