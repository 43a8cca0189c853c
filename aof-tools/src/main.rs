//! The binary `aof-tools`.

fn main() -> std::process::ExitCode {
    aof_tools::main()
}
