#![no_main]

use inception_formats::open_bytes;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| inception_fuzz::read(open_bytes(bytes.into())));
