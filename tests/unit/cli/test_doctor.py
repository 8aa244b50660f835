import importlib.util

from acceleray.cli.doctor import examine


def test_a_machine_without_quantlib_is_told_what_it_lacks(tmp_path, monkeypatch):
    find = importlib.util.find_spec
    (found,) = [finding for finding in examine(tmp_path) if finding.subject == "QuantLib"]
    assert found.ok
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "QuantLib" else find(name))
    (found,) = [finding for finding in examine(tmp_path) if finding.subject == "QuantLib"]
    assert found.exit_code == 0
    assert found.as_text().startswith("note  QuantLib: is not installed; American options")
    assert "acceleray[quantlib]" in found.remedy
