"""The options of a retention, as `faces enroll` has them."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest

from serving.cli.retention import retention_of
from tests.support.service import FakeService
from tests.unit.cli.shell import Faces

LATER = "2099-01-31T00:00:00Z"


def test_only_what_is_given_is_set() -> None:
    assert retention_of(None, None, reference=None) == {}
    assert retention_of(LATER, None) == {"expires_at": LATER}
    assert retention_of(None, "consent", reference="12", date=None) == {
        "legal_basis": {"kind": "consent", "reference": "12"}
    }
    with pytest.raises(click.UsageError, match="--reference needs a --basis"):
        retention_of(LATER, None, reference="12")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "people" / "7").mkdir(parents=True)
    (tmp_path / "people" / "7" / "a.jpg").write_bytes(b"\xff\xd8\xff photo")
    return tmp_path / "people"


def test_people_are_enrolled_with_it(faces: Faces, service: FakeService, folder: Path) -> None:
    service.body = {"images": [{"used": True, "reason": None}]}
    words = ("--expires-at", "2099-01-31T01:00:00+01:00", "--basis", "contract")
    assert faces("enroll", folder, *words, "--reference", "12").code == 0
    (body,) = service.bodies
    assert f'name="expires_at"\r\n\r\n{LATER}\r\n'.encode() in body
    written = body.partition(b'name="legal_basis"\r\n\r\n')[2].partition(b"\r\n")[0]
    assert json.loads(written) == {"kind": "contract", "reference": "12"}


@pytest.mark.parametrize(
    "words",
    [("--expires-at", "soon"), ("--expires-at", "2020-01-31T00:00:00Z"), ("--date", "2026-01-31")],
)
def test_a_wrong_one_enrols_nobody(
    faces: Faces, service: FakeService, folder: Path, words: tuple[str, ...]
) -> None:
    assert faces("enroll", folder, *words).code == 2
    assert service.asked == []
