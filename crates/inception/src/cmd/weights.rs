//! The flags of every command that uses a file of weights.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use inception_graph::{Graph, GraphError, Spec, Weights, build, find};

use crate::checkpoint::{self, Checkpoint, Metadata, Setting};
use crate::data::{Crops, Interpolation, Range, Resize};
use crate::exit::{BadData, UsageError};

/// A file of weights and what overrules what it says.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct WeightsArgs {
    /// Checkpoint, or a file published by slim, timm, torchvision, Keras, FaceNet, facenet-pytorch or pytorch-fid
    #[arg(short, long, value_name = "FILE", alias = "checkpoint")]
    pub weights: PathBuf,
    /// Which of several networks with the same tensors a published file is of [default: recognised]
    #[arg(short, long, value_name = "NET")]
    pub model: Option<String>,
    /// Side of the input in pixels [default: the weights' own]
    #[arg(long, value_name = "N", help_heading = "Preprocessing, in place of the weights' own")]
    pub img_size: Option<usize>,
    /// Share of the shorter side (or of each side) that remains
    #[arg(long, value_name = "F", help_heading = "Preprocessing, in place of the weights' own")]
    pub crop_pct: Option<f64>,
    /// Resampling
    #[arg(long, value_enum, help_heading = "Preprocessing, in place of the weights' own")]
    pub interpolation: Option<Interpolation>,
    /// How a picture becomes a square
    #[arg(long, value_enum, help_heading = "Preprocessing, in place of the weights' own")]
    pub resize: Option<Resize>,
    /// Values of the network's input
    #[arg(long, value_enum, help_heading = "Preprocessing, in place of the weights' own")]
    pub range: Option<Range>,
    /// Whether a picture is turned as its EXIF orientation says
    #[arg(long, value_name = "BOOL", help_heading = "Preprocessing, in place of the weights' own")]
    pub exif: Option<bool>,
}

/// `-m NET`, which must be a network.
pub fn known(model: Option<&String>) -> Result<Option<&str>, GraphError> {
    model.map(|net| find(net).map(|_| net.as_str())).transpose()
}

impl WeightsArgs {
    /// Reads the file for a network that sees so many `crops` of a picture; what was done by rule goes to stderr, a line each.
    pub fn load(&self, crops: Crops) -> Result<(Graph, Weights, Metadata)> {
        let asked = [(self.crop_pct.is_some(), Setting::CropPct), (self.resize.is_some(), Setting::Resize)];
        if let Some((_, setting)) = asked.into_iter().find(|asked| asked.0 && crops != Crops::Single) {
            let (flag, views) = (setting.flag(), crops.views());
            return Err(UsageError(format!(
                "{flag} says nothing with --crops {views}, whose boxes decide what is seen of a picture: leave one of them out"
            ))
            .into());
        }
        let Checkpoint { mut graph, weights, mut metadata, report, doubts, .. } =
            checkpoint::open(&self.weights, known(self.model.as_ref())?, false)?;
        let mut err = std::io::stderr().lock();
        if let Some(source) = metadata.provenance.source.as_ref().filter(|_| !report.is_empty()) {
            writeln!(err, "{source}: {}", metadata.net)?;
        }
        for line in &report {
            writeln!(err, "  {line}")?;
        }
        if let Some(doubt) = doubts.iter().find(|doubt| !self.settles(doubt.setting, crops)) {
            let (file, flag) = (self.weights.display(), doubt.setting.flag());
            return Err(BadData(format!("{file}: {}; say what is right with {flag}", doubt.reason)).into());
        }
        if let Some(side) = self.img_size {
            // Parameters do not depend on the input's size.
            graph = build(&Spec { img_size: Some(side), ..graph.spec().clone() })?;
            metadata.img_size = side;
        }
        let preprocessing = &mut metadata.preprocessing;
        if let Some(crop_pct) = self.crop_pct {
            if !(crop_pct > 0.0 && crop_pct <= 1.0) {
                return Err(
                    UsageError(format!("--crop-pct {crop_pct}: expected more than 0 and at most 1")).into()
                );
            }
            preprocessing.eval.crop_pct = crop_pct;
        }
        preprocessing.eval.interpolation = self.interpolation.unwrap_or(preprocessing.eval.interpolation);
        preprocessing.eval.resize = self.resize.unwrap_or(preprocessing.eval.resize);
        preprocessing.range = self.range.unwrap_or(preprocessing.range);
        preprocessing.exif = self.exif.unwrap_or(preprocessing.exif);
        Ok((graph, weights, metadata))
    }

    /// Whether a flag decides the `setting`, or nothing depends on it.
    fn settles(&self, setting: Setting, crops: Crops) -> bool {
        match setting {
            Setting::CropPct | Setting::Resize if crops != Crops::Single => true,
            Setting::ImgSize => self.img_size.is_some(),
            Setting::CropPct => self.crop_pct.is_some(),
            Setting::Interpolation => self.interpolation.is_some(),
            Setting::Resize => self.resize.is_some(),
            Setting::Range => self.range.is_some(),
        }
    }
}
