//! What each attack got, as lines of a table.

/// Prints one row: what was tried, how often, and what it got.
pub fn row(attacker: &str, attack: &str, tried: usize, got: &str) {
    println!("| {attacker} | {attack} | {tried} | {got} |");
}
