//! How much memory this process may have, and the largest batch that fits it.

use std::path::{Path, PathBuf};

use inception_cpu::{Device, Keep, Needs, Optimizer, TrainNeeds};
use inception_graph::Graph;

/// Share of the allowed memory that a plan may fill: decoded pictures, the program and its threads take the rest.
const FILLED: f64 = 0.85;

/// The largest resident memory that this process has had; not on every system.
pub fn peak() -> Option<u64> {
    of_process("VmHWM:")
}

/// The memory of this process that is resident now; not on every system.
pub fn resident() -> Option<u64> {
    of_process("VmRSS:")
}

fn of_process(key: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

/// Bytes that this process may still take: what its cgroup and all above it leave, and what the machine has; not on every
/// system.
pub fn available() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let machine = line.split_whitespace().next()?.parse::<u64>().ok()? * 1024;
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    Some(limits(Path::new("/sys/fs/cgroup"), &groups).into_iter().fold(machine, u64::min))
}

/// What each cgroup of `/proc/self/cgroup` that limits memory leaves, in both versions of the interface. Inside a container
/// the path is that of the host, and the limit lies at the root.
fn limits(root: &Path, groups: &str) -> Vec<u64> {
    let number = |path: PathBuf| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let mut left = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (root, limit, usage) = match controllers {
            "" => (root.to_path_buf(), "memory.max", "memory.current"),
            "memory" => (root.join("memory"), "memory.limit_in_bytes", "memory.usage_in_bytes"),
            _ => continue,
        };
        let own = root.join(path.trim_start_matches('/'));
        for group in own.ancestors().take_while(|group| group.starts_with(&root)) {
            // "max" is no number, and no limit.
            if let Some(limit) = number(group.join(limit)) {
                left.push(limit.saturating_sub(number(group.join(usage)).unwrap_or(0)));
            }
        }
    }
    left
}

/// What a training run needs at most, in bytes: its steps, and the evaluations between epochs on folded weights.
pub fn of_run(needs: &TrainNeeds, evaluation: &Needs, optimizer: &Optimizer, average: bool) -> usize {
    needs.bytes(optimizer, average) + evaluation.packed_bytes + evaluation.activation_bytes
}

/// The largest batch up to `most` whose run fits `allowed` bytes; `None` where not even two pictures do.
pub fn largest_batch(
    graph: &Graph,
    device: &Device,
    keep: Keep,
    optimizer: &Optimizer,
    average: bool,
    allowed: u64,
    most: usize,
) -> Option<usize> {
    let allowed = (allowed as f64 * FILLED) as usize;
    let evaluated = graph.without_aux();
    let fits = |batch: usize| {
        let needs = TrainNeeds::of(graph, device, batch, keep);
        of_run(&needs, &Needs::of(&evaluated, device, batch), optimizer, average) <= allowed
    };
    let (mut low, mut high) = (1, 2);
    // Up in doubles, then between the last two.
    while high <= most && fits(high) {
        (low, high) = (high, 2 * high);
    }
    high = high.min(most + 1);
    while high - low > 1 {
        let middle = (low + high) / 2;
        *(if fits(middle) { &mut low } else { &mut high }) = middle;
    }
    (low > 1).then_some(low)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use inception_graph::{Spec, build};

    use super::*;

    #[test]
    fn limits_of_both_interfaces_and_of_groups_above() {
        let dir = tempfile::tempdir().expect("a folder");
        let root = dir.path();
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("created");
            fs::write(path, text).expect("written");
        };
        write("a/memory.max", "1000\n");
        write("a/memory.current", "300\n");
        write("a/b/memory.max", "max\n");
        write("memory/memory.limit_in_bytes", "5000\n");
        write("memory/memory.usage_in_bytes", "6000\n");
        assert_eq!(limits(root, "0::/a/b\n"), [700]);
        assert_eq!(limits(root, "12:cpu,cpuacct:/x\n4:memory:/docker/1f\n"), [0]);
        assert!(limits(root, "nonsense\n0::/elsewhere\n").is_empty());
    }

    /// The plan is monotonous: what is found fits, and one more does not.
    #[test]
    fn the_largest_batch_fits_and_the_next_does_not() {
        let graph = build(&Spec::new("inception_v4").img_size(96).width(0.25).classes(9)).expect("valid");
        let device = Device::new(Some(2)).expect("a device");
        let sgd = Optimizer::Sgd { momentum: 0.9, nesterov: false };
        let allowed = 150 << 20;
        let find = |most| largest_batch(&graph, &device, Keep::Outputs, &sgd, true, allowed, most);
        let batch = find(1000).expect("fits");
        let bytes = |batch| {
            let needs = TrainNeeds::of(&graph, &device, batch, Keep::Outputs);
            of_run(&needs, &Needs::of(&graph, &device, batch), &sgd, true) as f64
        };
        let limit = allowed as f64 * FILLED;
        assert!(bytes(batch) <= limit && bytes(batch + 1) > limit, "{batch}");
        assert_eq!(find(5), Some(5));
        assert_eq!(largest_batch(&graph, &device, Keep::Outputs, &sgd, true, 1 << 20, 1000), None);
        let more = largest_batch(&graph, &device, Keep::Checkpoints, &sgd, true, allowed, 1000);
        assert!(more.expect("fits") > batch + batch / 4, "{more:?} with checkpoints, {batch} without");
    }
}
