# Every command of the project. `just` lists them; `just check` is what CI runs.

[private]
default:
    @just --list --unsorted

# Everything that must hold on main, cheapest first
check:
    .ci/run

# The part of `check` that takes seconds once built
quick:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- -D warnings

# Formats the sources
fmt:
    cargo fmt --all

# All tests, or those whose names match
test *NAME:
    cargo test --locked {{ NAME }}

# The kernels' and the engine's tests with one instruction set: scalar, avx2, avx512 or neon
test-isa ISA:
    INCEPTION_ISA={{ ISA }} cargo test --locked -p inception-kernels -p inception-cpu

# The kernels' tests with AddressSanitizer
address *ARGS:
    .ci/address {{ ARGS }}

# The kernels' tests on aarch64, emulated; needs root on a Debian-like system
aarch64 *ARGS:
    .ci/aarch64 {{ ARGS }}

# Trains a plain and a residual network on the built-in data and draws both error curves
demo *ARGS:
    cargo run --release --locked -- demo {{ ARGS }}

# Writes the generated pages of docs/ anew
docs:
    cargo run --locked -p inception-graph --example networks_docs -- docs

# The documentation of the crates, in the browser
doc:
    cargo doc --workspace --no-deps --open

# Licences, sources and bans of the dependencies
deny:
    cargo deny check bans licenses sources

# Spelling
typos:
    typos
