"""Templates of clusters as data with marked fields, and how they are filled in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from metasearch.cluster.fields import settle
from metasearch.errors import ConfigError
from metasearch.registry import nearest

MARK = re.compile(r"__([A-Z]+(?:_[A-Z]+)*)__")
_MORE = ("disk", "cards", "log", "machines")  # follow from the fields; see `_more`
_ON_ALL = ("slurm", "kuberay")  # where a folder has to be the same on every node
_ONLY_WITH = {"kueue.yaml": "cluster_queue"}  # files that are left out without a field


@dataclass(frozen=True)
class Guide:
    """What to type once a template is filled in; `{...}` are its fields, `folder`, and `_MORE`."""

    about: str
    start: tuple[str, ...]
    watch: tuple[str, ...]
    stop: tuple[str, ...]


def _up(about: str, folder_of_bin: str = "image_bin", *, autoscaler: int = 1) -> Guide:
    """What `ray up` starts. Its driver runs on the head, in a session that outlives the ssh."""
    ask = f"{{{folder_of_bin}}}/metasearch"
    return Guide(
        about,
        start=(
            "metasearch cluster token",
            f"RAY_UP_enable_autoscaler_v2={autoscaler} ray up -y {{folder}}/cluster.yaml",
            "ray rsync-up {folder}/cluster.yaml {search} search.yaml",
            f"ray exec {{folder}}/cluster.yaml '{ask} cluster up-check --address auto "
            "--nodes {machines} --within 15m --runs {runs}'",
            "ray exec --tmux {folder}/cluster.yaml "
            f"'{ask} search search.yaml --name {{name}} --out {{runs}} --address auto "
            "--gpus-per-trial {gpus_per_trial}'",
        ),
        watch=(f"ray exec {{folder}}/cluster.yaml '{ask} status {{runs}}/{{name}}'",),
        stop=("ray down -y {folder}/cluster.yaml",),
    )


GUIDES: Mapping[str, Guide] = {
    "slurm": Guide(
        "one search as a Slurm job that goes on after a requeue",
        ("metasearch cluster token", "mkdir -p {disk}", "sbatch {folder}/search.sbatch"),
        ("metasearch status {runs}/{name}", "tail -f {log}"),
        ("scancel --signal=TERM --batch JOBID  # trials write a checkpoint, then it ends",),
    ),
    "kuberay": Guide(
        "one search as a RayJob, or a cluster that stays (raycluster.yaml)",
        ("kubectl apply -k {folder}",),
        (
            "kubectl logs -n {namespace} -f -l ray.io/node-type=head",
            "kubectl port-forward -n {namespace} svc/NAME-head-svc 8265:8265  # loopback alone",
        ),
        ("kubectl delete -n {namespace} rayjob {name}  # runs stay on the volume {claim}",),
    ),
    "ssh": _up("machines of your own, over ssh", "bin", autoscaler=0),
    "aws": _up("AWS: head on demand, workers on the spot market"),
    "gcp": _up("Google Cloud: head on demand, workers preemptible"),
    "azure": _up("Azure: head on demand, workers on spot"),
    "bare": Guide(
        "machines of your own, by hand",
        (
            "bash {folder}/start-head.sh    # on {head}",
            "bash {folder}/start-worker.sh  # on the others",
        ),
        ("metasearch status {runs}/NAME",),
        ("bash {folder}/stop.sh  # on each machine",),
    ),
    "image": Guide(
        "the container image that Kubernetes nodes run",
        ("docker build -f {folder}/Dockerfile -t {image} .", "docker push {image}"),
        (),
        (),
    ),
}


def source() -> Path:
    """The folder of the templates, in a checkout or an installed package."""
    package = Path(__file__).parents[1]
    inside = package / "cluster_templates"
    return inside if inside.is_dir() else package.parent / "cluster"


def read(kind: str) -> dict[str, str]:
    """The files of a kind of cluster, by name.

    Raises:
        ConfigError: there is no such kind.
    """
    if kind not in GUIDES:
        known = ", ".join(GUIDES)
        raise ConfigError(
            f"no template is called {kind!r}; known: {known}.{nearest(kind, list(GUIDES))}"
        )
    return {path.name: path.read_text("utf-8") for path in sorted((source() / kind).iterdir())}


def fields_of(kind: str) -> set[str]:
    """The fields that the templates of a kind leave open, or that its commands name."""
    texts = [*read(kind).values()]
    guide = GUIDES[kind]
    marked = {mark.lower() for text in texts for mark in MARK.findall(text)}
    lines = [*guide.start, *guide.watch, *guide.stop]
    named = {name for line in lines for name in re.findall(r"\{(\w+)\}", line)}
    return (marked | named) - {"folder", *_MORE}


def render(kind: str, given: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """The files of a kind with all fields filled in, and the values that were used.

    A line that names a field without a value is left out; so is one that names the disk of the
    runs, where they are in a bucket, or the cards of machines that have none.

    Raises:
        ConfigError: the kind is unknown, or a value is missing or may not stand there.
    """
    texts = read(kind)
    values = settle(fields_of(kind), given)
    if kind in _ON_ALL and values["runs"].startswith("~"):
        raise ConfigError(f"runs: {values['runs']!r} is another folder on each node; begin with /.")
    kept = {
        name: text
        for name, text in texts.items()
        if name not in _ONLY_WITH or values[_ONLY_WITH[name]]
    }
    marks = values | _more(kind, values)
    return {name: _fill(text, marks) for name, text in kept.items()}, values


def steps(kind: str, values: Mapping[str, str], folder: str) -> dict[str, list[str]]:
    """What to type to start, to watch and to stop, by these words."""
    guide, told = GUIDES[kind], {**values, **_more(kind, values), "folder": folder}
    return {
        word: [
            line.format_map(told)
            for line in lines
            if all(told[name] for name in re.findall(r"\{(\w+)\}", line))
        ]
        for word, lines in (("start", guide.start), ("watch", guide.watch), ("stop", guide.stop))
    }


def _more(kind: str, values: Mapping[str, str]) -> dict[str, str]:
    """What follows from the fields: disk of the runs, cards, log of a job, machines to wait for."""
    runs, gpus, nodes = (values.get(name, "") for name in ("runs", "gpus", "nodes"))
    bucket = runs.startswith("s3://")
    return {
        "disk": "" if bucket else runs,
        "cards": "" if gpus == "0" else gpus,
        "log": "slurm-JOBID.out" if bucket else f"{runs}/{values.get('name')}-JOBID.log",
        # Over ssh the head works as well; a cloud's does not, and is not counted.
        "machines": str(int(nodes) + (kind == "ssh")) if nodes else "",
    }


def _fill(text: str, values: Mapping[str, str]) -> str:
    lines = text.splitlines(keepends=True)
    kept = [x for x in lines if all(values[mark.lower()] for mark in MARK.findall(x))]
    return "".join(MARK.sub(lambda m: values[m[1].lower()], line) for line in kept)
