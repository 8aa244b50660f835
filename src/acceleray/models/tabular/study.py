"""The state of a search: the next trial, what scores decide, and a journal to go on from after a kill.

Every change comes from an event that is in the journal before it counts. A study that is opened again plays
the journal and stands where the killed one stood: the searcher is asked and told the same, in the same order.
Nothing of Ray is in here.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from acceleray.errors import StorageError, UsageError
from acceleray.models.tabular.family import Range
from acceleray.models.tabular.schedulers import Schedule
from acceleray.models.tabular.searchers import in_range
from acceleray.models.tabular.trial import Report

__all__ = ["Entry", "Job", "Journal", "Study", "Suggests"]

Status = Literal["open", "finished", "stopped", "failed"]


class Suggests(Protocol):
    """What a study needs of one of Ray Tune's searchers."""

    def suggest(self, trial_id: str) -> Any:
        """Suggest a configuration."""
        ...

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Hear the outcome."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A stretch of a trial for a worker.

    Parameters
    ----------
    number : int
        Trial.
    configuration : dict
    start : str, optional
        Folder of the checkpoint to begin with, below the study's folder.
    until : int
        Last round.
    """

    number: int
    configuration: dict[str, float]
    start: str | None
    until: int


@dataclass(slots=True, kw_only=True)
class Entry:
    """A trial as far as it is known.

    Parameters
    ----------
    reports : dict of int to Report
        By rounds.
    checkpoints : dict of int to str
        Folders by rounds.
    begins : (int, str), optional
        The checkpoint of another trial that it goes on from, and its rounds.
    runs : bool
        Whether a worker has it.
    """

    number: int
    batch: int
    configuration: dict[str, float]
    reports: dict[int, Report] = field(default_factory=dict)
    checkpoints: dict[int, str] = field(default_factory=dict)
    begins: tuple[int, str] | None = None
    status: Status = "open"
    error: str = ""
    runs: bool = False

    @property
    def rounds(self) -> int:
        """Rounds of the last report."""
        return max(self.reports, default=0)


class Journal:
    """Events, one line of JSON each, only ever appended.

    Parameters
    ----------
    path : Path
        Created with `identity` as its first line; an existing one must have been begun with the same.

    Raises
    ------
    UsageError
        If the study in `path` was begun with other settings or data.
    StorageError
        If the file is damaged before its last line, or cannot be written.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        self._path = path
        self.events: list[dict[str, Any]] = []
        whole = 0
        if path.exists():
            content = path.read_bytes()
            # A killed driver leaves half a line at most.
            whole = content.rfind(b"\n") + 1
            try:
                self.events = [json.loads(line) for line in content[:whole].splitlines()]
            except ValueError as error:
                raise StorageError(f"{path}: the journal is damaged: {error}") from error
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as stream:
                stream.truncate(whole)
        except OSError as error:
            raise StorageError(f"{path}: cannot be written: {error}") from error
        first = json.loads(json.dumps(identity))
        if not self.events:
            self._append(first, flush=True)
        elif self.events.pop(0) != first:
            raise UsageError(
                f"{path.parent}: the study there was begun with other settings, data or folds",
                hint="Give each study a folder of its own, or remove this one.",
            )

    def write(self, event: Mapping[str, Any], *, flush: bool = False) -> None:
        """Append an event; a flushed one survives a loss of power, the others the end of the process.

        Raises
        ------
        StorageError
            If the disk is full.
        """
        try:
            self._append(event, flush=flush)
        except OSError as error:
            raise StorageError(f"{self._path}: cannot be written: {error}") from error

    def _append(self, event: Mapping[str, Any], *, flush: bool) -> None:
        with self._path.open("ab") as stream:
            stream.write(json.dumps(event, separators=(",", ":")).encode() + b"\n")
            stream.flush()
            if flush:
                os.fsync(stream.fileno())


