"""What several tests of the gallery start from."""

from __future__ import annotations

import pytest

from tests.unit.gallery.bucket import Bucket


@pytest.fixture
def bucket() -> Bucket:
    return Bucket()
