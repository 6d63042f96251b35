# `just` lists what can be done. Nothing here is more than the command that it stands for.
default:
    @just --list

# everything that has to hold for main
ci:
    .ci/run

# all tests
test *arguments:
    cargo test --workspace {{arguments}}

# format and lints
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings

# what will probably hurt in our own manifests
lint-manifests:
    cargo run --quiet -- lint --strict manifests/

# the manifests in real containers (root, podman)
pods:
    cargo test --test podman

# the report in a real browser (chromium, node)
browser:
    npm ci --prefix tests/browser --ignore-scripts --no-audit --no-fund
    PODTURN_BROWSER=1 cargo test --test browser

# docs/report.png and docs/pictures, anew (chromium, node, pngquant): look at them before they are committed
pictures:
    npm ci --prefix tests/browser --ignore-scripts --no-audit --no-fund
    PODTURN_BROWSER=1 PODTURN_PICTURES=1 cargo test --test browser --test pictures

# the container image
image:
    images/build

# hand-off against floor, make and sh; what idle shims and coordinator cost
bench *arguments:
    cargo bench --bench handoff -- {{arguments}}

# the core alone: cost per event
bench-core:
    cargo bench --bench core
