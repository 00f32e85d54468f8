"""`python -m localcluster`: build, up, down, status, env, add-node, put."""

import argparse
import sys
import time
from pathlib import Path

from localcluster import product
from localcluster.build import CLUSTER_PROGRAMS, HELM, BuildError, build
from localcluster.cluster import DEFAULT_ROOT, Cluster, find_cluster, start_cluster
from localcluster.processes import ProcessError


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="localcluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("build", help="build control plane and S3 server")
    make.add_argument("--helm", action="store_true", help="build Helm, and nothing else")
    up = commands.add_parser("up", help="start the cluster with the operator on it")
    up.add_argument("--nodes", type=int, default=2, help="nodes to start (default 2)")
    commands.add_parser("down", help="end everything that was started, remove its state")
    commands.add_parser("status", help="which programs are alive")
    commands.add_parser("env", help='print shell variables: eval "$(… env)"')
    add = commands.add_parser("add-node", help="start one more node")
    add.add_argument("name")
    put = commands.add_parser("put", help="store a file or folder in the cluster's S3")
    put.add_argument("source", type=Path, help="what to store")
    put.add_argument("uri", help="s3://bucket/key, or s3://bucket/prefix/ for a folder")
    for command in (up, add):
        command.add_argument("--gpus", type=int, default=4, help="pretended GPUs of a node")
        command.add_argument("--cpu", default="64", help="CPU of a node, as it tells the scheduler")
        command.add_argument("--memory", default="64Gi", help="memory of a node, as it tells")
    for command in commands.choices.values():
        command.add_argument("--root", type=Path, default=DEFAULT_ROOT, help="folder of the state")
    return parser


def _existing(root: Path) -> Cluster:
    cluster = find_cluster(root)
    if cluster is None:
        raise ProcessError(f"no cluster in {root}: start one with `python -m localcluster up`")
    return cluster


def _up(arguments: argparse.Namespace) -> None:
    begun = time.monotonic()
    cluster = start_cluster(arguments.root)
    for index in range(arguments.nodes):
        name = f"node-{index}"
        if not cluster.status().get(name):
            cluster.add_node(name, gpus=arguments.gpus, cpu=arguments.cpu, memory=arguments.memory)
    product.install(cluster)
    product.add_credentials(cluster)
    seconds = time.monotonic() - begun
    print(f"cluster up in {seconds:.1f} s: {cluster.server}, S3 {cluster.s3.endpoint}")


def _put(cluster: Cluster, source: Path, uri: str) -> None:
    scheme, _, address = uri.partition("://")
    bucket, _, key = address.partition("/")
    if scheme != "s3" or not bucket or not source.exists() or source.is_dir() != uri.endswith("/"):
        raise ProcessError(
            f"cannot put {source} to {uri}: a file goes to s3://bucket/key, a folder to "
            "s3://bucket/prefix/"
        )
    cluster.s3.make_bucket(bucket)
    if source.is_dir():
        print(f"{cluster.s3.upload_folder(source, bucket, key)} files stored below {uri}")
    else:
        cluster.s3.client().upload_file(str(source), bucket, key)
        print(f"{uri} stored")


def _print_environment(cluster: Cluster) -> None:
    print(f"export KUBECONFIG='{cluster.kubeconfig}'")
    print(f"export PATH='{cluster.kubectl_path}':\"$PATH\"")
    for name, value in cluster.s3.environment.items():
        print(f"export {name}='{value}'")


def main() -> int:
    arguments = _parser().parse_args()
    try:
        match arguments.command:
            case "build":
                build(*((HELM,) if arguments.helm else CLUSTER_PROGRAMS))
            case "up":
                _up(arguments)
            case "down":
                cluster = find_cluster(arguments.root)
                if cluster is not None:
                    cluster.down()
            case "status":
                for name, alive in _existing(arguments.root).status().items():
                    print(f"{name:24} {'alive' if alive else 'dead'}")
            case "env":
                _print_environment(_existing(arguments.root))
            case "put":
                _put(_existing(arguments.root), arguments.source, arguments.uri)
            case "add-node":
                _existing(arguments.root).add_node(
                    arguments.name,
                    gpus=arguments.gpus, cpu=arguments.cpu, memory=arguments.memory,
                )  # fmt: skip
    except (BuildError, ProcessError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
