//! Tests as a list, for test programs without the test harness.

/// Name and function of a test that gets a device or the like.
pub type Listed<T> = (&'static str, fn(&T));

/// Runs the tests whose names contain one of the program's arguments, or all if there are none, and
/// prints each that has passed. Returns their number. The test harness is no use where a test needs
/// what a machine may lack: it counts a test that returns early as passed.
pub fn run_chosen<T>(tests: &[Listed<T>], with: &T) -> usize {
    let arguments = std::env::args().skip(1);
    let parts: Vec<String> = arguments.filter(|part| !part.starts_with('-')).collect();
    let is_chosen = |name: &str| parts.is_empty() || parts.iter().any(|part| name.contains(part));
    let mut passed = 0;
    for (name, test) in tests.iter().filter(|(name, _)| is_chosen(name)) {
        test(with);
        println!("{name}: ok");
        passed += 1;
    }
    passed
}
