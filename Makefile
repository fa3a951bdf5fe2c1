# What a newcomer needs: `make demo` and `make test`.  Both set up all they need (scripts/setup).
PYTHON = .venv/bin/python

.PHONY: demo test lint setup clean fuzz-dns soak
.PHONY: bench-capacity bench-dns bench-eyes bench-failover bench-nearest bench-publish bench-import bench-sets bench-boot bench-read
demo:
	@scripts/setup demo
	@$(PYTHON) scripts/demo $(if $(KEEP),--keep)

test: setup lint
	@$(PYTHON) -m pytest -q

lint: setup
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check -q .
	@.venv/bin/mypy
	@.venv/bin/lint-imports --no-logo

setup:
	@scripts/setup

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# The name server beside gdnsd, Knot and PowerDNS; MIRRORNET_TABLE names a whole world.table, FULL=1 takes every prefix.
bench-dns: setup
	@$(PYTHON) bench/dns/compare.py $(if $(FULL),--full)
	@$(PYTHON) bench/dns/flip.py

# Six minutes: from a mirror's death to the answers, by one pair of eyes and by three (bench/dns/eyes.py).
bench-eyes: setup
	@$(PYTHON) bench/dns/eyes.py

# A quarter of an hour of random packets: respond(), the compiled step under sanitizers, both engines side by side.
fuzz-dns: setup
	@$(PYTHON) bench/fuzz_dns.py
	@$(PYTHON) bench/fuzz_step.py
	@$(PYTHON) bench/equal_dns.py

# Ten minutes in a lab: load, readers, and a fault every five seconds (mirrornet/lab/soak); SEED=7 is the same day again.
soak: setup
	@$(PYTHON) -m mirrornet.lab.soak --seconds $(or $(SECONDS),600) $(if $(SEED),--seed $(SEED))

# Four minutes: what a name server of 10 to 500 mirrors needs; MIRRORNET_TABLE names a whole world.table.
bench-capacity: setup
	@$(PYTHON) bench/capacity.py

# Six minutes: how long a dead mirror stays in what resolvers give, ours beside gdnsd's (bench/failover.py).
bench-failover: setup
	@$(PYTHON) bench/failover.py

# Ten minutes: `publish` beside casync and create_compressed_fs, on a Debian in 2 GB and its update (bench/publish.py).
bench-publish: setup
	@$(PYTHON) bench/publish.py

# What 53,268 as-sets cost, from a dump to a plan (bench/sets.py).
bench-sets: setup
	@$(PYTHON) bench/sets.py

# How near is "nearest": the ranking against measured round-trip times (MIRRORNET_DATA; bench/nearest.py --rtt FILE).
bench-nearest: setup
	@$(PYTHON) bench/nearest.py

# Two minutes: `import-radb` beside others who merely read the same dump; SCALE=1 adds 0.1 to 4 million routes.
bench-import: setup
	@$(PYTHON) bench/import_radb.py
	@$(if $(SCALE),$(PYTHON) bench/import_radb.py --scale --rounds 3)

# Forty minutes: a guest boots from mirrors far away, and from those who do the same job; QUICK=1 takes three
# (bench/boot/compare.py).
bench-boot: setup
	@$(PYTHON) bench/boot/compare.py $(if $(QUICK),--quick)

# Ten minutes: what is in the disk cache, read through the kernel, beside squashfuse, bindfs and nbdfuse (bench/read.py).
bench-read: setup
	@$(PYTHON) bench/read.py
	@$(PYTHON) bench/read.py --sparse
