# `make demo` and `make test` install what they need.

MAKEFLAGS += --no-print-directory

CARGO = cargo
PREFIX = /usr/local
BINDIR = $(PREFIX)/bin
# mount(8) looks for its helpers in /sbin, which is /usr/sbin, and not below /usr/local.
SBINDIR = $(patsubst /usr/local,/usr,$(PREFIX))/sbin
MANDIR = $(PREFIX)/share/man/man1
HELPERMANDIR = $(PREFIX)/share/man/man8
BASHDIR = $(PREFIX)/share/bash-completion/completions
ZSHDIR = $(PREFIX)/share/zsh/site-functions
FISHDIR = $(PREFIX)/share/fish/vendor_completions.d

# The names by which mount(8) calls npzfs.
HELPERS = mount.npzfs mount.fuse.npzfs

RELEASE = target/release/npzfs
# The program for this machine, if RELEASE is for another one.
HERE = $(RELEASE)
VENV = target/venv
BENCH_VENV = target/comparison-venv
REQUIREMENTS = tests/clients/requirements.txt
BENCH_REQUIREMENTS = comparison/requirements.txt
WHEEL_VENV = target/wheel-venv
WHEEL_REQUIREMENTS = packaging/python/requirements.txt

FUZZ_RUNS = 10000000

.PHONY: all build demo test check unit clients bench bench-rust bench-check survey fuzz soak install uninstall \
	wheel test-python deb rpm arch dist test-packages clean

all: build

build:
	$(CARGO) build --locked --release

# Mounts, lists, loads and unmounts the example frame.
demo: build
	tests/setup.sh demo
	$(MAKE) $(VENV)/done
	NPZFS=$(CURDIR)/$(RELEASE) PYTHON=$(CURDIR)/$(VENV)/bin/python examples/demo.sh

# All tests. With CI=true none may be skipped.
test:
	tests/setup.sh test
	$(MAKE) check unit clients test-python bench-check

check:
	$(CARGO) fmt --check
	$(CARGO) fmt --manifest-path fuzz/Cargo.toml --check
	$(CARGO) clippy --locked --all-targets -- --deny warnings
	RUSTDOCFLAGS="--deny warnings" $(CARGO) doc --locked --no-deps --document-private-items

unit:
	$(CARGO) test --locked

clients: build $(VENV)/done
	NPZFS=$(CURDIR)/$(RELEASE) $(VENV)/bin/python -m pytest -q -p no:cacheprovider tests/clients

# Compares npzfs with other programs. QUICK=1 for a few minutes, FULL=1 for hours.
bench: build
	tests/setup.sh bench
	$(MAKE) $(BENCH_VENV)/done
	$(CARGO) bench --locked --bench bench --no-run
	NPZFS=$(CURDIR)/$(RELEASE) $(BENCH_VENV)/bin/python -m comparison

# Measures npzfs alone, and the crate zip. QUICK=1 for a short run.
bench-rust:
	$(CARGO) bench --locked --bench bench

# Checks that the comparison compiles, and that its report can be written.
bench-check:
	python3 -m compileall -q comparison
	mkdir -p target/bench-check
	python3 -m comparison.report comparison/results.json target/bench-check/benchmarks.md

# docs/writers.md: who writes and reads archives, and how. Installs a gigabyte of other programs and libraries.
survey: build
	survey/setup.sh target/survey
	NPZFS=$(CURDIR)/$(HERE) target/survey/python/bin/python -B -m survey target/survey

# FUZZ_RUNS is the number of executions. Findings go to fuzz/target/corpus.
fuzz:
	@$(CARGO) fuzz --version > /dev/null 2>&1 || \
		{ echo "fuzz: please install it: cargo install --locked cargo-fuzz" >&2; exit 1; }
	for target in index header; do \
		mkdir -p fuzz/target/corpus/$$target && \
		$(CARGO) fuzz run --sanitizer none $$target fuzz/target/corpus/$$target \
			fuzz/corpus/$$target -- -runs=$(FUZZ_RUNS) -max_len=4096 -print_final_stats=1 || exit 1; \
	done

