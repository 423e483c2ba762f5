//! What a program costs with all the processes that it starts: processor time and memory, from `/proc`.

use std::collections::HashMap;
use std::io;

/// `/proc` counts processor time in hundredths of a second on every Linux that Snug runs on (USER_HZ).
const TICKS_A_SECOND: f64 = 100.0;

/// Processor time used so far by each process of a tree.
#[derive(Clone, Debug)]
pub struct CpuTimes(HashMap<u32, u64>);

impl CpuTimes {
    /// Of a process and all its descendants.
    ///
    /// # Errors
    /// When `/proc` cannot be read, or the process is gone.
    pub fn of_tree(root: u32) -> io::Result<Self> {
        let all = processes()?;
        let ticks = |pid: &u32| (*pid, all.get(pid).map_or(0, |process| process.ticks));
        Ok(Self(tree(root, &all)?.iter().map(ticks).collect()))
    }

    /// Seconds of processor time used since `earlier`. What a process used that ended in between is lost;
    /// the trees that are measured here keep theirs.
    pub fn since(&self, earlier: &Self) -> f64 {
        let used = |(pid, now): (&u32, &u64)| now.saturating_sub(earlier.0.get(pid).copied().unwrap_or(0));
        self.0.iter().map(used).sum::<u64>() as f64 / TICKS_A_SECOND
    }
}

/// Memory of a process and all its descendants in bytes: proportional set size, where what several processes
/// share is divided among them.
///
/// # Errors
/// When `/proc` cannot be read, or the process is gone.
pub fn pss_of_tree(root: u32) -> io::Result<u64> {
    let mut sum = 0;
    for pid in tree(root, &processes()?)? {
        match std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) {
            Ok(text) => sum += pss(&text),
            // It ended meanwhile: neither of these kinds of error is ours to tell.
            Err(error) if error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(3) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(sum)
}

/// How many processes a tree has.
///
/// # Errors
/// When `/proc` cannot be read, or the process is gone.
pub fn count_of_tree(root: u32) -> io::Result<usize> {
    Ok(tree(root, &processes()?)?.len())
}

fn pss(rollup: &str) -> u64 {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kilobytes = line.and_then(|rest| rest.trim().strip_suffix("kB"));
    kilobytes.and_then(|number| number.trim().parse::<u64>().ok()).map_or(0, |kilobytes| kilobytes * 1024)
}

struct Process {
    parent: u32,
    ticks: u64,
}

/// The fields of `/proc/PID/stat` that are needed: the second, the name, may hold anything, so that counting
/// starts after its last bracket.
fn parse(stat: &str) -> Option<Process> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Process { parent: u32::try_from(number(1)?).ok()?, ticks: number(11)? + number(12)? })
}

fn processes() -> io::Result<HashMap<u32, Process>> {
    let mut all = HashMap::new();
    for entry in std::fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // A process that ends while we look is none of the tree.
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        if let Some(process) = parse(&stat) {
            all.insert(pid, process);
        }
    }
    Ok(all)
}

fn tree(root: u32, all: &HashMap<u32, Process>) -> io::Result<Vec<u32>> {
    if !all.contains_key(&root) {
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("process {root} has ended")));
    }
    let mut found = vec![root];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(all.iter().filter(|(_, process)| process.parent == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::process::{Command, Stdio};

    #[test]
    fn a_name_with_brackets_and_spaces_does_not_shift_the_fields() {
        let process = parse("42 (a) b (c) S 7 1 1 0 -1 4194304 100 0 0 0 30 12 0 0 20 0 1 0 5 0 0").unwrap();
        assert_eq!((process.parent, process.ticks), (7, 42));
    }

    #[test]
    fn pss_is_read_in_bytes() {
        assert_eq!(pss("Rss:  100 kB\nPss:       12 kB\nPss_Dirty: 3 kB\n"), 12 * 1024);
        assert_eq!(pss(""), 0);
    }

    #[test]
    fn children_are_counted_in() {
        // What runs in the background has no standard input of its own: it would not wait, and be gone.
        let busy =
            "exec 3<&0; ( i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; echo done; read x <&3 ) & wait";
        // Before it starts: on a busy machine it may have worked before we look.
        let before = CpuTimes::of_tree(std::process::id()).unwrap();
        let mut command = Command::new("sh");
        let mut child =
            command.args(["-c", busy]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdout.take().unwrap().read_exact(&mut [0; 5]).unwrap();
        let after = CpuTimes::of_tree(std::process::id()).unwrap();
        assert!(after.since(&before) > 0.05, "{} s", after.since(&before));
        assert!(pss_of_tree(std::process::id()).unwrap() > 1_000_000);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
