# One target a habit; everything is in scripts/ and works without make.

# PEM bundle that image builds trust, for networks that intercept TLS. It never reaches an image.
CA_BUNDLE ?= $(SSL_CERT_FILE)
export BOTTLE_CA_BUNDLE = $(CA_BUNDLE)

.PHONY: help demo test lint bench setup clean-engine

help: ## Show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## From nothing to a real agent in a bottle and two blocked requests; leaves only images
	@scripts/demo.sh

test: ## All tests, on a real engine (BOTTLE_TEST_ENGINE=none: those that need none)
	@scripts/test.sh

lint: ## Formatting, clippy, scripts
	cargo fmt --check
	cargo lint
	@for file in scripts/*.sh; do sh -n "$$file" || exit 1; done

bench: ## What the gate's content rules cost
	cargo bench --bench gate_dlp

setup: ## Engine, static gate and images, for a binary built here
	@scripts/setup.sh

clean-engine: ## Remove all bottles, builds and networks of ours from the engine (asks)
	@scripts/clean-engine.sh
