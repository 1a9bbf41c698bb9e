"""docs/deploy-kubernetes.md: the values that it shows are taken, and what it names is there."""

import re
import textwrap

import yaml

from tests.deploy.image import ROOT
from tests.deploy.release import CHART, render, scenario

PAGE = (ROOT / "docs" / "deploy-kubernetes.md").read_text()


def test_the_values_that_it_shows_are_taken() -> None:
    blocks = re.findall(r"^( *)```yaml\n(.*?)^ *```", PAGE, re.MULTILINE | re.DOTALL)
    shown = [yaml.safe_load(textwrap.dedent(text)) for _, text in blocks]
    assert [min(values) for values in shown] == ["baseModels", "images", "existingSecret"]
    for values in shown:
        assert "api" in render(values).of("Deployment")
    assert shown[1] == scenario("trial")


def test_the_settings_and_files_that_it_names_are_there() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = (CHART / "values.schema.json").read_text()
    for name in re.findall(r"`settings\.(\w+)`", PAGE):
        assert f'"{name}"' in schema, name
    named = re.findall(r"`((?:networkPolicy|monitoring|trial|secrets|images|ingress)\.[a-zA-Z.]+)`", PAGE)
    assert len(named) > 10
    for path in named:
        found = values
        for part in path.split("."):
            assert part in found, path
            found = found[part]
    for path in re.findall(r"`(helm/[\w/.-]+)`", PAGE):
        assert (ROOT / path).exists(), path
