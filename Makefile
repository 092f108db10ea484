# The commands of the README: `make demo`, `make test` and `make test-all`. All set up .venv first, once.
PYTHON ?= python3
DEMO ?= demo
BIN := .venv/bin
RADIOSSL := $(BIN)/radiossl
TEST_WORKERS ?= auto

.PHONY: demo test test-slow test-all test-lowest lock fuzz lint types format bench clean

.venv/installed: pyproject.toml requirements.lock
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "radiossl needs Python 3.11 or newer")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint requirements.lock --editable '.[dev]' || { \
		echo 'requirements.lock cannot be had here: installing what pyproject.toml allows instead' >&2; \
		$(BIN)/python -m pip install --quiet --editable '.[dev]'; }
	touch $@

# A small survey is simulated, cut, learnt from without labels, judged against its truth and searched.
demo: .venv/installed
	rm -rf $(DEMO)
	$(RADIOSSL) simulate $(DEMO)/survey --tiles 3 --seed 0
	$(RADIOSSL) cutouts sources $(DEMO)/survey --catalogue $(DEMO)/survey/truth.csv --out $(DEMO)/store
	$(RADIOSSL) cutouts sources $(DEMO)/survey --catalogue $(DEMO)/survey/truth.csv --box-factor 3 --out $(DEMO)/wide
	mkdir -p $(DEMO)/pictures
	$(RADIOSSL) store show $(DEMO)/store --rows 42 --caption class --out $(DEMO)/pictures/cutouts.png
	$(RADIOSSL) views --recipe radiossl --data $(DEMO)/wide $(DEMO_RECIPE) --rows 6 --out $(DEMO)/pictures/views.png
	$(RADIOSSL) pretrain --recipe radiossl --data $(DEMO)/wide $(DEMO_RECIPE) --out $(DEMO)/run
	$(RADIOSSL) evaluate knn $(DEMO)/run/backbone --train $(DEMO)/store --label class --seeds 3 \
		--keep-shared --out $(DEMO)/knn
	$(RADIOSSL) embed $(DEMO)/run/backbone $(DEMO)/store --out $(DEMO)/features.parquet
	$(RADIOSSL) search $(DEMO)/features.parquet $(DEMO_QUERIES) -k 5 --caption class --out $(DEMO)/search
	@$(RADIOSSL) report 'kNN against the truth=$(DEMO)/knn' 'similarity search=$(DEMO)/search' \
		pretraining=$(DEMO)/run survey=$(DEMO)/pictures --title 'radiossl demo' --out $(DEMO)/report.html
	@echo "Open $(abspath $(DEMO)/report.html)"

# Minutes instead of hours: small images and batches, and features of one view each (docs/results.md has those of the
# average over eight too). The simulated sources are faint and a few beams wide: more beams and noise would leave nothing.
DEMO_RECIPE := --image-size 32 --set preprocessing.views=1 --set batch_size=64 --set optimizer.lr=0.001 \
	--set schedule.epochs=30 --set schedule.warmup_epochs=2 \
	--set augmentation.beam_probability=0 --set augmentation.noise_probability=0
DEMO_QUERIES := --query sim0_000_00000 --query sim0_001_00001

# What to run before every commit: five minutes on two cores.
test: .venv/installed lint types
	$(BIN)/python -m pytest -n $(TEST_WORKERS) -m 'not slow'

# What is slow by nature: every block of the documentation, browsers, killed processes, exports.
test-slow: .venv/installed
	$(BIN)/python -m pytest -n $(TEST_WORKERS) -m slow

test-all: test test-slow

# The lowest versions that pyproject.toml declares, in an environment of their own (8 GB, removed by make clean).
LOWEST := .venv-lowest/bin
.venv-lowest/installed: pyproject.toml
	$(PYTHON) -m venv --clear .venv-lowest
	$(LOWEST)/python -m pip install --quiet uv
	$(LOWEST)/uv pip compile --quiet --extra all --resolution lowest-direct --python $(LOWEST)/python \
		--output-file .venv-lowest/lowest.txt pyproject.toml
	$(LOWEST)/uv pip install --quiet --python $(LOWEST)/python --constraints .venv-lowest/lowest.txt \
		--requirements .venv-lowest/lowest.txt --editable . pytest pytest-timeout pytest-xdist hypothesis onnxruntime
	touch $@

test-lowest: .venv-lowest/installed
	$(LOWEST)/python -m pytest -n $(TEST_WORKERS) -m 'not slow'

# Writes requirements.lock: the newest versions of everything, for all platforms.
lock: .venv-lowest/installed
	$(LOWEST)/uv pip compile --quiet --extra dev --universal --python-version 3.11.5 --no-header --no-annotate --upgrade \
		--output-file requirements.lock pyproject.toml

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/installed
	$(BIN)/mypy

format: .venv/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Damaged files of every kind for every reader, for as long as --examples says.
fuzz: .venv/installed
	$(BIN)/python benchmarks/fuzz.py

bench: .venv/installed
	$(BIN)/python benchmarks/throughput.py

clean:
	rm -rf $(DEMO) .venv-lowest build *.egg-info .mypy_cache .pytest_cache .ruff_cache