class Study:
    """Hands out jobs and takes events.

    Parameters
    ----------
    journal : Journal
        Played at once.
    searcher : Suggests
    space : mapping of str to Range
    schedule : Schedule
        Batches and rules; without rules in a study that need not repeat.
    repeatable : bool
        Suggest whole batches and tell the searcher a batch in order of trials when it is complete; otherwise
        suggest one trial whenever there is room and tell at once.
    """

    def __init__(
        self,
        journal: Journal,
        searcher: Suggests,
        space: Mapping[str, Range],
        schedule: Schedule,
        *,
        repeatable: bool,
    ) -> None:
        self.entries: list[Entry] = []
        self._journal = journal
        self._searcher = searcher
        self._space = space
        self._schedule = schedule
        self._repeatable = repeatable
        self.n_trials = sum(schedule.sizes)
        self._batch_of = [batch for batch, size in enumerate(schedule.sizes) for _ in range(size)]
        self._told = 0
        self._queue: deque[Job] = deque()
        # Position of the next meeting among the rungs of each batch.
        self._meeting_at = [0] * len(schedule.sizes)
        self._play(journal.events)

    @property
    def complete(self) -> bool:
        """Whether nothing is left to do."""
        return len(self.entries) == self.n_trials and all(entry.status != "open" for entry in self.entries)

    def next_job(self) -> Job | None:
        """Hand out the next job; None if others have to end first, or if nothing is left."""
        if not self._queue:
            self._suggest()
        if not self._queue:
            return None
        job = self._queue.popleft()
        self.entries[job.number].runs = True
        return job

    def goes_on(self, number: int, report: Report) -> bool:
        """Whether a running trial goes on after a report."""
        if self._schedule.rule is None:
            return True
        entry = self.entries[number]
        own = {rounds: each for rounds, each in entry.reports.items() if rounds < report.rounds}
        earlier = [each.reports for each in self.entries if each.batch < entry.batch]
        return self._schedule.rule.goes_on({**own, report.rounds: report}, earlier)

    def reported(self, number: int, report: Report) -> None:
        """Note a report; one that comes again after a crash replaces the first."""
        self._journal.write({"event": "reported", "number": number, "report": report.to_dict()})
        self.entries[number].reports[report.rounds] = report

    def checkpointed(self, number: int, rounds: int, folder: str) -> None:
        """Note a checkpoint."""
        self._journal.write(
            {"event": "checkpointed", "number": number, "rounds": rounds, "folder": folder}, flush=True
        )
        self.entries[number].checkpoints[rounds] = folder

    def done(self, number: int) -> None:
        """Note that a worker has come to the end of its job, or was stopped."""
        entry = self.entries[number]
        entry.runs = False
        if self._schedule.meeting is not None:
            self._meet(entry.batch)
        elif entry.reports:
            self._end(entry, "finished" if entry.rounds >= self._schedule.rungs[-1] else "stopped")
        else:
            self.failed(number, "It ended without a report")

    def failed(self, number: int, error: str) -> None:
        """Note that a trial has failed for good; the others go on."""
        entry = self.entries[number]
        entry.runs = False
        self._end(entry, "failed", error)
        if self._schedule.meeting is not None:
            self._meet(entry.batch)

    def _suggest(self) -> None:
        first = len(self.entries)
        if first == self.n_trials:
            return
        batch = self._batch_of[first]
        # The searcher waits for the open batch, but a kill may have left that batch's own rest to suggest.
        if self._repeatable and self._told < first and self.entries[-1].batch != batch:
            return
        n_new = sum(self._schedule.sizes[: batch + 1]) - first if self._repeatable else 1
        for number in range(first, first + n_new):
            configuration = self._ask(number)
            self._journal.write(
                {"event": "suggested", "number": number, "configuration": configuration}, flush=True
            )
            self._add(configuration)
        for entry in self.entries[first:]:
            self._enqueue(entry)

    def _ask(self, number: int) -> dict[str, float]:
        suggestion = self._searcher.suggest(_name(number))
        return {name: in_range(given, suggestion[name]) for name, given in self._space.items()}

    def _add(self, configuration: dict[str, float]) -> None:
        number = len(self.entries)
        self.entries.append(Entry(number=number, batch=self._batch_of[number], configuration=configuration))

    def _enqueue(self, entry: Entry) -> None:
        until = self._schedule.rungs[-1]
        if self._schedule.meeting is not None:
            until = self._schedule.batch_rungs[entry.batch][self._meeting_at[entry.batch]]
        latest = max(entry.checkpoints, default=0)
        start, configuration = entry.checkpoints.get(latest), entry.configuration
        if entry.begins is not None and entry.begins[0] >= latest:
            start = entry.begins[1]
        elif latest in entry.reports:
            configuration = entry.reports[latest].lineage[-1][1]
        self._queue.append(Job(number=entry.number, configuration=configuration, start=start, until=until))

    def _meet(self, batch: int) -> None:
        """Take a batch over each rung where all of its open members stand, and send on who does not."""
        meeting = self._schedule.meeting
        rungs = self._schedule.batch_rungs[batch]
        while meeting is not None:
            members = [entry for entry in self.entries if entry.batch == batch and entry.status == "open"]
            rung = rungs[self._meeting_at[batch]]
            last = rung == rungs[-1]
            behind = [entry for entry in members if not self._stands(entry, rung, last=last)]
            if behind or not members:
                queued = {job.number for job in self._queue}
                for entry in behind:
                    if not entry.runs and entry.number not in queued:
                        self._enqueue(entry)
                return
            if last:
                for entry in members:
                    self._end(entry, "finished")
                return
            turn = meeting.turn(batch, rung, {entry.number: entry.reports[rung] for entry in members})
            copied = [[number, source, changed] for number, (source, changed) in turn.copied.items()]
            met = {
                "event": "met",
                "batch": batch,
                "rung": rung,
                "stopped": sorted(turn.stopped),
                "copied": copied,
            }
            # One line, so that a kill leaves all of a meeting or nothing.
            self._journal.write(met, flush=True)
            self._met(met)

    def _met(self, event: dict[str, Any]) -> None:
        self._meeting_at[event["batch"]] += 1
        rung = event["rung"]
        for number, source, configuration in event["copied"]:
            entry = self.entries[number]
            entry.configuration = dict(configuration)
            entry.begins = (rung, self.entries[source].checkpoints[rung])
        for number in event["stopped"]:
            self._ended(self.entries[number], "stopped", "")

    def _stands(self, entry: Entry, rung: int, *, last: bool) -> bool:
        return not entry.runs and rung in entry.reports and (last or rung in entry.checkpoints)

    def _end(self, entry: Entry, status: Status, error: str = "") -> None:
        self._journal.write(
            {"event": "ended", "number": entry.number, "status": status, "error": error}, flush=True
        )
        self._ended(entry, status, error)

    def _ended(self, entry: Entry, status: Status, error: str) -> None:
        entry.status = status
        entry.error = error
        if not self._repeatable:
            self._tell(entry)
            return
        batch = [each for each in self.entries if each.batch == entry.batch]
        whole = len(batch) == self._schedule.sizes[entry.batch]
        if whole and all(each.status != "open" for each in batch):
            for each in batch:
                self._tell(each)

    def _tell(self, entry: Entry) -> None:
        self._told += 1
        if entry.status == "failed":
            self._searcher.on_trial_complete(_name(entry.number), error=True)
        else:
            score = entry.reports[entry.rounds].score
            self._searcher.on_trial_complete(_name(entry.number), result={"score": score})

    def _play(self, events: list[dict[str, Any]]) -> None:
        takes: Mapping[str, Callable[[dict[str, Any]], None]] = {
            "suggested": self._play_suggested,
            "reported": self._play_reported,
            "checkpointed": self._play_checkpointed,
            "met": self._met,
            "ended": self._play_ended,
        }
        for event in events:
            takes[event["event"]](event)
        waiting = [entry for entry in self.entries if entry.status == "open"]
        if self._schedule.meeting is not None:
            for batch in sorted({entry.batch for entry in waiting}):
                self._meet(batch)
            return
        for entry in waiting:
            over = entry.rounds >= self._schedule.rungs[-1]
            # The kill came between a report and its consequence.
            if over or (entry.reports and not self.goes_on(entry.number, entry.reports[entry.rounds])):
                self.done(entry.number)
            else:
                self._enqueue(entry)

    def _play_suggested(self, event: dict[str, Any]) -> None:
        configuration = self._ask(event["number"])
        if configuration != event["configuration"]:
            raise StorageError(
                f"Trial {event['number']} of the study was suggested as {event['configuration']}, "
                f"now as {configuration}",
                hint="The search library has changed since: begin a new study in another folder.",
            )
        self._add(configuration)

    def _play_reported(self, event: dict[str, Any]) -> None:
        report = Report.from_dict(event["report"])
        self.entries[event["number"]].reports[report.rounds] = report

    def _play_checkpointed(self, event: dict[str, Any]) -> None:
        self.entries[event["number"]].checkpoints[event["rounds"]] = event["folder"]

    def _play_ended(self, event: dict[str, Any]) -> None:
        self._ended(self.entries[event["number"]], event["status"], event["error"])


def _name(number: int) -> str:
    return f"{number:05d}"
