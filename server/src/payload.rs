//! Why a payload of RESTORE was refused: the one who sent it is told no more than that, the text log all.
//!
//! Words that are looked for in logs are those of valkey src/rdb.c `rdbLoadObject`.

use cairn_engine::command::Args;
use cairn_engine::transcode::dump::{self, RestoreError};

use crate::server::Server;

/// What a value of this type byte is packed in.
fn packed_name(type_byte: u8) -> &'static str {
    match type_byte {
        9 => "Zipmap",
        10 => "List ziplist",
        11 => "Intset",
        12 => "Zset ziplist",
        13 => "Hash ziplist",
        14 => "Quicklist ziplist",
        15 | 19 | 21 => "Stream listpack",
        16 => "Hash listpack",
        17 => "Zset listpack",
        18 => "Quicklist listpack",
        20 => "Set listpack",
        _ => "Value",
    }
}

impl Server {
    /// Says why a RESTORE with these arguments answered that its payload has a bad format.
    #[cold]
    pub(crate) fn tell_refused_payload(&self, args: Args<'_>) {
        const PAYLOAD: usize = 3;
        let (Some(engine), Some(payload)) = (&self.engine, args.get(PAYLOAD)) else { return };
        let Err(RestoreError::Content(why)) = dump::restore(payload, &engine.limits) else { return };
        let name = packed_name(payload.first().copied().unwrap_or_default());
        let same = match why.as_str() {
            why if why.contains("a consumer comes twice") => "Duplicate stream consumer detected",
            why if why.contains("of a consumer is not pending") => "Duplicated consumer PEL entry loading",
            _ => "",
        };
        let end = if same.is_empty() { String::new() } else { format!(" ({same})") };
        self.log.warning(format_args!("RESTORE: {name} integrity check failed: {why}{end}"));
    }
}
