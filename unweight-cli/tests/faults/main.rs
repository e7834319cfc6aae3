//! Faults of the system below the program: calls that fail, and the end of the program or of the
//! machine at any moment. A tracer on ptrace makes them, so these tests need x86-64 Linux that
//! permits ptrace. Elsewhere they are skipped, and say so.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod disk;
mod every_call;
mod kills;
mod power_failure;
mod scene;
mod tracer;

/// One of how many faults a test takes: all with `UNWEIGHT_FAULTS=all`.
fn stride(otherwise: usize) -> usize {
    match std::env::var("UNWEIGHT_FAULTS") {
        Ok(all) if all == "all" => 1,
        _ => otherwise,
    }
}
