//! Values to codec events and back: RDB load and save, DUMP and RESTORE.
