"""The one kind of error that a user is meant to read.

Everything that is wrong with the *input* (a file, an option, a missing extra)
is raised as :class:`InputError`; everything that a gate or a check refused is
raised as :class:`GateError`. The command line prints both as one line and
leaves with their ``exit_code``; any other exception is a bug of ours.
"""

from __future__ import annotations


class AcfError(Exception):
    """A message for the user: what was wrong, and what to do about it.

    Args:
        problem: one sentence that names the offending thing and the defect.
        remedy: one sentence that says what to do; may be empty.
    """

    exit_code = 1

    def __init__(self, problem: str, remedy: str = "") -> None:
        self.problem = problem.rstrip()
        self.remedy = remedy.rstrip()
        super().__init__(f"{self.problem} {self.remedy}".rstrip())


class InputError(AcfError):
    """Bad input: a file, a folder, an option. Exit code 2."""

    exit_code = 2


class MissingExtraError(InputError):
    """A feature needs packages that an extra of this distribution brings.

    Args:
        feature: what was asked for, e.g. ``"training"``.
        package: the import that failed, e.g. ``"torch"``.
        extra: the name of the extra, e.g. ``"build"``.
    """

    def __init__(self, feature: str, package: str, extra: str) -> None:
        super().__init__(
            f"{feature} needs the package '{package}', which is not installed.",
            f"Run: pip install 'acf-edge[{extra}]'",
        )


class GateError(AcfError):
    """A quality or speed gate said no. Exit code 1."""

    exit_code = 1
