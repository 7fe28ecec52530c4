"""The renderings that are committed, so that a change of the chart shows what it does.

    python -m tests.chart.golden

renders them anew into ``tests/chart/golden``.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import yaml

from tests.support.chart.helm import Helm, Object
from tests.support.chart.objects import name_of
from tests.support.chart.values import VARIANTS

FOLDER = Path(__file__).parent / "golden"
KEPT = ("defaults", "everything")
# They change with every release, and say nothing of the chart.
_VOLATILE = ("helm.sh/chart", "app.kubernetes.io/version")


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:
        return True


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
    ),
)


def path_of(variant: str) -> Path:
    return FOLDER / f"{variant}.yaml"


def text_of(objects: Sequence[Object]) -> str:
    """The objects in order of their names, without what is volatile."""
    stable = copy.deepcopy(sorted(objects, key=name_of))
    for item in stable:
        for key in _VOLATILE:
            item["metadata"].get("labels", {}).pop(key, None)
    return yaml.dump_all(stable, Dumper=_Dumper, sort_keys=False, width=10_000)


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for variant in KEPT:
        path_of(variant).write_text(text_of(Helm(4).template(files=[VARIANTS[variant]])))
        print(path_of(variant))


if __name__ == "__main__":
    main()
