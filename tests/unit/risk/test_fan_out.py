from acceleray.risk.fan_out import fan_out


def scaled(factor, value):
    return factor * value


def test_results_come_in_the_order_of_the_calls():
    found = fan_out(scaled, (3,), [(value,) for value in range(5)], what="call", distributed=False)
    assert found == [0, 3, 6, 9, 12]
    assert fan_out(scaled, (3,), [], what="call", distributed=False) == []
