"""Errors that a person can act on: shown as one line, without a traceback."""


class AdvbenchError(Exception):
    """Something outside the program is wrong; the message says what, where, and what to do. The CLI exits with 2."""


class PluginError(AdvbenchError):
    """A plugin broke the contract; the message names the plugin."""


class AccessError(PluginError):
    """An attack asked for more than it declared."""


class TimeUpError(AdvbenchError):
    """A cell ran past its time limit."""
