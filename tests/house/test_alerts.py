"""deploy/: alert rules and dashboard speak of metrics that exist, in Prometheus' grammar; the rules are tried."""

from __future__ import annotations

import json
import re
import runpy
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from prometheus_client.parser import text_string_to_metric_families

from mirrornet.web.eyes import SharingStatus, VantageStatus
from mirrornet.web.metrics import Metrics

TREE = Path(__file__).resolve().parents[2]
ALERTS = TREE / "deploy" / "alerts.yml"
DASHBOARD = TREE / "deploy" / "grafana.json"
NAME = re.compile(r"\b(?:mirrornet|process)_[a-z0-9_]+\b")


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def queries() -> list[str]:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", ())]


def exported() -> set[str]:
    """Every name that /metrics may hold."""
    whole = runpy.run_path(str(TREE / "tests" / "web" / "test_web_figures.py"))["SNAPSHOT"]
    vantage = VantageStatus("fra1", 64500, "DE", 990.0, True)
    counts = {**whole.counters, "new in a worker": 1}
    sharing = SharingStatus("redis://x", moved={"z": 0.1}, vantages=(vantage,))
    told = Metrics(lambda: replace(whole, counters=counts, sharing=sharing), {200: 1})
    families = text_string_to_metric_families(told.text().decode())
    return {sample.name for family in families for sample in family.samples}


def test_every_metric_that_is_asked_for_is_exported() -> None:
    known = exported()
    for text in (*(rule["expr"] for rule in rules()), *queries()):
        names = set(NAME.findall(text))
        assert names <= known, text
        assert names or text.startswith("up{"), "nothing of ours but what Prometheus itself knows"


def test_the_page_in_docs_names_every_metric_and_none_that_is_not_there() -> None:
    told = set(NAME.findall((TREE / "docs" / "metrics.md").read_text()))
    known = {re.sub(r"_(bucket|sum|count)$", "", name) if "latency" in name else name for name in exported()}
    ours = {name for name in known if name.startswith("mirrornet_")}
    assert ours - told == set(), "not in docs/metrics.md"
    assert {name for name in told if name.startswith("mirrornet_")} - ours == set(), "not in /metrics"


def test_the_dashboard_is_the_one_that_the_script_writes() -> None:
    made = runpy.run_path(str(TREE / "scripts" / "make_dashboard.py"))["dashboard"]()
    assert json.loads(DASHBOARD.read_text()) == made
    places = [(p["gridPos"]["x"], p["gridPos"]["y"]) for p in made["panels"]]
    assert len(set(places)) == len(places), "no panel hides another"
    assert all(p["gridPos"]["x"] + p["gridPos"]["w"] <= 24 for p in made["panels"])


def test_every_alert_says_what_it_is_and_what_to_do() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(set(names)) == len(names)
    for rule in rules():
        assert rule["labels"]["severity"] in ("page", "ticket"), rule["alert"]
        assert rule["annotations"]["summary"] and rule["annotations"]["description"], rule["alert"]
    tried = "".join((TREE / "tests" / "vectors" / name).read_text() for name in VECTORS)
    assert [name for name in names if name not in tried] == []


VECTORS = ("alerts.yml", "alerts-of-weeks.yml")


def promtool(*words: str) -> str:
    done = subprocess.run(["promtool", *words], cwd=TREE, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_rules_call_whom_they_should_and_nobody_else(need: Callable[..., None]) -> None:
    need("promtool")
    promtool("check", "rules", str(ALERTS))
    promtool("test", "rules", *(f"tests/vectors/{name}" for name in VECTORS))


def test_the_dashboards_queries_are_prometheus_grammar(need: Callable[..., None], tmp_path: Path) -> None:
    need("promtool")
    rows = []
    for number, text in enumerate(queries()):
        for variable, value in (("$__rate_interval", "5m"), ("$instance", ".+"), ("$zone", ".+")):
            text = text.replace(variable, value)
        rows.append({"record": f"panel:{number}", "expr": text})
    path = tmp_path / "panels.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rows}]}))
    assert f"{len(rows)} rules found" in promtool("check", "rules", str(path))
