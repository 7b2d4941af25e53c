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
//! | the same with another embedding than 512, before 2018 | the same | bilinear | prewhitened |
//! | pytorch-fid | the whole picture | bilinear without antialias, unrounded | [-1, 1] |
//! | the graph of 2015 | the whole picture | TensorFlow 1 | (x − 128) / 128 |
//!
//! slim and the graph of 2015 decode as TensorFlow, the others as Pillow. None of them turns a picture as its EXIF data
//! say, and all drop transparency. A `config.json` of timm's beside the file overrules the table: it tells apart weights
//! whose tensors look alike.

use inception_graph::{Layout, Spec};

use crate::data::{Alpha, Channels, Decoder, Eval, Interpolation, Preprocessing, Range, Resize};

/// The preprocessing of a layout's own program.
pub(super) fn preprocessing(layout: Layout, spec: &Spec, auxiliary: bool) -> Preprocessing {
    let shorter = |crop_pct, interpolation| Eval { crop_pct, interpolation, resize: Resize::Shorter };
    let squash = |interpolation| Eval { crop_pct: 1.0, interpolation, resize: Resize::Squash };
    let (eval, range) = match layout {
        Layout::Slim => {
            let eval =
                Eval { crop_pct: 0.875, interpolation: Interpolation::BilinearTf1, resize: Resize::Central };
            (eval, Range::Signed)
        }
        Layout::Torchvision if auxiliary => (shorter(299.0 / 342.0, Interpolation::Bilinear), Range::Signed),
        Layout::Timm if spec.net == "inception_resnet_v2.slim" => {
            (shorter(0.8975, Interpolation::Bicubic), Range::Signed)
        }
        Layout::Torchvision | Layout::Timm => (shorter(0.875, Interpolation::Bicubic), Range::Signed),
        Layout::Keras | Layout::Keras3 => (squash(Interpolation::Nearest), Range::Signed),
        Layout::Facenet | Layout::FacenetPytorch if spec.embedding.is_some() => {
            (squash(Interpolation::Bilinear), Range::Prewhiten)
        }
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

/// What the tensors cannot tell, and how to say otherwise.
pub(super) fn assumption(layout: Layout, spec: &Spec, auxiliary: bool) -> Option<&'static str> {
    match layout {
        Layout::Torchvision if auxiliary => Some(
            "assumed torchvision's preprocessing with transform_input=True; without it use `--range imagenet`",
        ),
        Layout::Torchvision => Some(
            "assumed timm's preprocessing: 341, bicubic, [-1,1]; if it is of gluon_in1k use `--range imagenet`, if of \
             torchvision `--crop-pct 0.8742 --interpolation bilinear` and, with transform_input=False, `--range imagenet`",
        ),
        Layout::Facenet | Layout::FacenetPytorch if spec.embedding.is_some() => Some(
            "assumed prewhitening, as FaceNet's models of 128 values were trained; otherwise use `--range \"(x-127.5)/128\"`",
        ),
        Layout::Slim
        | Layout::Facenet
        | Layout::Inception2015
        | Layout::PytorchFid
        | Layout::Timm
        | Layout::FacenetPytorch
        | Layout::Keras
        | Layout::Keras3 => None,
    }
}
