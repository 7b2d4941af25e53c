//! What is known of a foreign file beside its weights: preprocessing, classes, and what was done by rule.
//!
//! ```text
//! a description that `convert` wrote into it ─ otherwise timm's config.json beside it ─ otherwise the layout's own program
//! ```

use std::collections::BTreeMap;

use inception_formats::{Dtype, Format, Tensor, TensorFile};
use inception_graph::{Graph, Role, Spec, build};

use super::alias::Standard;
use super::recognise::Recognised;
use super::rules::Reason;
use super::{imagenet, preset, timm_config};
use crate::checkpoint::{CheckpointError, Doubt, Metadata, Original, Provenance};

/// A file whose tensors are those of a network.
pub(super) struct Fitted<'a> {
    pub(super) file: &'a TensorFile,
    pub(super) standard: &'a Standard,
    pub(super) found: &'a Recognised,
    /// The tensor of each of the network's parameters.
    pub(super) sources: &'a [Option<usize>],
    /// Tensors that are no part of the network.
    pub(super) left: &'a BTreeMap<Reason, Vec<usize>>,
}

/// What is known of it.
pub(super) struct About {
    pub(super) graph: Graph,
    pub(super) metadata: Metadata,
    pub(super) report: Vec<String>,
    pub(super) doubts: Vec<Doubt>,
}

impl Fitted<'_> {
    pub(super) fn about(&self, described: Option<Metadata>) -> Result<About, CheckpointError> {
        let mut about = match described {
            Some(metadata) => self.by_itself(metadata)?,
            None => self.by_layout()?,
        };
        about.report.extend(self.rules());
        let layout = self.found.layout.name();
        let name = self.file.path().file_name().unwrap_or_default().to_string_lossy();
        about.metadata.provenance = Provenance {
            source: Some(format!("{name} ({}, layout {layout})", self.file.format().name())),
            layout: Some(layout.into()),
            tensors: self.originals(),
            ..about.metadata.provenance
        };
        Ok(about)
    }

    fn graph(&self, img_size: usize, residual_scale: Option<f32>) -> Result<Graph, CheckpointError> {
        let spec = Spec { img_size: Some(img_size), residual_scale, ..self.found.graph.spec().clone() };
        build(&spec).map_err(|source| CheckpointError::Graph { path: self.file.path().into(), source })
    }

    fn by_itself(&self, metadata: Metadata) -> Result<About, CheckpointError> {
        let (described, found) = (metadata.classes.len(), self.found.graph.classes());
        if described != found {
            let reason = format!("they name {described} classes, its tensors have {found}: name as many");
            return Err(CheckpointError::Metadata { path: self.file.path().into(), reason });
        }
        let graph = self.graph(metadata.img_size, metadata.residual_scale)?;
        let Spec { net, width, embedding, .. } = graph.spec().clone();
        let metadata = Metadata { net, width, embedding, ..metadata };
        let report = vec!["preprocessing and classes as the file itself says".into()];
        Ok(About { graph, metadata, report, doubts: Vec::new() })
    }

    fn by_layout(&self) -> Result<About, CheckpointError> {
        let (layout, spec) = (self.found.layout, self.found.graph.spec());
        let net = spec.net.as_str();
        let auxiliary = self.left.contains_key(&Reason::AuxiliaryHead);
        let mut preprocessing = preset::preprocessing(layout, spec, auxiliary);
        let mut img_size = self.found.graph.img_size();
        let (mut classes, mut doubts, mut report) = (None, Vec::new(), Vec::new());
        let config = timm_config::beside(self.file.path());
        match &config {
            Some(config) if config.describes(layout, net) => {
                doubts = config.apply(&mut preprocessing, &mut img_size);
                classes = config.classes(self.found.graph.classes());
                report.push(format!("preprocessing of {}, from the config.json beside it", config.name()));
                report.extend(doubts.iter().map(|doubt| doubt.reason.clone()));
            }
            _ => {
                let other = config.map(|c| format!("the config.json beside it is of {}: not used", c.name()));
                report.extend(other);
                report.extend(preset::assumption(layout, spec, auxiliary).map(String::from));
            }
        }
        let graph = self.graph(img_size, None)?;
        let count = graph.classes();
        let mut metadata =
            Metadata::new(&graph, classes.unwrap_or_else(|| imagenet::names(count)), preprocessing);
        if count == 1001 {
            report.push("1001 classes: class 0 is the background, the others are ImageNet's".into());
            metadata.background = Some(0);
        }
        Ok(About { graph, metadata, report, doubts })
    }

    /// What was done to the tensors, a sentence each.
    fn rules(&self) -> Vec<String> {
        let mut report = Vec::new();
        if self.file.format() == Format::Pytorch {
            let texts = self.file.texts();
            let text = |key: &str| texts.iter().find(|(k, _)| k == key).map(|(_, text)| text.as_str());
            report.extend(text("taken").map(|taken| format!("weights of `{taken}` taken")));
            report.extend(text("left").map(|left| format!("left in the checkpoint: {left}")));
        }
        report.extend(self.standard.prefix.as_ref().map(|prefix| format!("`{prefix}` taken off the names")));
        if self.standard.averages > 0 {
            report.push(format!("{} moving averages taken in place of the weights", self.standard.averages));
        }
        for dtype in Dtype::FLOATS.into_iter().filter(|&dtype| dtype != Dtype::F32) {
            let count =
                self.sources.iter().flatten().filter(|&&i| self.file.tensors()[i].dtype == dtype).count();
            let how =
                if dtype == Dtype::F64 { "rounded to F32" } else { "turned into F32, which loses nothing" };
            if count > 0 {
                report.push(format!("{count} tensors of {} {how}", dtype.name()));
            }
        }
        report.extend(self.left.iter().map(|(reason, tensors)| {
            let names: Vec<&str> = tensors.iter().map(|&i| self.file.tensors()[i].name.as_str()).collect();
            reason.describe(&names)
        }));
        let params = self.found.graph.params();
        let gammas = params.iter().zip(self.sources).filter(|(p, s)| s.is_none() && p.role == Role::Gamma);
        let gammas = gammas.count();
        if gammas > 0 {
            report.push(format!("{gammas} batch norms without a scale: ones"));
        }
        report
    }

    /// Names and types that are not the layout's own, by our names.
    fn originals(&self) -> BTreeMap<String, Original> {
        let params = self.found.graph.params();
        let mut originals = BTreeMap::new();
        for ((param, foreign), source) in params.into_iter().zip(&self.found.names).zip(self.sources) {
            let (Some(foreign), Some(source)) = (foreign, source) else { continue };
            let Tensor { name, dtype, .. } = &self.file.tensors()[*source];
            if *name != foreign.name || *dtype != Dtype::F32 {
                let original = Original { name: name.clone(), dtype: dtype.name().into() };
                originals.insert(param.name, original);
            }
        }
        originals
    }
}
