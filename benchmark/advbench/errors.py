"""Errors that a person can act on: shown as one line, without a traceback."""


class AdvbenchError(Exception):
    """Something outside the program is wrong; the message says what, where, and what to do. The CLI exits with 2."""


class MalformedError(AdvbenchError):
    """A value in a database has not the form that its column has."""


class PluginError(AdvbenchError):
    """A plugin broke the contract; the message names the plugin."""


class AccessError(PluginError):
    """An attack asked for more than it declared."""


class DamagedTargetError(PluginError):
    """An attack left its target other than it was; the target has to be made again before anybody else meets it."""


TIME_UP = "ran past its time limit"


class TimeUpError(AdvbenchError):
    """A cell ran past its time limit."""


def describe(error: BaseException) -> str:
    """An error in one line: our own words as they are, others' with their kind."""
    text = " ".join(words(error).split())[:500]
    if isinstance(error, PluginError | TimeUpError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def words(error: BaseException) -> str:
    """An error's message; a stranger's class may fail even at that."""
    try:
        return str(error)
    except KeyboardInterrupt:
        raise
    except BaseException:
        return "(its message can't be read)"
