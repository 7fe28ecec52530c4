from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from serving.errors import InvalidInput
from serving.gallery import Kind, Operation, Segment
from serving.gallery.interchange import ExportFile, write_export
from tests.support.names import SCRIPTS
from tests.support.people import DIMENSION, MODEL, put, unit_rows

METADATA = {"format": "faces-export/1", "model": MODEL, "names": json.dumps({"7": "Ada"})}


def columns() -> dict[str, Any]:
    return {
        "ids": np.array([7, 3, 5]),
        "counts": np.array([2, 1, 3], np.int32),
        "embeddings": unit_rows(6, DIMENSION).astype(np.float16),
    }


def write(path: Path, columns: dict[str, Any], metadata: dict[str, str] | None) -> Path:
    safetensors.numpy.save_file(columns, path, metadata=metadata)
    return path


def read(path: Path, **options: int) -> list[Segment]:
    return list(ExportFile.open(path).segments(Kind.PUT, 5.0, **options))


def test_a_file_that_was_made_by_hand(tmp_path: Path) -> None:
    path = write(tmp_path / "x.safetensors", columns(), METADATA)
    export = ExportFile.open(path)
    assert (export.model, export.ids.tolist()) == (MODEL, [7, 3, 5])
    (segment,) = export.segments(Kind.APPEND, 5.0)
    assert segment.kind.tolist() == [Kind.APPEND] * 3
    assert segment.count.tolist() == [2, 1, 3]
    assert segment.created.tolist() == segment.updated.tolist() == [5.0] * 3
    assert list(segment.each_details()) == [{"name": "Ada"}, {}, {}]
    np.testing.assert_allclose(segment.embeddings, unit_rows(6, DIMENSION), atol=1e-3)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    details = {"name": "Eve", "metadata": {"desk": "4ü"}}
    people = [
        put(7, 2, name="Ada"),
        Operation(Kind.PUT, 3, 50.0, unit_rows(1, DIMENSION), details=details),
    ]
    parts = [Segment.of([person], DIMENSION) for person in people]
    path = tmp_path / "x.safetensors"
    write_export(path, MODEL, DIMENSION, parts)
    (segment,) = read(path)
    # Normalising again moves a float16 by one unit at most.
    np.testing.assert_allclose(segment.embeddings, Segment.joined(parts).embeddings, atol=5e-4)
    for column in ("id", "count", "created", "updated"):
        np.testing.assert_array_equal(
            getattr(segment, column), getattr(Segment.joined(parts), column)
        )
    assert list(segment.each_details()) == [{"name": "Ada"}, details]
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_an_empty_gallery_is_written_too(tmp_path: Path) -> None:
    write_export(tmp_path / "x", MODEL, DIMENSION, [])
    assert read(tmp_path / "x") == []


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        write_export(tmp_path / "missing" / "x", MODEL, DIMENSION, [])


def test_many_people_come_in_parts(tmp_path: Path) -> None:
    parts = read(write(tmp_path / "x.safetensors", columns(), METADATA), rows_at_once=2)
    # The last one has more rows than a part, but cannot be torn apart.
    assert [p.id.tolist() for p in parts] == [[7], [3], [5]]
    np.testing.assert_allclose(
        np.concatenate([p.embeddings for p in parts]), unit_rows(6, DIMENSION), atol=1e-3
    )


@pytest.mark.parametrize(
    "change",
    [
        {"ids": np.array([7, 7, 5])},
        {"counts": np.array([2, 1, 2], np.int32)},
        {"counts": np.array([6], np.int32)},
        {"embeddings": np.ones(6, np.float32)},
    ],
)
def test_a_file_that_contradicts_itself(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=r"x\.safetensors"):
        ExportFile.open(write(tmp_path / "x.safetensors", columns() | change, METADATA))


@pytest.mark.parametrize(
    "change",
    [
        {"ids": np.array([-7, 1, 5])},
        {"counts": np.array([3, 0, 3], np.int32)},
        {"embeddings": np.zeros((6, DIMENSION), np.float32)},
        {"embeddings": np.full((6, DIMENSION), np.nan, np.float32)},
        {"created": np.zeros(2)},
        {"details_length": np.array([9, 0, 0], np.int32), "details": np.zeros(9, np.uint8)},
        {"details_length": np.array([2, 0, 0], np.int32), "details": np.zeros(9, np.uint8)},
    ],
    ids=["negative id", "no photo", "zeros", "nan", "times", "no json", "too long"],
)
def test_what_no_gallery_can_hold(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=r"x\.safetensors is no usable export"):
        read(write(tmp_path / "x.safetensors", columns() | change, METADATA))


