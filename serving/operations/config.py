"""The configuration that an operator's command works with: settings, and the keys of the bucket."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from serving.settings import AppArgs


@dataclass(frozen=True)
class Config:
    """Settings of the application, and the keys of its bucket.

    Attributes:
        credentials: as for `serving.gallery.s3.connect`; None: boto3's own chain.
    """

    args: AppArgs
    credentials: Mapping[str, str] | None = dataclasses.field(default=None, repr=False)

    def of_collection(self, collection: str | None) -> Config:
        """The same with another collection; None: the configured one."""
        if collection is None:
            return self
        gallery = self.args.gallery.model_copy(update={"collection": collection})
        return Config(self.args.model_copy(update={"gallery": gallery}), self.credentials)
