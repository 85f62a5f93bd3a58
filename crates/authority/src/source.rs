//! A policy text as people see it: where its policies start, and on which line and column a thing stands.
//!
//! Cedar says where an error of its own is; of an expression that parses it does not keep the place. So what we refuse
//! is looked up again in the text of its policy, with strings and comments out of the way.

use serde::Serialize;

/// Line and column, both from 1. Zeros mean the text as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize)]
pub struct Place {
    pub line: usize,
    pub column: usize,
}

/// One policy of a text, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    pub start: usize,
    pub end: usize,
    /// Operators and brackets.
    pub operators: usize,
    /// How deep brackets and `if` nest at most.
    pub nesting: usize,
}

pub(crate) struct Source<'a> {
    text: &'a str,
    lines: Vec<usize>,
    /// The text with every byte of comments blanked.
    code: Vec<u8>,
    /// The same with what stands in strings blanked too.
    bare: Vec<u8>,
}

impl<'a> Source<'a> {
    pub fn new(text: &'a str) -> Self {
        let (code, bare) = blanked(text.as_bytes());
        let breaks = text.bytes().enumerate().filter(|(_, b)| *b == b'\n');
        let lines = std::iter::once(0)
            .chain(breaks.map(|(at, _)| at + 1))
            .collect();
        Self {
            text,
            lines,
            code,
            bare,
        }
    }

    pub fn place(&self, offset: usize) -> Place {
        let line = self.lines.partition_point(|start| *start <= offset);
        let start = line
            .checked_sub(1)
            .and_then(|at| self.lines.get(at))
            .copied()
            .unwrap_or(0);
        let before = self.text.get(start..offset).unwrap_or_default();
        Place {
            line: line.max(1),
            column: before.chars().count() + 1,
        }
    }

    /// Where each policy starts and ends.
    pub fn pieces(&self) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut from = 0;
        for part in self.bare.split_inclusive(|b| *b == b';') {
            let end = from + part.len();
            if let Some(skip) = part.iter().position(|b| !b.is_ascii_whitespace()) {
                pieces.push(Piece {
                    start: from + skip,
                    end,
                    operators: operators(part),
                    nesting: nesting(part),
                });
            }
            from = end;
        }
        pieces
    }

    /// Where `token` first stands in a policy, outside strings and comments.
    pub fn token_in(&self, piece: &Piece, token: &str) -> Option<usize> {
        find(&self.bare, piece, token)
    }

    /// Where a text with a string in it first stands in a policy, or the policy's start.
    pub fn name_in(&self, piece: &Piece, text: &str) -> usize {
        find(&self.code, piece, text).unwrap_or(piece.start)
    }
}

fn find(bytes: &[u8], piece: &Piece, token: &str) -> Option<usize> {
    if token.is_empty() {
        return None;
    }
    let piece_bytes = bytes.get(piece.start..piece.end)?;
    piece_bytes
        .windows(token.len())
        .position(|window| window == token.as_bytes())
        .map(|at| piece.start + at)
}

fn operators(code: &[u8]) -> usize {
    let signs = code.iter().filter(|b| b"&|!({[.-+*<>=".contains(b));
    signs.count() + ifs(code)
}

fn nesting(code: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    for b in code {
        match b {
            b'(' | b'{' | b'[' => depth += 1,
            b')' | b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest + ifs(code)
}

fn ifs(code: &[u8]) -> usize {
    let word = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
    let is_if = |at: usize| {
        let before = at.checked_sub(1).and_then(|at| code.get(at));
        !word(before) && !word(code.get(at + 2))
    };
    let pairs = code.windows(2).enumerate();
    pairs
        .filter(|(at, pair)| *pair == b"if" && is_if(*at))
        .count()
}

/// The text without comments, and without comments and what stands in strings. No byte moves.
fn blanked(text: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (mut code, mut bare) = (text.to_vec(), text.to_vec());
    let blank = |bytes: &mut Vec<u8>, at: usize| {
        if let Some(b) = bytes.get_mut(at).filter(|b| **b != b'\n') {
            *b = b' ';
        }
    };
    let mut at = 0;
    while let Some(b) = text.get(at) {
        match (b, text.get(at + 1)) {
            (b'/', Some(b'/')) => {
                // As Cedar reads it: a lone carriage return ends a comment too.
                while text.get(at).is_some_and(|b| !b"\n\r".contains(b)) {
                    blank(&mut code, at);
                    blank(&mut bare, at);
                    at += 1;
                }
            }
            (b'"', _) => {
                at += 1;
                while let Some(b) = text.get(at).filter(|b| **b != b'"') {
                    blank(&mut bare, at);
                    if *b == b'\\' {
                        at += 1;
                        blank(&mut bare, at);
                    }
                    at += 1;
                }
                at += 1;
            }
            _ => at += 1,
        }
    }
    (code, bare)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_strings_and_comments_are_told_apart() {
        let text = "// one; \"two\nforbid (a) // if (\n when { \"x;\\\" // y\" == if b };\n\n  permit;\nrest";
        let source = Source::new(text);
        let pieces = source.pieces();
        let starts: Vec<Place> = pieces
            .iter()
            .map(|piece| source.place(piece.start))
            .collect();
        let place = |line, column| Place { line, column };
        assert_eq!(starts, [place(2, 1), place(5, 3), place(6, 1)]);
        assert_eq!(
            pieces.iter().map(|p| p.operators).collect::<Vec<_>>(),
            // (, {, ==, if
            [5, 0, 0]
        );
        let first = pieces.first().unwrap();
        assert_eq!(
            source.place(source.token_in(first, "if").unwrap()),
            place(3, 24)
        );
        assert_eq!(source.token_in(first, "y"), None);
        assert_eq!(
            source.place(source.name_in(first, "\"x;\\\" // y\"")),
            place(3, 9)
        );
        assert_eq!(source.name_in(first, "nowhere"), first.start);
        let hidden = Source::new("// permit\r ((((");
        assert_eq!(hidden.pieces().first().unwrap().nesting, 4);
    }

    #[test]
    fn columns_count_characters() {
        let source = Source::new("é é x");
        assert_eq!(source.place(6), Place { line: 1, column: 5 });
        assert_eq!(source.place(1000).line, 1);
    }
}
