"""The one exception a person can cause: it ends a command in one line and exit code 2, without a traceback."""


class UserError(Exception):
    """A wrong parameter, file or machine set-up. The text names the culprit, its value and what is allowed."""
