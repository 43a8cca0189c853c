//! Facts that every layer shares: number grammars, glob, time, seeded randomness, slots, LZF, CRC-64.