@pytest.mark.parametrize("names", ["{", '["Ada"]', '{"7": 7}'])
def test_names_that_are_none(tmp_path: Path, names: str) -> None:
    said = r"x\.safetensors(: the person 7: A name is text| is no usable export)"
    with pytest.raises(InvalidInput, match=said):
        read(write(tmp_path / "x.safetensors", columns(), METADATA | {"names": names}))


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ({"007": "Ada"}, "names has 007, which is no id of the file; write 7"),
        ({" 7": "Ada"}, "names has  7, which is no id of the file; write 7"),
        ({"7": "Ada", "8": "Eve"}, "names has 8, which is no id of the file$"),
        ({"7.0": "Ada"}, r"names has 7\.0, which is no id of the file$"),
        ({"Ada": "7"}, "names has Ada, which is no id of the file$"),
        ({"": "Ada"}, 'names has "", which is no id of the file$'),
        ({"0" * 9000: "Ada"}, "which is no id of the file$"),
        ({"7": ""}, "the person 7: A name has 1 to 200 characters"),
    ],
)
def test_a_name_that_is_nobodys_is_not_ignored(
    tmp_path: Path, names: dict[str, str], says: str
) -> None:
    path = write(tmp_path / "x.safetensors", columns(), METADATA | {"names": json.dumps(names)})
    with pytest.raises(InvalidInput, match=says.replace("$", r"\.$")):
        read(path)


def test_a_name_given_twice_is_refused(tmp_path: Path) -> None:
    names = METADATA | {"names": '{"7": "Ada", "7": "Eve"}'}
    with pytest.raises(InvalidInput, match="7 is given twice"):
        ExportFile.open(write(tmp_path / "x.safetensors", columns(), names))


def test_names_beside_details_would_not_be_read(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="it has names and details"):
        ExportFile.open(write(tmp_path / "x.safetensors", with_details(b"{}"), METADATA))


def test_metadata_that_would_not_be_read(tmp_path: Path) -> None:
    wrong = {**METADATA, "Names": "{}"}
    says = "Names is no option of its metadata; did you mean names?"
    with pytest.raises(InvalidInput, match=re.escape(says)):
        ExportFile.open(write(tmp_path / "x.safetensors", columns(), wrong))


def with_details(*each: bytes) -> dict[str, Any]:
    lengths = [len(one) for one in each] + [0] * (3 - len(each))
    return columns() | {
        "details_length": np.array(lengths, np.int32),
        "details": np.frombuffer(b"".join(each), np.uint8),
    }


@pytest.mark.parametrize(
    ("details", "says"),
    [
        (b'{"nmae": "Ada"}', "the person 7: nmae is no option of the details; did you mean name?"),
        (b'{"Name": "Ada"}', "the person 7: Name is no option of the details; did you mean name?"),
        (b'{"name": "Ada", "name": "Eve"}', "the person 7: name is given twice."),
        (b'{"metadata": {"a": 1, "a": 2}}', "the person 7: a is given twice."),
        (b'["Ada"]', "the person 7: The details are no object."),
        (b'{"name": ""}', "the person 7: A name has 1 to 200 characters."),
        (b"[" * 20_000 + b"]" * 20_000, "is no usable export"),
        (b'{"name": "\xff"}', "is no usable export"),
    ],
)
def test_details_that_would_not_be_read(tmp_path: Path, details: bytes, says: str) -> None:
    metadata = {"format": "faces-export/1", "model": MODEL}
    path = write(tmp_path / "x.safetensors", with_details(details), metadata)
    with pytest.raises(InvalidInput, match=re.escape(says)):
        read(path)


def test_details_that_are_known(tmp_path: Path) -> None:
    metadata = {"format": "faces-export/1", "model": MODEL}
    known = b'{"name": "Ada", "metadata": {"x": {"x": 1}}}'
    (segment,) = read(write(tmp_path / "x.safetensors", with_details(b"", known), metadata))
    assert list(segment.each_details()) == [{}, json.loads(known), {}]


