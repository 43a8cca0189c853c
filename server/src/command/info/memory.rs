//! INFO: memory.

use cairn_engine::engine::Engine;
use cairn_engine::os::{jemalloc, memory};
use cairn_engine::script::Functions;

use super::process::machine_memory;
use super::{field, human};
use crate::server::Server;

pub(super) fn memory(server: &Server, out: &mut String) {
    let allocator = jemalloc::stats();
    let policy = server.config.get(&[b"maxmemory-policy"]).pop().map(|(_, value)| value).unwrap_or_default();
    let policy = String::from_utf8_lossy(&policy);
    let used = jemalloc::used_bytes();
    let peak = server.stats.peak_memory.max(used);
    let resident = memory::resident_bytes();
    let databases = server.engine.as_ref().map(|engine| engine.keyspace().iter());
    let tables: u64 = databases.into_iter().flatten().map(|db| db.table_bytes() as u64).sum();
    let overhead = server.client_memory() + server.startup_memory + tables;
    let dataset = used.saturating_sub(overhead);
    let both = |out: &mut String, name: &str, bytes: u64| {
        field(out, name, bytes);
        field(out, &format!("{name}_human"), human(bytes));
    };
    both(out, "used_memory", used);
    both(out, "used_memory_rss", resident);
    both(out, "used_memory_peak", peak);
    field(out, "used_memory_peak_perc", percent(used, peak));
    field(out, "used_memory_overhead", overhead);
    field(out, "used_memory_startup", server.startup_memory);
    field(out, "used_memory_dataset", dataset);
    field(out, "used_memory_dataset_perc", percent(dataset, used.saturating_sub(server.startup_memory)));
    field(out, "allocator_allocated", allocator.allocated);
    field(out, "allocator_active", allocator.active);
    field(out, "allocator_resident", allocator.resident);
    field(out, "allocator_muzzy", 0);
    both(out, "total_system_memory", machine_memory());
    let scripts = &server.scripting.scripts;
    let (vm, texts) = (scripts.vm_bytes() as u64, scripts.memory_bytes() as u64);
    let functions = server.engine.as_ref().map(Engine::functions);
    let of_functions = |count: fn(&Functions) -> usize| functions.map_or(0, |all| count(all) as u64);
    let (functions_vm, sources) = (of_functions(Functions::vm_bytes), of_functions(Functions::memory_bytes));
    field(out, "used_memory_lua", vm);
    field(out, "used_memory_vm_eval", vm);
    field(out, "used_memory_lua_human", human(vm));
    field(out, "used_memory_scripts_eval", texts);
    field(out, "number_of_cached_scripts", scripts.len());
    field(out, "number_of_functions", of_functions(Functions::function_count));
    field(out, "number_of_libraries", of_functions(Functions::len));
    field(out, "used_memory_vm_functions", functions_vm);
    both(out, "used_memory_vm_total", vm + functions_vm);
    field(out, "used_memory_functions", sources);
    both(out, "used_memory_scripts", texts + sources);
    both(out, "maxmemory", server.config.maxmemory);
    field(out, "maxmemory_policy", policy);
    field(out, "allocator_frag_ratio", ratio(allocator.active, allocator.allocated));
    field(out, "allocator_frag_bytes", allocator.active.saturating_sub(allocator.allocated));
    field(out, "allocator_rss_ratio", ratio(allocator.resident, allocator.active));
    field(out, "allocator_rss_bytes", difference(allocator.resident, allocator.active));
    field(out, "rss_overhead_ratio", ratio(resident, allocator.resident));
    field(out, "rss_overhead_bytes", difference(resident, allocator.resident));
    field(out, "mem_fragmentation_ratio", ratio(resident, used));
    field(out, "mem_fragmentation_bytes", difference(resident, used));
    field(out, "mem_not_counted_for_evict", server.uncounted_memory());
    field(out, "mem_replication_backlog", 0);
    field(out, "mem_total_replication_buffers", 0);
    field(out, "mem_replicas_repl_buffer", 0);
    field(out, "mem_replica_full_sync_buffer", 0);
    field(out, "mem_clients_slaves", 0);
    field(out, "mem_clients_normal", server.client_memory());
    field(out, "mem_cluster_links", 0);
    field(out, "mem_cluster_slot_import", 0);
    field(out, "mem_cluster_slot_export", 0);
    field(out, "mem_aof_buffer", server.engine.as_ref().map_or(0, Engine::aof_memory_bytes));
    field(out, "mem_allocator", format_args!("jemalloc-{}", jemalloc::version()));
    // The table grows in place.
    field(out, "mem_overhead_db_hashtable_rehashing", 0);
    field(out, "active_defrag_running", 0);
    let (pending, freed) = server.engine.as_ref().map_or((0, 0), Engine::lazy_free);
    field(out, "lazyfree_pending_objects", pending);
    field(out, "lazyfreed_objects", freed);
}

fn difference(a: u64, b: u64) -> i128 {
    i128::from(a) - i128::from(b)
}

fn ratio(a: u64, b: u64) -> String {
    format!("{:.2}", a as f64 / b.max(1) as f64)
}

fn percent(part: u64, whole: u64) -> String {
    format!("{:.2}%", part as f64 * 100.0 / whole.max(1) as f64)
}

/// Lua alone. What its interpreters take counts with them.
pub(super) fn scripting_engines(server: &Server, out: &mut String) {
    /// Version of the interface to engines that Valkey 9.1 has.
    const ABI_VERSION: u32 = 4;
    let functions = server.engine.as_ref().map_or(0, |engine| engine.functions().vm_bytes());
    let used = server.scripting.scripts.vm_bytes() + functions;
    field(out, "engines_count", 1);
    field(out, "engines_total_used_memory", used);
    field(out, "engines_total_memory_overhead", 0);
    field(
        out,
        "engine_0",
        format_args!(
            "name=LUA,module=built-in,abi_version={ABI_VERSION},used_memory={used},memory_overhead=0"
        ),
    );
}
