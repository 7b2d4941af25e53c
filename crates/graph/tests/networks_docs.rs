//! The generated pages of `docs/` say what the descriptions say.

#[path = "../examples/networks_docs/pages.rs"]
mod pages;

#[test]
fn generated_docs_are_current() {
    let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let stale = pages::stale(&docs);
    let command = "cargo run -p inception-graph --example networks_docs -- docs";
    assert!(stale.is_empty(), "stale: {stale:?}; regenerate with `{command}`");
}
