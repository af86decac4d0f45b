"""Self-training with a real, short training, as a user would run it: ``serve --self-train``."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="training needs torch")

from latticewatch.client.messages import Health
from latticewatch.client.publisher import Publisher
from latticewatch.client.subscriber import Subscriber
from latticewatch.processes import running_service
from latticewatch.storage.session import Session
from latticewatch_models.microscope import Microscope, SpecimenConfig

#: Steps that bring a network from nothing to most of the labelled columns.
ITERATIONS = 150

SETTINGS = f"""
[calibration]
every = 2
window = 3
patience = 2
frames = 4
iterations = {ITERATIONS}
"""


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_service_whose_model_sees_nothing_teaches_itself(tmp_path, blunt):
    file = tmp_path / "settings.toml"
    file.write_text(SETTINGS)
    given = ("--config", str(file), "--model", str(blunt), "--self-train")
    specimen = SpecimenConfig(metal_vacancy_fraction=0.04)
    images = [frame.image for frame in Microscope("WS2", (192, 192), 5, specimen).frames(30)]
    with (
        running_service(tmp_path / "data", *given) as (_, ports),
        Subscriber(ports["results"], topics=("health",)) as results,
        Publisher(ports["frames"], "s") as publisher,
    ):
        for image in images[:12]:
            publisher.send(image)
        assert publisher.flush(60)
        status: dict = {}
        while "outcome" not in status:
            message = results.receive(60)
            if isinstance(message, Health):
                status = message.values["self_training"].get("s", {})
        assert status["outcome"] == "swapped", status
        for image in images[12:]:
            publisher.send(image)
        publisher.end()
        assert publisher.flush(60)
    with Session.open_read(tmp_path / "data" / "s") as session:
        models, statistics, rows = session.models(), session.statistics(), session.frames()
        checks = session.checks()
    assert [row["status"] for row in rows] == ["ok"] * len(images)
    assert [row["frame"] for row in models] == [0, 12]
    assert (tmp_path / "data" / "s" / models[1]["file"]).is_file()
    assert statistics["model"]["iterations"] == ITERATIONS
    assert checks[5]["agreement"] == 0.0
    assert statistics["calibration"]["agreement"]["mean"] > 0.5