@pytest.mark.parametrize("metadata", [None, {"format": "other"}, {"format": "faces-export/1"}])
def test_other_safetensors_files_are_refused(
    tmp_path: Path, metadata: dict[str, str] | None
) -> None:
    with pytest.raises(InvalidInput, match="export"):
        ExportFile.open(write(tmp_path / "x", columns(), metadata))


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"hello")
    with pytest.raises(InvalidInput, match="no usable export"):
        ExportFile.open(tmp_path / "x")
    with pytest.raises(InvalidInput, match="cannot be read"):
        ExportFile.open(tmp_path / "missing")


@pytest.mark.parametrize(
    ("details", "word"),
    [
        ({"name": "Eve\x1b[2J"}, "no control characters"),
        ({"name": " "}, "can be seen"),
        ({"name": "Eve\u202etxt"}, "direction"),
        ({"metadata": {"t": "x" * 5000}}, "4096 bytes"),
    ],
)
def test_what_no_request_could_store_is_not_imported(
    tmp_path: Path, details: dict[str, Any], word: str
) -> None:
    person = Operation(Kind.PUT, 3, 50.0, unit_rows(1, DIMENSION), details=details)
    write_export(tmp_path / "x.safetensors", MODEL, DIMENSION, [Segment.of([person], DIMENSION)])
    with pytest.raises(InvalidInput, match=rf"x\.safetensors: the person 3: .*{word}"):
        read(tmp_path / "x.safetensors")
    if "name" in details:
        names = json.dumps({"7": details["name"]})
        write(tmp_path / "hand.safetensors", columns(), {**METADATA, "names": names})
        with pytest.raises(InvalidInput, match=rf"the person 7: .*{word}"):
            read(tmp_path / "hand.safetensors")


@pytest.mark.parametrize("name", SCRIPTS.values(), ids=list(SCRIPTS))
def test_a_name_of_any_script_is_imported_as_it_is(tmp_path: Path, name: str) -> None:
    names = json.dumps({"7": name})
    path = write(tmp_path / "x.safetensors", columns(), {**METADATA, "names": names})
    assert [d.get("name") for d in read(path)[0].each_details()] == [name, None, None]


def test_a_name_that_is_given_twice_is_refused(tmp_path: Path) -> None:
    metadata = {**METADATA, "names": '{"7": "Ada", "7": "Eve"}'}
    path = write(tmp_path / "x.safetensors", columns(), metadata)
    with pytest.raises(InvalidInput, match="7 is given twice"):
        read(path)


@pytest.mark.parametrize(
    "change",
    [
        {"ids": np.array([7.5, 3.0, 5.0])},
        {"ids": np.array([2.0**60, 3.0, 5.0], np.float32)},
        {"ids": np.array([True, False, True])},
        {"counts": np.array([2.0, 1.0, 3.0])},
    ],
    ids=lambda change: str(change)[:40],
)
def test_ids_and_counts_are_whole_numbers(tmp_path: Path, change: dict[str, Any]) -> None:
    path = write(tmp_path / "x.safetensors", {**columns(), **change}, METADATA)
    with pytest.raises(InvalidInput, match="are whole numbers"):
        ExportFile.open(path)


@pytest.mark.parametrize(
    ("lengths", "size"),
    [
        ([13, 0, 0], 12),
        ([15, -3, 0], 12),
        ([0, 0, 0], 12),
        ([12, 0], 12),
        (None, 12),
        ([0] * 3, -1),
    ],
)
def test_details_are_as_long_as_they_say(
    tmp_path: Path, lengths: list[int] | None, size: int
) -> None:
    details = b'{"name":"A"}'
    change = {} if lengths is None else {"details_length": np.array(lengths, np.int32)}
    if size > 0:
        change["details"] = np.frombuffer(details, np.uint8)
    path = write(tmp_path / "x.safetensors", {**columns(), **change}, METADATA)
    with pytest.raises(InvalidInput, match="details"):
        ExportFile.open(path)


@pytest.mark.parametrize("column", ["created", "updated"])
@pytest.mark.parametrize("time", [np.nan, np.inf])
def test_a_time_that_no_answer_can_tell_is_refused(
    tmp_path: Path, column: str, time: float
) -> None:
    change = {column: np.array([1.0, time, 3.0])}
    path = write(tmp_path / "x.safetensors", {**columns(), **change}, METADATA)
    with pytest.raises(InvalidInput, match=f"{column} holds a time that is not finite"):
        ExportFile.open(path)
