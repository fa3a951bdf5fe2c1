"""Whose fault it is, and what the one who catches it should do.

Every error that may reach a person derives from MirrornetError; its text is one line that names the file, line or
peer and says what to do next.  The command line prints that line and exits with `exit_code`.  Anything else that
escapes is a bug of ours.  A rejected RPSL object, a failed probe, a mirror that was passed over are values, not
exceptions (Problem, Outcome, Reason).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mirrornet.model.problem import Problem


class MirrornetError(Exception):
    """The root.  `exit_code`: 1 it failed, 2 the input is wrong, 3 a limit was exceeded."""

    exit_code = 1


class InputError(MirrornetError):
    """What the operator wrote or named is wrong: mend it and call again.  Never retried."""

    exit_code = 2


class ConfigError(InputError):
    """One or more faults of zone files, all of them."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


class LimitError(MirrornetError):
    """A limit that the operator set was exceeded; nothing was changed."""

    exit_code = 3


class PeerError(MirrornetError):
    """Another machine is to blame: ask a different one."""


class Unreachable(PeerError):
    """No answer, or not in time."""


class Busy(Unreachable):
    """The peer answers that it has no time just now (429, 503).  `after`: seconds until it may be asked again."""

    def __init__(self, text: str, after: float) -> None:
        super().__init__(text)
        self.after = after


class Missing(PeerError):
    """The peer answers and says that it does not have this (404, 403).  Not a fault of the whole peer."""


class Untrusted(PeerError):
    """The peer's bytes are not what was signed or named: bad hash, bad signature, rollback, malformed.

    Never retried on the same bytes; the peer is blamed by name.
    """


class Expired(Untrusted):
    """Signed, but too old to be believed now."""


class LocalError(MirrornetError):
    """Our own machine cannot: disk full, no /dev/fuse, port in use.  No mirror is blamed."""
