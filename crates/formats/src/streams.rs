//! Formats of one file that is read where it lies.
//!
//! ```text
//! length, { ─▶ safetensors    \x89HDF ─▶ Keras    \x80 + protocol ─▶ PyTorch, legacy    PK ─▶ data.pkl ? PyTorch : model.weights.h5 ? Keras : unknown
//! ```

use crate::input::{Input, Seekable};
use crate::keras::Keras;
use crate::pytorch::Pytorch;
use crate::safetensors_file::Safetensors;
use crate::{Format, Problem, Source, hdf5, keras, pytorch, safetensors_file, zip_archive};

/// A source and what it is of.
pub(crate) type Found = (Format, Box<dyn Source>);

/// The source that a stream beginning with `start` is, or `None` if it is none of these.
pub(crate) fn open(start: &[u8], stream: impl Seekable + 'static) -> Result<Option<Found>, Problem> {
    if safetensors_file::is(start) {
        let source = Safetensors::open(Input::new(Box::new(stream))?)?;
        return Ok(Some((Format::Safetensors, Box::new(source))));
    }
    if hdf5::is(start) {
        let source = Keras::open(Input::new(Box::new(stream))?)?;
        return Ok(Some((Format::Keras, Box::new(source))));
    }
    if pytorch::is(start) {
        let source = Pytorch::open_legacy(Input::new(Box::new(stream))?)?;
        return Ok(Some((Format::Pytorch, Box::new(source))));
    }
    if !zip_archive::is(start) {
        return Ok(None);
    }
    let mut input = Input::new(Box::new(stream))?;
    let members = zip_archive::members(&mut input)?;
    if let Some(object) = pytorch::object_of(&members) {
        return Ok(Some((Format::Pytorch, Box::new(Pytorch::open_zip(input, &members, object)?))));
    }
    if let Some(weights) = keras::weights_of(&members) {
        return Ok(Some((Format::Keras, Box::new(Keras::open_zip(input, &members, weights)?))));
    }
    Err(Problem::Unknown(
        "it is a zip archive that holds neither PyTorch's data.pkl nor Keras's model.weights.h5: unpack it first"
            .into(),
    ))
}
