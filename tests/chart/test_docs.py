"""What the pages on Kubernetes say: commands that helm has, and figures that were measured."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.support.chart.helm import CHART, ROOT, Helm
from tests.support.chart.values import load

PAGES = (ROOT / "README.md", CHART / "README.md", *sorted((ROOT / "k8s").glob("*.md")))
BENCH = (ROOT / "docs" / "bench.md").read_text()
SCALING = (ROOT / "k8s" / "SCALING.md").read_text()


def commands() -> dict[str, set[str]]:
    """Helm's own commands on the pages, with their long options."""
    found: dict[str, set[str]] = {}
    for page in PAGES:
        text = page.read_text().replace("\\\n", " ")
        for line in re.findall(r"^ {4,}helm ([a-z].*)$", text, flags=re.MULTILINE):
            name = next(word for word in line.split() if not word.startswith("-"))
            found.setdefault(name, set()).update(re.findall(r"\s(--[a-z][a-z-]+)", line))
    return found


def test_helm_has_every_command_and_option(helm: Helm) -> None:
    assert {"install", "upgrade", "test"} <= commands().keys()
    for name, options in commands().items():
        told = subprocess.run([helm.binary, name, "--help"], capture_output=True, text=True)
        assert told.returncode == 0, name
        known = set(re.findall(r"--[a-z][a-z-]+", told.stdout))
        assert options <= known, name


def test_every_installation_has_an_image_that_can_be_pulled() -> None:
    """A name without a registry is looked for on the container runtime's default one."""
    found = 0
    for page in PAGES:
        text = page.read_text().replace("\\\n", " ")
        for line in re.findall(r"^ {4,}helm install (.*)$", text, flags=re.MULTILINE):
            files = [load(ROOT / name) for name in re.findall(r"-f (\S+)", line)]
            repositories = [values["image"]["repository"] for values in files if "image" in values]
            repositories += re.findall(r"image\.repository=([^\s,]+)", line)
            assert repositories, f"{page.name}: {line}"
            assert "/" in repositories[-1], f"{page.name}: {line}"
            found += 1
    assert found > 3


def test_an_upgrade_takes_what_a_newer_chart_has_by_default() -> None:
    """--reuse-values leaves out every value that came after the installation."""
    for page in PAGES:
        assert not re.search(r"\s--reuse-values", page.read_text()), page


def rows(title: str) -> list[list[str]]:
    """Of the table below a heading of bench.md."""
    part = re.split(r"^## ", BENCH, flags=re.MULTILINE)
    (section,) = (text for text in part if text.startswith(f"{title}\n"))
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in section.splitlines()
        if line.startswith("|")
    ]


def milliseconds(title: str, row: str, column: int) -> float:
    (cells,) = (cells for cells in rows(title) if cells[0] == row)
    return float(cells[column].split()[0])


def mean_of_detection() -> float:
    """At the service's defaults, over all photos."""
    times = [float(cells[6].split()[0]) for cells in rows("Detection") if cells[2].isdigit()]
    return sum(times) / len(times)


@pytest.mark.parametrize(
    ("stage", "figure"),
    [
        ("decode", milliseconds("A whole request", "decode", 1)),
        ("detect, 2 threads", mean_of_detection()),
        ("Triton, 2 cores", milliseconds("Embedding", "8", 3)),
        ("match", milliseconds("A whole request", "match", 1)),
        ("ingress", milliseconds("A whole request", "HTTP", 1)),
    ],
)
def test_capacity_is_reckoned_from_the_benchmark(stage: str, figure: float) -> None:
    """When `make bench` has measured anew, the arithmetic of SCALING.md has to follow."""
    row = rf"^\| {re.escape(stage)} \| (.*) \| (.* a second) \|$"
    ((told, most),) = re.findall(row, SCALING, flags=re.MULTILINE)
    assert float(told.split()[0]) == pytest.approx(figure, abs=0.5)
    divisor, result = re.findall(r"[\d.]+", most)[1:3]
    assert float(divisor) * 1000 == pytest.approx(figure, abs=0.5)
    assert float(result) == pytest.approx(1000 / figure, rel=0.02)


def test_the_check_of_the_sum_is_of_the_benchmark() -> None:
    measured, _ = re.findall(r"^8 clients: \*\*([\d.]+) photos a second", BENCH, flags=re.MULTILINE)
    assert f"Measured with 8 clients: {measured}." in SCALING


OURS = ("rayservice", "inferenceservice", "isvc", "ingress", "cronjob", "networkpolicy", "secret")


def test_a_patch_of_what_is_the_charts_says_what_the_next_upgrade_does() -> None:
    """With Helm 4 the field belongs to kubectl from then on."""
    for page in PAGES:
        text = page.read_text()
        for patch in re.finditer(r"kubectl\s[^\n`]*?\bpatch\s+(\w+)[^\n`]*", text):
            if patch[1] not in OURS or "--subresource=status" in patch[0]:
                continue
            if '"finalizers": null' in patch[0]:  # of what is being deleted
                continue
            if "What does not work" in text[: patch.start()].rpartition("\n#")[2]:
                continue
            around = text[max(0, patch.start() - 1500) : patch.end() + 1500]
            assert "--force-conflicts" in around, f"{page.name}: {patch[0]}"
