"""Every query of the dashboard asks for figures and labels that Lectern tells, and none is left out."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from ruamel.yaml import YAML

import signaling.metrics
import signaling.reports  # noqa: F401  (its figures are in the registry)
from control import REGISTRY
from sfu.cascade.tree import LinkFigures
from sfu.metrics import NodeMetrics
from sfu.refusals import Refusals

OPERATIONS = Path(__file__).resolve().parents[2] / "docs" / "operations.md"
DASHBOARD = Path(__file__).resolve().parents[2] / "deploy" / "grafana" / "lectern.json"
# What Prometheus adds by itself.
OF_PROMETHEUS = {"instance", "job"}
NOT_SHOWN = {
    "lectern_node_info",  # to join versions with
    "lectern_sessions_opened",  # its end is shown by reason
    "lectern_event_loop_tasks",  # what leaks shows in memory first; `lectern bench soak` reads it
}


def queries() -> list[str]:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    found = [target["expr"] for panel in panels for target in panel["targets"]]
    assert len(found) > 30
    return found


@pytest.fixture(scope="module")
def told() -> dict[str, set[str]]:
    """Every sample's name with its labels, of a web process and of a node."""
    media = SimpleNamespace(stats=dict)
    node: Any = SimpleNamespace(
        media=media,
        node_id="n",
        version="0",
        sessions={},
        rooms={},
        registered=True,
        refusals=Refusals(),
        cascade=SimpleNamespace(figures=LinkFigures),
    )
    metrics = NodeMetrics(node)
    metrics.beat("accepted")
    signaling.metrics.JOINS.labels("viewer", "ok")
    names: dict[str, set[str]] = defaultdict(set)
    headroom = signaling.metrics.headroom_text(1.0)
    for text in (metrics.text(), headroom, generate_latest(REGISTRY)):
        for family in text_string_to_metric_families(text.decode()):
            for sample in family.samples:
                names[sample.name] |= sample.labels.keys()
    # Series of these appear with the first request.
    names["lectern_http_requests_total"] |= {"method", "route", "status"}
    names["lectern_http_request_duration_seconds_bucket"] |= {"route", "le"}
    names["lectern_http_connections_closed_total"] |= {"why"}
    return names


@pytest.mark.parametrize("query", queries())
def test_a_query_names_figures_and_labels_that_are_told(
    query: str, told: dict[str, set[str]]
) -> None:
    names = re.findall(r"\b(?:lectern|process)_\w+", query)
    assert names and not [name for name in names if name not in told]
    labels = {
        label.strip()
        for group in re.findall(r"\bby \(([^)]*)\)", query)
        for label in group.split(",")
    } | set(re.findall(r"[{,]\s*(\w+)\s*[!=]", query))
    for name in names:
        assert labels <= told[name] | OF_PROMETHEUS, (name, labels)
    for name in re.findall(r"(?:rate|increase)\((\w+)", query):
        assert name.endswith(("_total", "_bucket")), f"{name} does not only grow"


def test_every_figure_of_lectern_is_shown(told: dict[str, set[str]]) -> None:
    shown = " ".join(queries())
    bare = {re.sub(r"_(total|bucket|count|sum|created)$", "", n) for n in told}
    ours = {name for name in bare if name.startswith("lectern_")}
    assert [name for name in sorted(ours - NOT_SHOWN) if name not in shown] == []


def test_every_figure_of_lectern_is_in_the_document(told: dict[str, set[str]]) -> None:
    text = OPERATIONS.read_text()
    for name in sorted(told):
        if name.startswith("lectern_") and name != "lectern_node_info":
            base = re.sub(r"_(bucket|count|sum)$", "", name)
            assert f"`{base}`" in text or f"`{base}{{" in text, base
    for name in re.findall(r"\blectern_\w+", text):
        assert name in told or f"{name}_bucket" in told, f"{name} is not told"


def test_prometheus_asks_where_figures_are() -> None:
    config = YAML(typ="safe").load((DASHBOARD.parents[1] / "prometheus.yml").read_text())
    web, sfu = config["scrape_configs"]
    assert web["static_configs"][0]["targets"] == ["web:8080"]
    assert sfu["http_sd_configs"][0]["url"] == "http://web:8080/metrics/nodes"
    assert all("credentials_file" in job["authorization"] for job in (web, sfu))


def test_panels_do_not_lie_on_one_another() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    places = [(p["gridPos"]["x"], p["gridPos"]["y"]) for p in panels]
    assert len(set(places)) == len(places) == len({cast(int, p["id"]) for p in panels})
