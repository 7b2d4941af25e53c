//! The 1000 classes of ImageNet in the order of every published classifier: ascending WordNet synsets.

/// Synset and name of each class, `n01440764` and `tench` first.
pub fn classes() -> impl ExactSizeIterator<Item = (&'static str, &'static str)> {
    let lines: Vec<_> =
        include_str!("imagenet.tsv").lines().filter_map(|line| line.split_once('\t')).collect();
    lines.into_iter()
}

/// Name of the class in front of the 1000 in files of 1001.
pub const BACKGROUND: &str = "background";

/// Names for a classifier of `count` classes that brings none: ImageNet's for 1000, the same behind [`BACKGROUND`] for
/// 1001, numbers otherwise.
pub fn names(count: usize) -> Vec<String> {
    let imagenet = || classes().map(|(_, name)| name.to_string());
    match count {
        1000 => imagenet().collect(),
        1001 => std::iter::once(BACKGROUND.to_string()).chain(imagenet()).collect(),
        _ => (0..count).map(|i| i.to_string()).collect(),
    }
}

/// The position of the first of ImageNet's 1000 classes among those of a classifier that has them in order, called by their names or
/// their synsets, and no other but a `background` in front.
pub fn first(classes: &[String], background: Option<usize>) -> Option<usize> {
    let in_front = usize::from(classes.len() == 1001 && background == Some(0));
    let own = &classes[in_front.min(classes.len())..];
    let all = |called: fn((&'static str, &'static str)) -> &'static str| {
        own.len() == self::classes().len() && self::classes().map(called).eq(own.iter().map(String::as_str))
    };
    (all(|class| class.1) || all(|class| class.0)).then_some(in_front)
}

/// What is known of the order of a classifier's classes.
pub fn order(classes: &[String]) -> &'static str {
    let numbers = || classes.iter().enumerate().all(|(i, name)| *name == i.to_string());
    match classes.len() {
        0 => "none: it ends in features",
        1000 if classes == names(1000) => "ImageNet's, ascending by synset",
        1001 if classes == names(1001) => "the background, then ImageNet's, ascending by synset",
        _ if numbers() => "numbered: the file does not name them",
        _ => "named by the file",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// WordNet's lemmas of each synset, written by `reference/imagenet_classes.py`.
    const LEMMAS: &str = include_str!("../../tests/fixtures/imagenet_lemmas.tsv");

    #[test]
    fn order_and_names_agree_with_a_second_source() {
        let lemmas: Vec<(&str, &str)> = LEMMAS.lines().filter_map(|l| l.split_once('\t')).collect();
        assert_eq!((classes().len(), lemmas.len()), (1000, 1000));
        let mut last = "";
        let mut other = Vec::new();
        for ((synset, name), (expected, words)) in classes().zip(lemmas) {
            assert!(last < synset, "{last} stands before {synset}");
            assert_eq!(synset, expected);
            if !words.split(", ").any(|word| word.eq_ignore_ascii_case(name)) {
                other.push(name);
            }
            last = synset;
        }
        // Two names are WordNet's with a word that tells them from a namesake.
        assert_eq!(other, ["crane bird", "maillot tank suit"]);
    }

    #[test]
    fn a_thousand_and_one_have_the_same_names_one_further() {
        let (thousand, more) = (names(1000), names(1001));
        assert_eq!(more[0], BACKGROUND);
        assert_eq!(more[1..], thousand);
        assert_eq!(names(3), ["0", "1", "2"]);
    }

    #[test]
    fn the_first_class_is_found_where_all_are_in_order() {
        let synsets: Vec<String> = classes().map(|(synset, _)| synset.into()).collect();
        assert_eq!([first(&names(1000), None), first(&synsets, None)], [Some(0); 2]);
        assert_eq!(first(&names(1001), Some(0)), Some(1));
        assert_eq!([first(&names(1001), None), first(&names(999), None), first(&[], None)], [None; 3]);
        let mut swapped = synsets;
        swapped.swap(0, 999);
        assert_eq!(first(&swapped, None), None);
    }

    #[test]
    fn an_order_is_told_by_the_names() {
        assert!(order(&names(1000)).starts_with("ImageNet's"));
        assert!(order(&names(1001)).starts_with("the background, then ImageNet's"));
        assert!(order(&names(3)).starts_with("numbered"));
        let mut swapped = names(1000);
        swapped.swap(0, 999);
        assert_eq!(order(&swapped), "named by the file");
    }
}
