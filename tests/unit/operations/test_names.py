"""The file of people's names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from serving.operations.folders import people_in
from serving.operations.names import NotPeople, id_of, names_of, unused_sentence
from tests.support.names import INVISIBLE, SCRIPTS


def photos_in(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"\xff\xd8\xff photo")


def test_people_get_their_names(tmp_path: Path) -> None:
    for person in ("7", "8"):
        photos_in(tmp_path / person, "a.jpg")
    names = tmp_path / "names.json"
    names.write_bytes('{"7": "José", "99": "Eve"}'.encode())
    assert [(p.id, p.name) for p in people_in(tmp_path, names).people] == [
        (7, "José"),
        (8, None),
    ]


def test_they_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    photos_in(tmp_path / "7", "a.jpg")
    names = tmp_path / "names.json"
    names.write_bytes(b'\xef\xbb\xbf{"7": "Ada"}')  # as Windows writes it
    assert [p.name for p in people_in(tmp_path, names).people] == ["Ada"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("[]", " is no JSON object from id to name, each id once."),
        ("7", " is no JSON object from id to name, each id once."),
        ('{"7": NaN}', " is no JSON object from id to name, each id once."),
        ("[" * 100_000, " is no JSON object from id to name, each id once."),
        ("", " is no JSON: Expecting value (line 1, column 1)."),
        (
            '{"7": "Ada"\n "8": "Eve"}',
            " is no JSON: Expecting ',' delimiter (line 2, column 2).",
        ),
        ("\udcff", " is not UTF-8."),
        ('{"7": "Jos\udce9"}', " is not UTF-8."),
        ('{"ada": "7"}', ": ada is no id; ids are whole numbers."),
        ('{"1_0": "Ada"}', ": 1_0 is no id; ids are whole numbers."),
        ('{"+7": "Ada"}', ": +7 is no id; ids are whole numbers."),
        ('{"٧": "Ada"}', ": ٧ is no id; ids are whole numbers."),
        ('{"7": null}', ": the name of 7 is no text."),
        ('{"7": 8}', ": the name of 7 is no text."),
        ('{"7": "Ada", "7": "Eve"}', ": the id 7 is given twice."),
        ('{"7": "Ada", "007": "Eve"}', ": the id 7 is given twice, once as 007."),
    ],
)
def test_a_file_that_holds_no_names(tmp_path: Path, content: str, sentence: str) -> None:
    photos_in(tmp_path / "7", "a.jpg")
    names = tmp_path / "names.json"
    names.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(NotPeople) as caught:
        people_in(tmp_path, names)
    assert str(caught.value) == f"{names}{sentence}"


@pytest.mark.parametrize("name", INVISIBLE.values(), ids=list(INVISIBLE))
def test_a_name_that_no_request_could_store(tmp_path: Path, name: str) -> None:
    photos_in(tmp_path / "7", "a.jpg")
    names = tmp_path / "names.json"
    names.write_text(json.dumps({"7": name}))
    with pytest.raises(NotPeople, match=r"names\.json: the name of 7: A name needs"):
        people_in(tmp_path, names)


def test_names_of_any_script(tmp_path: Path) -> None:
    names = tmp_path / "names.json"
    for number, _ in enumerate(SCRIPTS):
        photos_in(tmp_path / str(number), "a.jpg")
    texts = {str(number): name for number, name in enumerate(SCRIPTS.values())}
    names.write_text(json.dumps(texts, ensure_ascii=False), encoding="utf-8")
    found = people_in(tmp_path, names)
    assert {str(p.id): p.name for p in found.people} == texts


def test_the_names_that_come_with_the_photos() -> None:
    data = Path(__file__).resolve().parents[3] / "data"
    names = json.loads((data / "names.json").read_text())
    (person,) = people_in(data / "2576", data / "names.json").people
    assert person.name == names["2576"]


def test_ids_are_ascii_digits() -> None:
    assert id_of("007") == 7
    assert id_of(str(2**63)) is id_of("٧") is id_of("") is None


def test_bytes_of_a_bucket_are_read_as_a_file() -> None:
    assert names_of(b'{"7": "Ada"}', "s3://x/names.json") == {7: "Ada"}
    with pytest.raises(NotPeople, match=r"s3://x/names.json is no JSON"):
        names_of(b"", "s3://x/names.json")


def test_ids_without_photos() -> None:
    assert unused_sentence([], "names.json") is None
    assert unused_sentence([1, 2, 3, 4], "n") == (
        "n also names 4 ids without photos here: 1, 2, 3, …."
    )
