//! Files that once broke a reader, or would break a careless one: what a fuzzer found, and what these are named after.

use std::path::Path;

use inception_formats::{Error, TensorFile, open_bytes, open_tensorflow_in_memory};

/// Reads all there is; that this returns is what is tested.
fn read(file: Result<TensorFile, Error>) {
    let Ok(mut file) = file else { return };
    let tensors = file.tensors().to_vec();
    for (i, tensor) in tensors.iter().enumerate() {
        if let Ok(values) = file.bytes(i) {
            assert_eq!(Some(values.len()), tensor.bytes());
        }
    }
}

#[test]
fn every_reader_survives_every_file() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/regressions");
    let mut files = 0;
    for file in std::fs::read_dir(&folder).expect("the folder of regressions") {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        read(open_bytes(bytes.clone()));
        read(open_tensorflow_in_memory(bytes.clone(), vec![]));
        read(open_tensorflow_in_memory(bytes, vec![vec![7; 4096]; 2]));
        files += 1;
    }
    assert!(files >= 4, "{files} files in {}", folder.display());
}

/// A tensor of 4,096 lists of one value, for each of which the buffer once grew, in an attribute whose value stands before
/// its name, for which it was once lost.
#[test]
fn short_lists_are_one_tensor() {
    let bytes = include_bytes!("regressions/short_lists_value_before_name.pb");
    let mut file = open_tensorflow_in_memory(bytes.to_vec(), vec![]).unwrap();
    assert_eq!((file.tensors().len(), file.values(0).unwrap()[4095]), (1, 4095.0));
}
