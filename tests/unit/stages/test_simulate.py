from acceleray.domain.tables import CONTRACTS
from acceleray.stages import simulate


def test_it_writes_the_tables_that_are_its_own():
    own = {name for name, table in CONTRACTS.items() if table.stage == "simulate"}
    assert set(simulate.WRITES) == own
    assert set(simulate.READS) <= set(CONTRACTS)
    assert simulate.ENGINE == "ray"
