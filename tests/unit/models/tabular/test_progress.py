import datetime as dt
import io

from acceleray.models.tabular.progress import LiveTable, Snapshot

NOON = dt.datetime(2018, 12, 28, 12, tzinfo=dt.UTC)


def snapshot(**changes):
    given = {
        "n_trials": 10,
        "finished": 2,
        "running": 3,
        "stopped": 1,
        "failed": 1,
        "best_number": 4,
        "best_score": -0.25,
        "elapsed_s": 125.0,
        "eta_s": 4000.0,
    }
    return Snapshot(**(given | changes))


def test_one_line_per_half_minute_and_one_at_the_end():
    seconds = [0.0]
    stream = io.StringIO()
    with LiveTable(stream=stream, clock=lambda: seconds[0]) as table:
        for now in (0.0, 10.0, 29.9, 30.0, 40.0):
            seconds[0] = now
            table(snapshot())
        table(snapshot(finished=8))
    assert len(stream.getvalue().splitlines()) == 3
    assert stream.getvalue().splitlines()[0] == (
        "search: trials 4/10, finished 2, running 3, stopped 1, failed 1, best -0.25 (trial 4), "
        "elapsed 0:02:05, eta 1:06:40"
    )


def test_before_the_first_report():
    stream = io.StringIO()
    LiveTable(stream=stream)(snapshot(best_number=None, best_score=None, eta_s=None))
    assert "best none yet" in stream.getvalue()
    assert "eta unknown" in stream.getvalue()


def test_the_bell():
    for minutes, expected in (
        (120, "bell in 2:00:00\n"),
        (30, "bell in 0:30:00, too late\n"),
        (-1, "bell has rung\n"),
    ):
        stream = io.StringIO()
        LiveTable(stream=stream, bell=NOON + dt.timedelta(minutes=minutes), now=lambda: NOON)(snapshot())
        assert stream.getvalue().endswith(expected)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_gets_a_table():
    stream = Terminal()
    with LiveTable(stream=stream, bell=NOON, now=lambda: NOON) as table:
        table(snapshot())
    assert "stopped" in stream.getvalue()
    assert "4/10" in stream.getvalue()
