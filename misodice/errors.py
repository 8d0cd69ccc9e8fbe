"""The one error a user's mistake raises: printed without a traceback by the command line."""


class MisodiceError(ValueError):
    """Bad input: the message names the file or option, what was found, what was expected and what to do."""
