import os

from acceleray.engines import ray as engine


def test_folders_of_dead_sessions_are_removed_and_others_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    # Process ids end below 2^22 on Linux, so this one is nobody's.
    dead = tmp_path / f"acceleray-ray-{2**22 + 1}-abc"
    alive = tmp_path / f"acceleray-ray-{os.getpid()}-abc"
    foreign = tmp_path / "acceleray-ray-notes"
    for folder in (dead, alive, foreign):
        folder.mkdir()
    engine._remove_left_behind()
    assert not dead.exists()
    assert alive.exists()
    assert foreign.exists()
