# make demo   the default model and the first study, from start to verdicts
# make lab    JupyterLab on the notebooks
# make quick    each law on one tiny model, without the default model and without a browser: two minutes
# make test     every test but the studies' runs; the same as `pytest`
# make studies  the FAST run of every notebook, studies against their recorded verdicts; every lesson, solved
# make lint     ruff's format and rules, mypy
# make constraints    constraints.txt anew: the newest packages that are allowed, if every test passes with them
# make docs     the documentation site, in site/; `interp docs` opens it
# Each makes .venv first, with the tested set of packages; a second run starts at once. Python: make PYTHON=python3.12 demo
PYTHON ?= python3
VENV ?= .venv
PY = $(VENV)/bin/python
SET = pyproject.toml constraints.txt

.PHONY: demo lab quick test studies lint docs constraints install install-test install-docs clean

demo: install
	$(PY) -m interp demo

lab: install
	$(PY) -m interp lab

quick: install-test
	$(PY) -m pytest -m "not (slow or browser or model or architecture or notebook or study)" $(ARGS)

test: install-test
	$(PY) -m pytest $(ARGS)

studies: install-test
	$(PY) -m pytest -m "study or notebook" tests/studies/test_notebooks.py tests/workshop/test_lessons.py $(ARGS)

lint: install-test
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy

docs: install-docs
	$(PY) -m interp docs --no-browser

constraints: install-test
	$(PY) release/constraints.py $(ARGS)

install: $(VENV)/.installed
install-test: $(VENV)/.installed-test
install-docs: $(VENV)/.installed-docs

$(VENV)/.installed: $(SET)
	$(call INSTALL,.)
	@touch $@

$(VENV)/.installed-test: $(SET)
	$(call INSTALL,.[test])
	@touch $(VENV)/.installed $@

$(VENV)/.installed-docs: $(SET)
	$(call INSTALL,.[docs])
	@touch $(VENV)/.installed $@

clean:
	rm -rf $(VENV)

# uv where it can be had (a minute instead of several), else plain pip: the same packages either way, compiled
# at once, so that the first session starts as fast as the next.
# uv reads none of pip's settings, so where pip looks for packages is handed over.
define INSTALL
@set -eu; test -x $(PY) || $(PYTHON) -m venv $(VENV); \
$(PY) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("interp needs Python 3.11 or newer: rm -r $(VENV); make PYTHON=python3.11 ...")'; \
echo "installing into $(VENV) (the first time: 20 seconds to some minutes)"; \
pip() { $(PY) -m pip --disable-pip-version-check "$$@"; }; \
asked() { pip config get "$$1" 2>/dev/null || true; }; \
links="$${PIP_FIND_LINKS:-$$(asked global.find-links)}"; \
index="$${PIP_INDEX_URL:-$$(asked global.index-url)}"; \
uv="$$(command -v uv || true)"; \
if [ -z "$$uv" ] && pip install -q uv 2>/dev/null; then uv=$(VENV)/bin/uv; fi; \
set -- ; for l in $$links; do set -- "$$@" --find-links "$$l"; done; \
if [ -n "$$index" ]; then set -- "$$@" --default-index "$$index"; fi; \
if [ -n "$$uv" ] && "$$uv" pip install -q --compile-bytecode --python $(PY) "$$@" -c constraints.txt -e "$(1)"; then :; \
else echo "with pip alone: this takes some minutes"; pip install -q -c constraints.txt -e "$(1)"; fi
endef
