# Everything here works on a fresh clone: each target installs or finds what it needs.
SHELL := /bin/bash
.DEFAULT_GOAL := help

ROOTS = rego/holdpoint $(wildcard rego/examples/*/)
OPA = $(shell .tools/opa.sh)
SOURCES = $(shell find src -type f)
POLICIES = $(shell find rego -type f)

.PHONY: help demo test build run policy lint format bench clean image-rootfs manifests

help: ## Show this help
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

demo: build policy ## Run a scripted agent against the sidecar: fourteen endings
	@node dist/demo/demo.js --bundle .build/bundle.tar.gz

test: dist/.built ## Run all Rego and TypeScript tests, on a real Redis
	@.tools/redis.sh >/dev/null
	@.tools/kustomize.sh >/dev/null || true
	@.tools/chromium.sh >/dev/null || true
	@.tools/promtool.sh >/dev/null || true
	@.tools/test-rego.sh
	@npx --no-install vitest run

build: dist/.built ## Compile TypeScript to dist/

run: build policy ## Serve the example policies on 127.0.0.1:8282 (admin on 8283, no authentication)
	HOLDPOINT_BUNDLE=.build/bundle.tar.gz HOLDPOINT_ADMIN_AUTH=none node dist/main.js serve

policy: .build/bundle.tar.gz ## Compile the policies to .build/bundle.tar.gz

lint: dist/.built ## Check format, lint, types and policies
	npx --no-install biome check .
	npx --no-install tsc --noEmit -p tsconfig.json
	.tools/lint-rego.sh

format: node_modules/.installed ## Format everything
	npx --no-install biome check --write .
	$(OPA) fmt --write rego

bench: build policy ## Measure against OPA's own server, Redis and single parts (BENCH_ONLY=http,redis,…)
	@npx --no-install tsc -p tsconfig.bench.json
	@.tools/build.sh .build/js/src
	@node .build/js/test/bench/run.js

image-rootfs: dist/.built ## Assemble the container image's root filesystem in .build/rootfs, without a container engine
	@.tools/image-rootfs.sh .build/rootfs

manifests: OVERLAY ?= observe
manifests: $(or $(BUNDLE),.build/bundle.tar.gz) ## Render .build/manifests-OVERLAY.yaml (OVERLAY=observe or enforce, BUNDLE=path of your policy)
	@mkdir -p .build
	@deploy/render.sh "$(OVERLAY)" "$<" ".build/manifests-$(OVERLAY).yaml"

clean: ## Remove what was built
	rm -rf dist .build node_modules .tools/bin

node_modules/.installed: package.json package-lock.json
	@echo "npm: installing" >&2
	@.tools/npm.sh
	@touch $@

dist/.built: node_modules/.installed $(SOURCES)
	@echo "tsc: compiling" >&2
	@.tools/build.sh
	@touch $@

.build/bundle.tar.gz: $(POLICIES) dist/.built
	@mkdir -p .build
	@echo "opa: compiling policies" >&2
	@node dist/main.js policy build $(ROOTS) -o $@ --opa $(OPA) >/dev/null
