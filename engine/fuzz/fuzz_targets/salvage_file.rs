//! Runs `cairn_engine_fuzz::salvage_file` on what the fuzzer makes up.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cairn_engine_fuzz::salvage_file::run(data));
