//! The generated pages: `networks.md` and a diagram for each network.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use inception_graph::{EndpointRow, NETWORKS, NetInfo, Spec, Summary, build, thousands};

/// Every generated file: its path below `docs` and its text.
pub(crate) fn pages() -> Vec<(PathBuf, String)> {
    let mut page = String::from(include_str!("intro.md"));
    let mut files = Vec::new();
    let mut sections = String::new();
    page.push_str("| network | input | parameters | without γ | GMAC | |\n|---|---|--:|--:|--:|---|\n");
    for net in NETWORKS {
        let graph = build(&Spec::new(net.name)).expect("a network at its own size");
        let summary = graph.describe(1);
        let input = graph.nodes()[0].shape;
        let cells = [summary.parameters as u64, summary.parameters_without_gamma as u64].map(thousands);
        let gmac = summary.macs as f64 / 1e9;
        let Summary { net: name, .. } = &summary;
        let line = format!(
            "| [`{name}`](#{}) | {input} | {} | {} | {gmac:.3} | {} |",
            anchor(name),
            cells[0],
            cells[1],
            net.about
        );
        page.push_str(&line);
        page.push('\n');
        sections.push_str(&section(net, &summary));
        files.push((PathBuf::from("networks").join(format!("{name}.svg")), graph.to_svg()));
    }
    page.push_str(&sections);
    files.insert(0, (PathBuf::from("networks.md"), page));
    files
}

/// The files under `docs` that differ from what [`pages`] makes.
pub(crate) fn stale(docs: &Path) -> Vec<PathBuf> {
    let same = |(path, text): &(PathBuf, String)| {
        std::fs::read_to_string(docs.join(path)).is_ok_and(|found| found == *text)
    };
    pages().into_iter().filter(|page| !same(page)).map(|(path, _)| docs.join(path)).collect()
}

/// A heading's anchor as forges make it: dots fall out.
fn anchor(heading: &str) -> String {
    heading.replace('.', "")
}

fn section(net: &NetInfo, summary: &Summary) -> String {
    let name = &summary.net;
    let mut text = format!("\n## {name}\n\n{}.\n\n![Diagram of {name}](networks/{name}.svg)\n\n", net.about);
    text.push_str("| endpoint | what | output | parameters | MACs | share |\n|---|---|---|--:|--:|--:|\n");
    // Neighbours that differ in nothing but their name share a row.
    let same = |a: &EndpointRow, b: &EndpointRow| EndpointRow { name: a.name.clone(), ..b.clone() } == *a;
    for rows in summary.endpoints.chunk_by(same) {
        let (first, last, times) = (&rows[0], &rows[rows.len() - 1], rows.len());
        let endpoint = if times == 1 {
            format!("`{}`", first.name)
        } else {
            format!("`{}` … `{}`", first.name, last.name)
        };
        let each = if times == 1 { String::new() } else { format!("{times} × ") };
        let ([h, w, c], share) =
            (first.shape, 100.0 * (first.macs * times as u64) as f64 / summary.macs as f64);
        writeln!(
            text,
            "| {endpoint} | {} | {h}×{w}×{c} | {each}{} | {each}{} | {share:.1} % |",
            first.what,
            thousands(first.parameters as u64),
            thousands(first.macs)
        )
        .expect("a string takes every text");
    }
    text
}
