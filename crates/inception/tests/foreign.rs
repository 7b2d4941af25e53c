//! What files of other programs hold beside, around and instead of what their layouts say.

mod layout_files;

use inception_graph::Layout;
use layout_files::Ones;

#[test]
fn a_classifier_that_is_missing_or_renamed_is_not_taken_for_the_fid_network() {
    for renamed in [None, Some("fc.0.weight")] {
        let text = Ones::new(Layout::Torchvision, "inception_v3.torchvision", 3, |tensors| {
            let at = tensors.iter().position(|t| t.0 == "fc.weight").unwrap();
            match renamed {
                Some(name) => tensors[at].0 = name.into(),
                None => drop(tensors.remove(at)),
            }
        })
        .refusal();
        assert!(text.contains("does not fit inception_v3.torchvision in the layout torchvision"), "{text}");
        assert!(text.contains("`fc.weight` [1000, 2048] is missing"), "{text}");
    }
}
