//! What the program that published a file does to a picture.
//!
//! | layout | geometry | resampling | values |
//! |---|---|---|---|
//! | slim | central 87.5 % of each side, straight to the square | TensorFlow 1 | [-1, 1] |
//! | torchvision (with auxiliary head) | shorter side 342, centre 299 | bilinear | [-1, 1], after the network's own transform |
//! | timm's Inception-v3 (without), Inception-v4 | shorter side 341, centre 299 | bicubic | [-1, 1] |
//! | timm's Inception-ResNet-v2 | shorter side 333, centre 299 | bicubic | [-1, 1] |
//! | Keras | `load_img(target_size=…)`: the whole picture | nearest | [-1, 1] |
//! | FaceNet, both | the whole picture, which should be a face | bilinear | (x − 127.5) / 128 |
//! | pytorch-fid | the whole picture | bilinear without antialias, unrounded | [-1, 1] |
//! | the graph of 2015 | the whole picture | TensorFlow 1 | (x − 128) / 128 |
//!
//! slim and the graph of 2015 decode as TensorFlow, the others as Pillow. None of them turns a picture as its EXIF data
//! say, and all drop transparency. A `config.json` of timm's beside the file overrules the table: it tells apart weights
//! whose tensors look alike.

use std::path::Path;

use inception_graph::Layout;
use serde_json::Value;

use crate::data::{Alpha, Channels, Decoder, Eval, Interpolation, Preprocessing, Range, Resize};

/// The preprocessing of a layout's own program.
pub(super) fn preprocessing(layout: Layout, net: &str, auxiliary: bool) -> Preprocessing {
    let shorter = |crop_pct, interpolation| Eval { crop_pct, interpolation, resize: Resize::Shorter };
    let squash = |interpolation| Eval { crop_pct: 1.0, interpolation, resize: Resize::Squash };
    let (eval, range) = match layout {
        Layout::Slim => {
            let eval =
                Eval { crop_pct: 0.875, interpolation: Interpolation::BilinearTf1, resize: Resize::Central };
            (eval, Range::Signed)
        }
        Layout::Torchvision if auxiliary => (shorter(299.0 / 342.0, Interpolation::Bilinear), Range::Signed),
        Layout::Timm if net == "inception_resnet_v2.slim" => {
            (shorter(0.8975, Interpolation::Bicubic), Range::Signed)
        }
        Layout::Torchvision | Layout::Timm => (shorter(0.875, Interpolation::Bicubic), Range::Signed),
        Layout::Keras | Layout::Keras3 => (squash(Interpolation::Nearest), Range::Signed),
        Layout::Facenet | Layout::FacenetPytorch => (squash(Interpolation::Bilinear), Range::Facenet),
        Layout::PytorchFid => (squash(Interpolation::BilinearPlain), Range::Signed),
        Layout::Inception2015 => (squash(Interpolation::BilinearTf1), Range::Inception2015),
    };
    let decoder = match layout {
        Layout::Slim | Layout::Inception2015 => Decoder::TensorFlow,
        _ => Decoder::Pillow,
    };
    Preprocessing { eval, range, channels: Channels::Rgb, exif: false, alpha: Alpha::Drop, decoder }
}

/// What timm's `config.json` beside the weights says instead, and the name of the weights in it.
pub(super) fn beside(path: &Path, preprocessing: &mut Preprocessing) -> Result<Option<String>, String> {
    let config = path.with_file_name("config.json");
    let Ok(text) = std::fs::read_to_string(&config) else { return Ok(None) };
    let Ok(config) = serde_json::from_str::<Value>(&text) else { return Ok(None) };
    let Some(architecture) = config["architecture"].as_str().filter(|a| a.starts_with("inception")) else {
        return Ok(None);
    };
    let about = &config["pretrained_cfg"];
    if let Some(crop_pct) = about["crop_pct"].as_f64() {
        preprocessing.eval.crop_pct = crop_pct;
    }
    preprocessing.eval.interpolation = match about["interpolation"].as_str() {
        Some("bilinear") => Interpolation::Bilinear,
        Some("bicubic") | None => Interpolation::Bicubic,
        Some(other) => {
            return Err(format!(
                "its config.json asks for the interpolation `{other}`: expected bilinear or bicubic"
            ));
        }
    };
    let triple =
        |key: &str| about[key].as_array().map(|a| a.iter().filter_map(Value::as_f64).collect::<Vec<_>>());
    preprocessing.range = match (triple("mean").as_deref(), triple("std").as_deref()) {
        (None, None) | (Some([0.5, 0.5, 0.5]), Some([0.5, 0.5, 0.5])) => Range::Signed,
        (Some([0.485, 0.456, 0.406]), Some([0.229, 0.224, 0.225])) => Range::Imagenet,
        other => {
            return Err(format!(
                "its config.json has the unknown mean and std {other:?}: expected 0.5 or ImageNet's"
            ));
        }
    };
    let tag = about["tag"].as_str().map(|tag| format!(".{tag}")).unwrap_or_default();
    Ok(Some(format!("{architecture}{tag}")))
}
