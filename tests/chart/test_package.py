"""`make chart-package`: the archive of the chart renders as its folder does."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

from tests.support.chart.helm import CHART, ROOT, Helm
from tests.support.chart.values import VARIANTS


def test_the_archive_renders_as_the_folder_does(helm: Helm, tmp_path: Path) -> None:
    command = [str(helm.binary), "package", str(CHART), "--destination", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)
    (archive,) = tmp_path.iterdir()
    for values in VARIANTS.values():
        assert helm.template(chart=archive, files=[values]) == helm.template(files=[values])


def test_make_packages_it() -> None:
    done = subprocess.run(
        ["make", "--dry-run", "--old-file=tools", "chart-package"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    (command,) = [line for line in done.stdout.splitlines() if "helm package" in line]
    program, word, chart, *_ = shlex.split(command)
    assert ROOT / program == Helm(4).binary
    assert (word, ROOT / chart) == ("package", CHART)
