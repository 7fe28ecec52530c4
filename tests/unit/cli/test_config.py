"""Configuration files of the commands."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from serving.cli.config import read_config, read_overrides
from serving.errors import InvalidInput
from serving.settings import AppArgs
from serving.stack.config import StackSettings, serve_config
from serving.stack.credentials import KEYS, credentials
from serving.stack.process import StackError


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    overrides = {"gallery": {"collection": "staff"}}
    path = tmp_path / "serve.yaml"
    path.write_text(yaml.safe_dump(serve_config(StackSettings(overrides=overrides))))
    return path


def test_the_arguments_are_the_applications(config: Path) -> None:
    read = read_config(config)
    assert read.args.gallery.collection == "staff"
    assert read.credentials is None
    assert not (config.parent / KEYS).exists()


def test_the_stacks_keys_are_used_and_the_environment_stays_as_it_is(config: Path) -> None:
    made = credentials(config.parent)
    before = dict(os.environ)
    assert read_config(config).credentials == made
    assert dict(os.environ) == before


def test_keys_in_the_environment_come_first(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    credentials(config.parent)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "mine")
    assert read_config(config).credentials is None


def test_overrides(tmp_path: Path) -> None:
    path = tmp_path / "args.yaml"
    path.write_text("gallery: {collection: staff}")
    assert read_overrides(path) == {"gallery": {"collection": "staff"}}
    path.write_text("")
    assert read_overrides(path) == {}
    path.write_text("galery: {}")
    with pytest.raises(StackError, match=r"args\.yaml holds no settings of the application"):
        read_overrides(path)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("galery: {}", "galery is no option of the settings; did you mean gallery?"),
        (
            "gallery: {Collection: x}",
            "gallery.Collection is no option of the settings; did you mean gallery.collection?",
        ),
        ("console: true\nconsole: false", "console is given twice"),
        ("match: {threads: '2'}", "match.threads: Input should be a valid integer."),
        ("match: {threads: 2.0}", "match.threads: Input should be a valid integer."),
        ("match: {fpir: true}", "match.fpir: Input should be a valid number."),
        ("console: 1", "console: Input should be a valid boolean."),
        (
            "match: {threshold: Auto}",
            "match.threshold: Input should be a number from -1 to 1 or 'auto'; did you mean auto?",
        ),
        (
            "match: {threshold: 2}",
            "match.threshold: Input should be a number from -1 to 1 or 'auto'.",
        ),
        (
            "match: {threshold: '0.5'}",
            "match.threshold: Input should be a number from -1 to 1 or 'auto'.",
        ),
        (
            "match: {near_misses: Enrol}",
            "match.near_misses: Input should be 'identify' or 'enrol'; did you mean enrol?",
        ),
        (
            "match: {threads: 010}",
            "match.threads: Input should be a valid integer, in digits alone, without a zero "
            "before them.",
        ),
        (
            "triton: {timeout_s: 1:30}",
            "triton.timeout_s: Input should be a valid number, in digits alone, without a zero "
            "before them.",
        ),
        (
            "match: {threshold: high}",
            "match.threshold: Input should be a number from -1 to 1 or 'auto'.",
        ),
        (
            "match: {threshold: 1e3}",
            "match.threshold: Input should be a number from -1 to 1 or 'auto'.",
        ),
        ("match: {threads: 1e3}", "match.threads: Input should be a valid integer."),
        ("triton: {timeout_s: 1e999}", "triton.timeout_s: Input should be a finite number."),
        (
            "tracing: {endpoint: 'localhost:4318'}",
            "tracing.endpoint: an address begins with http:// or https://, and has no blanks, ? "
            "or #.",
        ),
    ],
)
def test_a_mistake_in_the_settings_is_named(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "args.yaml"
    path.write_text(text)
    with pytest.raises(StackError) as overrides:
        read_overrides(path)
    assert str(overrides.value).endswith(f": {sentence}")
    path.write_text("applications: [{args:\n" + f"  {{{text}}}".replace("\n", ", ") + "}]")
    with pytest.raises(InvalidInput) as whole:
        read_config(path)
    assert str(whole.value).endswith(f": {sentence}")


@pytest.mark.parametrize("text", ["1e-3", "1E-3", "0.1e-2", "1.0e-3", "0.001"])
def test_a_number_may_have_an_exponent(tmp_path: Path, text: str) -> None:
    path = tmp_path / "args.yaml"
    path.write_text(f"match: {{fpir: {text}, threshold: {text}}}\ngallery: {{bucket: 1e-3}}\n")
    args = AppArgs.model_validate(read_overrides(path))
    assert (args.match.fpir, args.match.threshold, args.gallery.bucket) == (0.001, 0.001, "1e-3")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"[1, 2]", "the settings: Input should be an object."),
        (b"hello", "the settings: Input should be an object."),
        (b"# Schl\xfcssel", "it is not UTF-8."),
        (None, "Is a directory."),
    ],
)
def test_what_holds_no_settings_at_all(
    tmp_path: Path, content: bytes | None, sentence: str
) -> None:
    path = tmp_path / "args.yaml"
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(StackError) as caught:
        read_overrides(path)
    assert str(caught.value) == f"{path} holds no settings of the application: {sentence}"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "it has no list `applications`"),
        ("[1]", "it has no list `applications`"),
        ("hello", "it has no list `applications`"),
        ("image: {tag: x}", "it has no list `applications`"),
        ("spec: 7", "it has no list `applications`"),
        ("applications: {args: {}}", "it has no list `applications`"),
        ("applications: []", "its first application has no `args`"),
        ("applications: [{name: faces}]", "its first application has no `args`"),
        ("applications: [7]", "its first application has no `args`"),
        (
            "kind: RayService\nspec: {serveConfigV2: 'applications: []'}",
            "it is a RayService; give what stands in its spec.serveConfigV2",
        ),
    ],
)
def test_what_a_document_lacks_is_said(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(InvalidInput) as caught:
        read_config(path)
    assert str(caught.value) == f"{path} is no serveConfigV2 of this service: {sentence}"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[1]",
        b"applications: []",
        b"applications: [{name: faces}]",
        b"applications: [{args: {tritn: {}}}]",
        b"\xff\xfe\x00",
    ],
)
def test_what_is_no_configuration(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.yaml").write_bytes(content)
    with pytest.raises(InvalidInput, match=r"x\.yaml is no serveConfigV2 of this service"):
        read_config(tmp_path / "x.yaml")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("match:\n\tthreshold: 0.5\n", "line 2: there is a tab where YAML takes blanks only."),
        ("match: {threshold: 0.5\nlimits: {}\n", "line 2: while parsing a flow mapping expected"),
        ("match: [1\n", "line 2: while parsing a flow sequence expected"),
        ("match: 'a\n", "line 2: while scanning a quoted scalar found unexpected end of stream."),
        ("a: b: c\n", "line 1: mapping values are not allowed here."),
        ("a: *nothing\n", "line 1: found undefined alias 'nothing'."),
        ("a: !x 1\n", "line 1: could not determine a constructor for the tag '!x'."),
    ],
)
def test_what_is_no_yaml_is_one_sentence_with_the_file_and_the_line(
    tmp_path: Path, text: str, told: str
) -> None:
    path = tmp_path / "args.yaml"
    path.write_text(text)
    with pytest.raises(StackError) as settings:
        read_overrides(path)
    with pytest.raises(InvalidInput) as document:
        read_config(path)
    for error in (settings.value, document.value):
        assert str(error).startswith(f"{path} ")
        assert told in str(error)
        assert "\n" not in str(error)
