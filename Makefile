# The two commands of the README, and the set-up that both share. Nothing clever: what can be said in Python is said there.
.POSIX:
.PHONY: sandbox test test-long test-live lock catalogue descriptions

PYTHON = python3
VENV = .venv
ONLY =
BACKEND =
COMPILE = UV_CUSTOM_COMPILE_COMMAND="make lock" $(VENV)/bin/uv pip compile --quiet --universal --generate-hashes \
	--no-emit-index-url --python-version 3.11

sandbox: $(VENV)/ready
	$(VENV)/bin/python -m invoke deploy --env sandbox --yes

test: $(VENV)/ready
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/python -m pytest -n 3 --dist loadgroup

# Kills runs at every request and every moment of it, Terraform's requests too. Hours; the scheduled CI runs it.
test-long: $(VENV)/ready
	CI_USER_LONG=1 $(VENV)/bin/python -m pytest -n 2 --dist worksteal -m "long or not long" -k "$(ONLY)" \
		tests/integration/test_kill_every_request.py tests/faults/test_kill_at_every_call.py \
		tests/integration/test_check.py tests/integration/test_operator_policies.py

# Runs the contract's harmless part against the real place that .cache/live/BACKEND.yaml names.
test-live: $(VENV)/ready
	CI_USER_LIVE_BACKEND="$(BACKEND)" $(VENV)/bin/python -m pytest -m live -rP tests/live

# Set-up leaves a stamp last, so that an interrupted one is done again and a finished one is never repeated.
$(VENV)/ready: requirements.txt requirements-sandbox.txt requirements-uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed, found %d.%d: make PYTHON=python3.12 ..." % sys.version_info[:2])'
	$(PYTHON) -m venv --clear $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-uv.txt
	$(VENV)/bin/uv pip install --quiet --compile-bytecode --python $(VENV)/bin/python --require-hashes -r requirements.txt
	$(VENV)/bin/uv venv --quiet --clear --python $(VENV)/bin/python $(VENV)/sandbox
	$(VENV)/bin/uv pip install --quiet --compile-bytecode --python $(VENV)/sandbox/bin/python --require-hashes -r requirements-sandbox.txt
	@touch $@

# Renews the three locks from pyproject.toml (they carry hashes and no index address).
lock: $(VENV)/ready
	$(COMPILE) pyproject.toml --all-extras --upgrade -o requirements.txt
	$(COMPILE) --group sandbox --upgrade -o requirements-sandbox.txt
	$(COMPILE) --group installer --upgrade -o requirements-uv.txt

# Renews the catalogue of IAM's actions from the package that requirements-catalogue.txt pins; nothing of it stays installed.
catalogue: $(VENV)/ready
	rm -rf .cache/catalogue
	$(VENV)/bin/uv pip install --quiet --no-deps --only-binary :all: --python $(VENV)/bin/python --target .cache/catalogue \
		--require-hashes -r requirements-catalogue.txt
	$(VENV)/bin/python -m ci_user.policy.catalogue_build .cache/catalogue requirements-catalogue.txt
	rm -rf .cache/catalogue

# Renews tests/vendors/descriptions from the npm packages that tests/vendors/package-lock.json pins. Only this needs npm.
descriptions: $(VENV)/ready
	npm ci --prefix tests/vendors --ignore-scripts
	$(VENV)/bin/python -m tests.vendors.cut tests/vendors/node_modules
