//! What a process has used.

use std::{fs, io};

/// Linux counts processor time in hundredths of a second (`USER_HZ`).
const NANOS_A_TICK: u64 = 10_000_000;

/// Processor time of all its threads so far, user and system, in nanoseconds; to a hundredth of a second.
pub(crate) fn time(process: u32) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/stat"))?;
    let after_name = text.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(2);
    Ok(ticks.filter_map(|it| it.parse::<u64>().ok()).sum::<u64>() * NANOS_A_TICK)
}

/// Resident memory, in bytes.
pub(crate) fn memory(process: u32) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|it| it.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kibibytes.unwrap_or(0) * 1024)
}

/// How many processors there are.
pub(crate) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Binds the calling thread, and those that it starts from now on, to one processor.
pub(crate) fn bind_to(processor: usize) -> io::Result<()> {
    let mut set = rustix::thread::CpuSet::new();
    set.set(processor);
    Ok(rustix::thread::sched_setaffinity(None, &set)?)
}
