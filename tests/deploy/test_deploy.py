"""The files of deploy/ name only what exists: metrics and labels, extras, ports, commands."""

from __future__ import annotations

import configparser
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from prometheus_client import generate_latest
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.parser import text_string_to_metric_families

from latticewatch.config import Settings
from latticewatch.metrics import Metrics

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
#: What Prometheus itself adds to every series, and the label of an alert.
SCRAPE_LABELS = {"instance", "job"}
#: Label of the service's own target, made by Prometheus and not by the service.
SYNTHETIC = {"up"}


def exposed() -> dict[str, set[str]]:
    """Label names by series name, of everything that the service can expose."""
    metrics = Metrics()
    for metric in vars(metrics).values():
        if isinstance(metric, MetricWrapperBase) and metric._labelnames:
            metric.labels(*("x" for _ in metric._labelnames))
    for counts in vars(metrics.ingest).values():
        if isinstance(counts, Counter):
            counts["x"] = 1
    text = generate_latest(metrics.registry).decode()
    series: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            series.setdefault(sample.name, set()).update(sample.labels)
    return series


def rule_queries() -> Iterator[str]:
    for group in yaml.safe_load((DEPLOY / "rules.yml").read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["expr"]


def dashboard_queries() -> Iterator[str]:
    dashboard = json.loads((DEPLOY / "grafana/dashboard.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield target["expr"]
    for variable in dashboard["templating"]["list"]:
        yield variable["definition"]


def problems(query: str, series: dict[str, set[str]]) -> list[str]:
    """Names and labels in the query that the service does not expose."""
    found: list[str] = []
    names = set(re.findall(r"\b(?:latticewatch|process)_\w+|\bup\b", query))
    if not names:
        found.append("no metric")
    labels = set(SCRAPE_LABELS)
    for name in names - SYNTHETIC:
        if name not in series:
            found.append(name)
        labels |= series.get(name, set())
    for name, matchers in re.findall(r"(\w+)\{([^}]*)\}", query):
        known = series.get(name, set()) | SCRAPE_LABELS
        found += [
            f"{name}{{{key}}}" for key in re.findall(r"(\w+)\s*[=!]", matchers) if key not in known
        ]
    for listed in re.findall(r"\b(?:by|on|without)\s*\(([^)]*)\)", query):
        found += [f"by {key}" for key in re.findall(r"\w+", listed) if key not in labels]
    return found


@pytest.mark.parametrize("query", [*rule_queries(), *dashboard_queries()])
def test_every_query_names_series_and_labels_that_exist(query: str) -> None:
    assert problems(query, exposed()) == []


@pytest.mark.parametrize(
    "query",
    [
        "rate(latticewatch_frames_commited_total[5m])",
        'latticewatch_queue_depth{species="VS"}',
        "sum by (stage) (latticewatch_queue_depth)",
        "latticewatch_frames_committed",
        "vector(0)",
    ],
)
def test_the_check_itself_finds_what_does_not_exist(query: str) -> None:
    assert problems(query, exposed())


def test_alert_texts_use_labels_that_the_alert_has() -> None:
    series = exposed()
    for group in yaml.safe_load((DEPLOY / "rules.yml").read_text())["groups"]:
        for rule in group["rules"]:
            used = set(re.findall(r"\$labels\.(\w+)", " ".join(rule["annotations"].values())))
            names = re.findall(r"latticewatch_\w+", rule["expr"])
            known = SCRAPE_LABELS.union(*(series[name] for name in names))
            assert used <= known, rule["alert"]
            grouped = re.findall(r"\bby \(([^)]*)\)", rule["expr"])
            for kept in grouped:
                assert used <= set(re.findall(r"\w+", kept)), rule["alert"]


def test_prometheus_scrapes_the_port_that_the_service_listens_on() -> None:
    scrape = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["scrape_configs"]
    targets = [
        target for job in scrape for static in job["static_configs"] for target in static["targets"]
    ]
    metrics = Settings().endpoints.metrics
    assert [f"http://{target}/metrics" for target in targets] == [metrics]
    assert metrics in (DEPLOY / "compose.yaml").read_text()


def test_compose_stays_on_loopback_and_mounts_files_that_exist() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    volumes = set(compose["volumes"])
    assert set(compose["services"]) == {"latticewatch", "prometheus", "grafana"}
    for name, service in compose["services"].items():
        # On the host's network a published port means nothing: the program's own bind decides.
        assert service["network_mode"] == "host", name
        assert "ports" not in service, name
        for mount in service["volumes"]:
            source = mount.split(":")[0]
            assert source in volumes or (DEPLOY / source).exists(), mount
    services = compose["services"]
    assert "--web.listen-address=127.0.0.1:9090" in services["prometheus"]["command"]
    assert services["grafana"]["environment"]["GF_SERVER_HTTP_ADDR"] == "127.0.0.1"
    cuda = yaml.safe_load((DEPLOY / "compose.cuda.yaml").read_text())
    for file in (compose, cuda):
        build = file["services"]["latticewatch"]["build"]
        assert (DEPLOY / build["context"] / build["dockerfile"]).is_file()


def test_grafana_is_provisioned_with_the_data_source_that_the_dashboard_asks() -> None:
    folder = DEPLOY / "grafana/provisioning"
    (source,) = yaml.safe_load((folder / "datasources/prometheus.yaml").read_text())["datasources"]
    (provider,) = yaml.safe_load((folder / "dashboards/latticewatch.yaml").read_text())["providers"]
    dashboard = json.loads((DEPLOY / "grafana/dashboard.json").read_text())
    asked = {panel["datasource"]["uid"] for panel in dashboard["panels"]}
    asked |= {variable["datasource"]["uid"] for variable in dashboard["templating"]["list"]}
    assert asked == {source["uid"]}
    mounts = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["grafana"]["volumes"]
    assert any(f":{provider['options']['path']}/dashboard.json" in mount for mount in mounts)
    numbers = [panel["id"] for panel in dashboard["panels"]]
    assert len(numbers) == len(set(numbers))


@pytest.mark.parametrize(("name", "extra"), [("Dockerfile.cpu", "cpu"), ("Dockerfile.cuda", "gpu")])
def test_dockerfiles_install_an_extra_and_copy_paths_that_exist(name: str, extra: str) -> None:
    text = (DEPLOY / name).read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert re.findall(r'"\.\[([\w,]+)\]"', text) == [extra]
    assert extra in project["optional-dependencies"]
    for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE):
        *sources, _ = line.split()
        assert all((ROOT / source).exists() for source in sources), line
    (entry,) = re.findall(r"^ENTRYPOINT (.+)$", text, re.MULTILINE)
    assert json.loads(entry)[0] in project["scripts"]
    assert re.search(r"^USER latticewatch$", text, re.MULTILINE)


def test_the_unit_is_hardened_and_runs_the_command() -> None:
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(DEPLOY / "latticewatch.service")
    service = unit["Service"]
    assert re.fullmatch(
        r"\S+/latticewatch serve --config /etc/latticewatch\.toml --data /var/lib/latticewatch",
        service["ExecStart"],
    )
    assert service["Restart"] == "on-failure"
    assert service["StateDirectory"] == "latticewatch"
    for key in ("DynamicUser", "NoNewPrivileges", "ProtectHome", "PrivateTmp", "PrivateDevices"):
        assert service[key] == "yes", key
    assert service["ProtectSystem"] == "strict"
    assert service["IPAddressAllow"] == "localhost"