# Runs each load test for a minute, and the model test and the comparison of npy headers with NumPy with
# many more cases.
soak: build $(VENV)/done
	NPZFS_LOAD_SECONDS=60 NPZFS_MODEL_CASES=3000 \
		$(CARGO) test --locked --release --test integration -- load model --nocapture
	NPZFS_HEADERS=400000 NPZFS=$(CURDIR)/$(RELEASE) \
		$(VENV)/bin/python -m pytest -q -p no:cacheprovider tests/clients/test_npy_headers.py

$(VENV)/done: $(REQUIREMENTS)
$(BENCH_VENV)/done: $(BENCH_REQUIREMENTS)
$(WHEEL_VENV)/done: $(WHEEL_REQUIREMENTS)
$(VENV)/done $(BENCH_VENV)/done $(WHEEL_VENV)/done:
	python3 -m venv --clear $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check --requirement $<
	touch $@

# Builds the Python package, with the program and the module npzfs, in dist/.
wheel: build $(WHEEL_VENV)/done
	rm -f dist/npzfs-*.whl
	packaging/licenses.py > packaging/python/third-party-licenses.txt
	cd packaging/python && CARGO_TARGET_DIR=$(CURDIR)/target $(CURDIR)/$(WHEEL_VENV)/bin/maturin \
		build --quiet --locked --release --out $(CURDIR)/dist

# Tests the wheel with the oldest and the newest supported Python that are installed.
test-python: $(WHEEL_VENV)/done
	packaging/python/test.sh

install: build
	install -D -m 0755 $(RELEASE) $(DESTDIR)$(BINDIR)/npzfs
	install -D -m 0644 man/npzfs.1 $(DESTDIR)$(MANDIR)/npzfs.1
	install -d $(DESTDIR)$(SBINDIR) $(DESTDIR)$(HELPERMANDIR) \
		$(DESTDIR)$(BASHDIR) $(DESTDIR)$(ZSHDIR) $(DESTDIR)$(FISHDIR)
	for name in $(HELPERS); do \
		ln -srf $(DESTDIR)$(BINDIR)/npzfs $(DESTDIR)$(SBINDIR)/$$name && \
		ln -srf $(DESTDIR)$(MANDIR)/npzfs.1 $(DESTDIR)$(HELPERMANDIR)/$$name.8 || exit 1; \
	done
	umask 022 && $(HERE) completions bash > $(DESTDIR)$(BASHDIR)/npzfs
	umask 022 && $(HERE) completions zsh > $(DESTDIR)$(ZSHDIR)/_npzfs
	umask 022 && $(HERE) completions fish > $(DESTDIR)$(FISHDIR)/npzfs.fish

uninstall:
	rm -f $(DESTDIR)$(BINDIR)/npzfs $(HELPERS:%=$(DESTDIR)$(SBINDIR)/%) \
		$(DESTDIR)$(MANDIR)/npzfs.1 $(HELPERS:%=$(DESTDIR)$(HELPERMANDIR)/%.8) \
		$(DESTDIR)$(BASHDIR)/npzfs $(DESTDIR)$(ZSHDIR)/_npzfs \
		$(DESTDIR)$(FISHDIR)/npzfs.fish

# Builds packages of the last commit, in target/packages.
deb rpm arch dist:
	packaging/build-$@.sh

# Builds the packages twice, and installs, uses and removes them. Needs root.
test-packages:
	tests/setup.sh packages
	$(MAKE) $(VENV)/done
	$(VENV)/bin/python -m pytest -q -p no:cacheprovider -o tmp_path_retention_policy=failed tests/packages

clean:
	$(CARGO) clean
	rm -f dist/npzfs-*.whl
