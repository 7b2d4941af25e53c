//! Writes `networks.md` and the diagrams into a folder; with `--check` says which of them are stale.
#![allow(clippy::print_stderr)]

mod pages;

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [docs] if !docs.starts_with('-') => match write(Path::new(docs)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{docs}: {error}");
                ExitCode::FAILURE
            }
        },
        [docs, "--check"] => {
            let stale = pages::stale(Path::new(docs));
            stale.iter().for_each(|path| eprintln!("stale: {}", path.display()));
            if stale.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        _ => {
            eprintln!("usage: networks_docs DOCS [--check]");
            ExitCode::from(2)
        }
    }
}

fn write(docs: &Path) -> std::io::Result<()> {
    for (path, text) in pages::pages() {
        let path = docs.join(path);
        std::fs::create_dir_all(path.parent().unwrap_or(docs))?;
        std::fs::write(path, text)?;
    }
    Ok(())
}
