#![no_main]

use inception_formats::open_tensorflow_in_memory;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    inception_fuzz::read(open_tensorflow_in_memory(bytes.into(), vec![vec![7; 4096]; 2]));
});
