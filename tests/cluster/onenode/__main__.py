"""The commands of the cluster of one node; see the package."""

from __future__ import annotations

import argparse
import os
import sys

from tests.cluster.onenode import home as homes
from tests.cluster.onenode import lifecycle, machine, namespaces
from tests.cluster.onenode.home import ClusterError, Home, Missing
from tests.support.chart.helm import Helm
from tests.support.chart.tools import FOLDER

LACKING = 3  # the exit status when the machine cannot have a cluster


def main() -> int:
    if sys.argv[1:2] == ["run"] and len(sys.argv) > 2:
        return _enter(homes.from_environment(), sys.argv[2:])
    parser = argparse.ArgumentParser(
        description="A Kubernetes of one node on this machine.",
        epilog=f"{homes.VARIABLE} names its folder; default: {homes.DEFAULT}.",
    )
    commands = parser.add_subparsers(required=True, dest="command", metavar="COMMAND")
    commands.add_parser("check", help=f"ends with {LACKING} when this machine cannot have one")
    commands.add_parser("build", help="packages of Debian, Go modules, the images' base")
    commands.add_parser("up", help="start it, and make the chart's images from this checkout")
    commands.add_parser("images", help="make the chart's images again")
    commands.add_parser("run", help="run a command in its network, with KUBECONFIG set")
    commands.add_parser("down", help="remove all but what was built")
    command = parser.parse_args().command
    home = homes.from_environment()
    if command == "check":
        machine.check(home)
    elif command == "build":
        lifecycle.build(home)
    elif command == "up":
        lifecycle.build(home)
        if namespaces.holder(home) is None:
            lifecycle.up(home)
        lifecycle.make_images(home)
    elif command == "images":
        lifecycle.make_images(home)
    elif command == "down":
        lifecycle.down(home)
    else:
        parser.error("run needs a command.")
    return 0


def _enter(home: Home, command: list[str]) -> int:
    words = [str(word) for word in namespaces.networked(home, *command)]
    paths = (str(Helm(4).binary.parent), str(FOLDER), os.environ["PATH"])
    environment = {"PATH": os.pathsep.join(paths), "KUBECONFIG": str(home.kubeconfig)}
    os.execvpe(words[0], words, {**os.environ, **environment})


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Missing as error:
        print(f"No cluster on this machine: {error}", file=sys.stderr)
        sys.exit(LACKING)
    except ClusterError as error:
        sys.exit(f"The cluster of one node: {error}")
