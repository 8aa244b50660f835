import pytest

from acceleray.errors import LineageError
from acceleray.tracking.registry import CANDIDATE, CHAMPION, Registry
from acceleray.tracking.runs import Tracker


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    project = tmp_path_factory.mktemp("project")
    tracker = Tracker(project, "nights")
    return tracker, project


def write(project, text):
    path = project / f"{text}.json"
    path.write_text(text)
    return path


def test_candidates_champions_and_retries(store):
    tracker, project = store
    run = tracker.start("night", {})
    registry = Registry(tracker.uri, "early-warning")
    assert registry.champion() is None

    def register(text, run_id, *, promote):
        return registry.register(
            write(project, text),
            text,
            mlflow_run_id=run_id,
            tags={"gate": "passed"},
            aliases=(CANDIDATE, CHAMPION) if promote else (CANDIDATE,),
        )

    first = register("aaa", run, promote=False)
    assert registry.champion() is None
    # A retry of the same run registers nothing new; another run of the same model does.
    assert register("aaa", run, promote=False) == first
    again = register("aaa", tracker.start("next", {}), promote=False)
    assert again.number != first.number

    promoted = register("bbb", run, promote=True)
    assert registry.champion() == promoted
    later = register("ccc", None, promote=False)
    assert registry.champion() == promoted
    assert register("ccc", None, promote=False) == later

    model = registry._client.get_registered_model("early-warning")
    assert {name: str(number) for name, number in model.aliases.items()} == {
        CANDIDATE: later.number,
        CHAMPION: promoted.number,
    }
    version = registry._client.get_model_version("early-warning", promoted.number)
    assert version.tags == {"gate": "passed", "sha256": "bbb"}
    assert version.run_id == run
    # The file itself is an artifact of the run.
    assert [item.path for item in registry._client.list_artifacts(run, "model")] == [
        "model/aaa.json",
        "model/bbb.json",
    ]


def test_a_champion_of_unknown_content_is_refused(store):
    tracker, project = store
    registry = Registry(tracker.uri, "foreign")
    version = registry._client.create_model_version("foreign", write(project, "x").as_uri())
    registry._client.set_registered_model_alias("foreign", CHAMPION, version.version)
    with pytest.raises(LineageError, match="no tag sha256"):
        registry.champion()
