"""The old name of `app` and `settings`, kept until 0.2."""

from self_coding.app import App as Layer
from self_coding.app import choose_editor, model_editor
from self_coding.app import open_app as open_layer
from self_coding.settings import Settings, read_settings, settings_of

__all__ = [
    "Layer",
    "Settings",
    "choose_editor",
    "model_editor",
    "open_layer",
    "read_settings",
    "settings_of",
]
