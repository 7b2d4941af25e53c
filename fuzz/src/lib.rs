//! What all targets do with a file.

use inception_formats::{Error, TensorFile};

/// Tensors of at most this size are all read; of larger ones, which a file of few bytes can only have by repeating a
/// value, one.
const SMALL: usize = 1 << 16;

/// Reads whatever there is.
pub fn read(file: Result<TensorFile, Error>) {
    let Ok(mut file) = file else { return };
    let mut large = 0;
    for (i, tensor) in file.tensors().to_vec().iter().enumerate() {
        let bytes = tensor.bytes().expect("a size that was checked");
        large += usize::from(bytes > SMALL);
        if (bytes <= SMALL || large == 1)
            && let Ok(values) = file.bytes(i)
        {
            assert_eq!(values.len(), bytes);
        }
    }
}
