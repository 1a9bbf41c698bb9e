"""A lineage laid out and drawn: in columns, without crossings where it can be, readable, and bounded."""

import xml.etree.ElementTree as ET
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from core.db import Database, transaction
from core.lineage import graph
from core.lineage.graph import CHILDREN, GENERATIONS, Graph, Node
from core.lineage.layout import layout_of
from core.lineage.picture import picture_of
from core.models import Job, Model, ModelKind
from core.registered import versions
from tests.core.runs.making import PROJECT, ready_dataset
from tests.core.test_registry import run_job

TEXT = "{http://www.w3.org/2000/svg}text"
names = st.lists(st.integers(0, 30).map(str), min_size=1, max_size=12, unique=True)


@given(nodes=names, data=st.data())
def test_every_edge_goes_to_the_right_one_column_at_a_time(nodes: list[str], data: st.DataObject) -> None:
    pairs = [(one, other) for place, one in enumerate(nodes) for other in nodes[place + 1 :]]
    edges = data.draw(st.lists(st.sampled_from(pairs), unique=True, max_size=20)) if pairs else []
    layout = layout_of(nodes, edges)
    column = {stop: number for number, stops in enumerate(layout.columns) for stop in stops}
    assert sorted(node for node in column if "\0" not in node) == sorted(nodes)
    assert sum(len(stops) for stops in layout.columns) == len(column)
    for way, (first, second) in zip(layout.ways, edges, strict=True):
        assert (way[0], way[-1]) == (first, second)
        assert all(column[after] == column[before] + 1 for before, after in pairwise(way))


def test_a_dataset_of_a_late_job_stands_beside_it_and_ways_do_not_cross() -> None:
    edges = [
        ("base", "job 1"),
        ("job 1", "model"),
        ("model", "job 2"),
        ("late data", "job 2"),
        ("base", "job 2"),
    ]
    layout = layout_of(["base", "job 1", "model", "late data", "job 2"], edges)
    assert [sorted(one for one in column if "\0" not in one) for column in layout.columns] == [
        ["base"],
        ["job 1"],
        ["late data", "model"],
        ["job 2"],
    ]
    places = layout.heights()
    assert places["job 2"] == 0.0


def test_somebodys_words_stay_words() -> None:
    found = Graph(focus="m")
    found.add(Node("m", "model", "ft:base:<b>&x:1", {"kind": "result"}))
    found.add(Node("p", "picture", "a \x01fox </text><script>alert(1)</script>", {"seeds": [7]}), after=["m"])
    drawn = picture_of(found)
    root = ET.fromstring(drawn)  # noqa: S314  our own drawing
    texts = [each.text for each in root.iter(TEXT)]
    assert "<b>&x" in texts
    assert "<script" not in drawn
    assert root.attrib["role"] == "img"
    described = root.find("{http://www.w3.org/2000/svg}desc")
    assert described is not None
    assert described.text is not None
    assert described.text.startswith("model ft:base:<b>&x:1 leads to picture a  fox")


def test_a_graph_is_bounded_on_every_side(database: Database) -> None:
    """A chain of twenty models, the last of which twenty jobs started from."""
    run_job(database)
    with transaction(database) as session:
        job = session.query(Job).first()
        assert job is not None
        columns = {each.key: getattr(job, each.key) for each in Job.__mapper__.column_attrs}
        start = "starter"
        for number in range(40):
            chained = number < 20
            told = {"id": f"ftjob-{number:02}", "model_id": start, "result_model_id": None}
            session.add(Job(**columns | told))
            session.flush()
            if chained:
                start = f"ft:starter::{number}"
                session.add(
                    Model(
                        id=start,
                        project_id=PROJECT,
                        kind=ModelKind.result,
                        source=f"unit:{number}/model",
                        digest="d",
                        base_model_id="starter",
                        job_id=told["id"],
                    )
                )
        session.flush()
        found = graph.graph_of(session, project_id=PROJECT, model_id=start)
        types = [node.type for node in found.nodes.values()]
        assert types.count("model") == GENERATIONS + 2
        assert types.count("job") == GENERATIONS + 1 + CHILDREN
        assert found.left_out >= 2
        assert "more not shown" in picture_of(found)


def test_a_registered_base_of_nothing_is_drawn_alone(database: Database) -> None:
    ready_dataset(database)
    with transaction(database) as session:
        found = graph.graph_of(session, project_id=PROJECT, model_id="starter")
        assert (list(found.nodes), found.edges, found.left_out) == (["starter"], [], 0)
        assert "BASE MODEL" in picture_of(found)
        assert versions.aliases_of(session, "reg-none") == {}
