"""Errors a user can act on: each message names what is wrong, what is allowed and what to do next."""


class StudyError(Exception):
    """Bad input, found before work starts. The message is complete: print it without a traceback."""


class BrokenWeights(StudyError):
    """A model predicts values that are not numbers. Whoever trains it knows why."""


class CorruptFile(StudyError):
    """A published file is not what was published. Nothing may be read from it."""
