"""A gallery's version: its number, and the commit that made it."""

from __future__ import annotations


class Version(int):
    """The number of a version, with the id of the commit that made it.

    After a restore from a backup, or in a folder that was emptied, a number comes a second time;
    the id of a commit never does. It is an integer wherever only the number counts, as in HTTP.

    Attributes:
        commit: None: version 0, or a number whose commit is not known.
    """

    commit: str | None

    def __new__(cls, number: int, commit: str | None = None) -> Version:
        version = super().__new__(cls, number)
        version.commit = commit
        return version

    def __reduce__(self) -> tuple[type[Version], tuple[int, str | None]]:
        return Version, (int(self), self.commit)

    @classmethod
    def of(cls, number: int) -> Version:
        """The number as a version; the commit is not known unless it is one already."""
        return number if isinstance(number, Version) else cls(number)
