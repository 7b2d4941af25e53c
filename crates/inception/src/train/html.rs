//! A run on one page.

use crate::html::{self, Fact, Pictured};
use crate::metrics::Metrics;

/// What the page shows.
pub(super) struct Page<'a> {
    /// Name of the run.
    pub(super) name: &'a str,
    /// The network, in a few words.
    pub(super) network: String,
    /// What is to be seen first.
    pub(super) facts: Vec<Fact>,
    /// An SVG file.
    pub(super) curves: &'a str,
    /// Names of the classes.
    pub(super) classes: &'a [String],
    /// An evaluation, where there has been one.
    pub(super) judged: Option<&'a Judged>,
    /// Which one that is, in words.
    pub(super) which: String,
    /// Other files of the run: name and text.
    pub(super) texts: Vec<(&'static str, String)>,
}

/// What the evaluation after an epoch found.
pub(super) struct Judged {
    pub(super) epoch: usize,
    pub(super) metrics: Metrics,
    /// The worst first.
    pub(super) mistakes: Vec<Pictured>,
}

/// The HTML file.
pub(super) fn page(page: &Page) -> String {
    let mut sections = html::figure("Curves", "", page.curves);
    if let Some(judged) = page.judged {
        sections += &html::judged(&page.which, judged.metrics.per_class(), page.classes);
        sections += &html::mistakes(&page.which, &judged.mistakes, page.classes);
    }
    page.texts.iter().for_each(|(file, text)| sections += &html::text(file, text));
    html::page(page.name, &page.network, &page.facts, &sections)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_files_is_escaped() {
        let page = page(&Page {
            name: "a'b",
            network: "inception_v4".into(),
            facts: Vec::new(),
            curves: "<svg/>",
            classes: &[],
            judged: None,
            which: String::new(),
            texts: vec![("recipe.toml", "x = \"</pre>\"".into())],
        });
        assert!(page.contains("<title>a&#39;b: inception_v4</title>"));
        assert!(page.contains("x = &quot;&lt;/pre&gt;&quot;") && page.contains("<svg/>"));
    }
}
