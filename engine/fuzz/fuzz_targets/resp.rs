//! Runs `cairn_engine_fuzz::resp` on what the fuzzer makes up.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cairn_engine_fuzz::resp::run(data));
