//! Micro benches of the engine, and a load driver.
