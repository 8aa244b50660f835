import pytest

from acceleray.domain.tables import CONTRACTS
from acceleray.pipeline.plan import STAGES, StagePlan, night_plan, pending


def stage(name, *writes):
    return StagePlan(name=name, engine="local", reads=(), writes=writes, run=lambda context: None)


PLAN = (stage("a", "t1", "t2"), stage("b", "t3"), stage("c", "t4"))


@pytest.mark.parametrize(
    ("committed", "expected"),
    [
        ((), "abc"),
        (("t1",), "abc"),
        (("t1", "t2"), "bc"),
        (("t1", "t2", "t3"), "c"),
        # A later stage that is done does not hide an earlier one that is not.
        (("t1", "t2", "t4"), "b"),
        (("t1", "t2", "t3", "t4"), ""),
        (("elsewhere",), "abc"),
    ],
)
def test_a_stage_is_done_when_every_table_is_committed(committed, expected):
    assert "".join(found.name for found in pending(PLAN, committed)) == expected


def test_stages_read_only_what_earlier_stages_wrote_and_write_their_own_tables():
    written: set[str] = set()
    for found in night_plan():
        assert set(found.reads) <= written | set(found.writes), found.name
        assert {CONTRACTS[name].stage for name in found.writes} == {found.name}
        written |= set(found.writes)
    assert written == set(CONTRACTS), "every declared table is written by the stage that owns it"


def test_one_word_one_spelling():
    from acceleray.cli.app import app
    from acceleray.config.models import Settings

    commands = {command.name for command in app.registered_commands} | {"report"}
    assert set(STAGES) <= commands
    assert set(STAGES) <= set(Settings.model_fields)
