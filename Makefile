# Thin: each target is what a person would type.
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: run test prove check bench docs fault clean

run: $(INSTALLED)
	cd examples/sp500 && ../../$(BIN)/acceleray run

test: $(INSTALLED)
	$(BIN)/python -m pytest

# Every repetition of the random experiments, of which `make test` runs a sample.
prove: $(INSTALLED)
	ACCELERAY_PROVE=full $(BIN)/python -m pytest tests/property tests/reference tests/integration/test_search.py

check: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(INSTALLED)
	$(BIN)/python benchmarks/night.py
	$(BIN)/python -m benchmarks.market_kernel
	$(BIN)/python -m benchmarks.market
	$(BIN)/python -m benchmarks.market --memory
	$(BIN)/python -m benchmarks.credit_curve
	$(BIN)/python -m benchmarks.credit
	$(BIN)/python benchmarks/fan_out.py

docs: $(INSTALLED)
	$(BIN)/python -m acceleray.cli.reference docs/reference

fault: $(INSTALLED)
	ACCELERAY_FAULT=full $(BIN)/python -m pytest tests/fault

clean:
	rm -rf $(VENV) build

# A night is many short processes. Each would compile every module that it imports if nothing kept the result.
export PYTHONDONTWRITEBYTECODE :=

# The environment is made anew when the lock or the package's own settings change.
$(INSTALLED): requirements.lock pyproject.toml
	@if command -v uv >/dev/null 2>&1; then \
	  uv venv --quiet --clear --python 3.11 $(VENV) && \
	  VIRTUAL_ENV=$(CURDIR)/$(VENV) uv pip install --quiet --compile-bytecode -r requirements.lock && \
	  VIRTUAL_ENV=$(CURDIR)/$(VENV) uv pip install --quiet --no-deps -e .; \
	else \
	  python3.11 -m venv --clear $(VENV) && \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock && \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .; \
	fi
	@touch $(INSTALLED)
