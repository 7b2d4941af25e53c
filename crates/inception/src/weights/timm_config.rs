//! timm's `config.json` beside the weights: it tells apart weights whose tensors look alike.
//!
//! ```text
//! {"architecture": "inception_v3", "label_names": […],
//!  "pretrained_cfg": {"tag", "input_size": [3, 299, 299], "crop_pct", "crop_mode", "interpolation", "mean", "std"}}
//! ```
//! Until 2023 the inner object stood alone. What the file does not say is the layout's own. Any program may have a
//! `config.json`: one that is not timm's is passed over.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use inception_graph::Layout;
use serde_json::Value;

use crate::checkpoint::{Doubt, Setting};
use crate::data::{Interpolation, Preprocessing, Range, Resize};

/// Longest file that is read; one with 1000 classes and their descriptions has 120 KB.
const LONGEST: u64 = 1 << 20;

pub(super) struct Config {
    architecture: String,
    fields: Value,
}

/// timm's description of the folder that the weights at `path` lie in.
pub(super) fn beside(path: &Path) -> Option<Config> {
    let mut text = String::new();
    File::open(path.with_file_name("config.json")).ok()?.take(LONGEST).read_to_string(&mut text).ok()?;
    let fields: Value = serde_json::from_str(&text).ok()?;
    let architecture = fields["architecture"].as_str()?.to_string();
    architecture.contains("inception").then_some(Config { architecture, fields })
}

impl Config {
    /// Whether it is about `net` in `layout`; `tf_inception_v3` and `gluon_inception_v3` are timm's older names.
    pub(super) fn describes(&self, layout: Layout, net: &str) -> bool {
        let plain = net.split('.').next().unwrap_or(net);
        matches!(layout, Layout::Torchvision | Layout::Timm) && self.architecture.ends_with(plain)
    }

    /// `inception_v3.tf_in1k`.
    pub(super) fn name(&self) -> String {
        let tag = self.about("tag").as_str().map(|tag| format!(".{tag}")).unwrap_or_default();
        format!("{}{tag}", self.architecture)
    }

    fn about(&self, key: &str) -> &Value {
        let fields = self.fields.get("pretrained_cfg").unwrap_or(&self.fields);
        &fields[key]
    }

    /// Names of `count` classes.
    pub(super) fn classes(&self, count: usize) -> Option<Vec<String>> {
        let names = self.fields["label_names"].as_array().or(self.about("label_names").as_array())?;
        let names: Vec<String> = names.iter().filter_map(|n| n.as_str().map(String::from)).collect();
        (names.len() == count).then_some(names)
    }

    /// Puts what it says into `preprocessing` and `img_size`; what is not known here stays and is a doubt.
    pub(super) fn apply(&self, preprocessing: &mut Preprocessing, img_size: &mut usize) -> Vec<Doubt> {
        let mut doubts = Vec::new();
        let mut doubt = |setting, what: &str, expected: &str| {
            let reason = format!("its config.json has {what}: expected {expected}");
            doubts.push(Doubt { setting, reason });
        };
        let crop_pct = self.about("crop_pct");
        match crop_pct.as_f64() {
            Some(share) if share > 0.0 && share <= 1.0 => preprocessing.eval.crop_pct = share,
            None if crop_pct.is_null() => {}
            _ => doubt(Setting::CropPct, &format!("crop_pct {crop_pct}"), "more than 0 and at most 1"),
        }
        let mode = self.about("crop_mode");
        match mode.as_str() {
            Some("center") => preprocessing.eval.resize = Resize::Shorter,
            Some("squash") if preprocessing.eval.crop_pct == 1.0 => {
                preprocessing.eval.resize = Resize::Squash
            }
            None if mode.is_null() => {}
            _ => doubt(Setting::Resize, &format!("crop_mode {mode}"), "center, or squash with crop_pct 1"),
        }
        let interpolation = self.about("interpolation");
        match interpolation.as_str() {
            Some("bilinear") => preprocessing.eval.interpolation = Interpolation::Bilinear,
            Some("bicubic") => preprocessing.eval.interpolation = Interpolation::Bicubic,
            Some("nearest") => preprocessing.eval.interpolation = Interpolation::Nearest,
            None if interpolation.is_null() => {}
            _ => {
                let what = format!("interpolation {interpolation}");
                doubt(Setting::Interpolation, &what, "bilinear, bicubic or nearest");
            }
        }
        match (self.numbers("mean").as_slice(), self.numbers("std").as_slice()) {
            ([], []) => {}
            ([0.5, 0.5, 0.5], [0.5, 0.5, 0.5]) => preprocessing.range = Range::Signed,
            ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]) => preprocessing.range = Range::Imagenet,
            (mean, std) => {
                doubt(Setting::Range, &format!("mean {mean:?} and std {std:?}"), "0.5 or ImageNet's");
            }
        }
        match self.numbers("input_size").as_slice() {
            [] => {}
            &[3.0, height, width] if height == width && height >= 1.0 => *img_size = height as usize,
            size => doubt(Setting::ImgSize, &format!("input_size {size:?}"), "three channels and a square"),
        }
        doubts
    }

    fn numbers(&self, key: &str) -> Vec<f64> {
        self.about(key).as_array().into_iter().flatten().map(|v| v.as_f64().unwrap_or(f64::NAN)).collect()
    }
}
