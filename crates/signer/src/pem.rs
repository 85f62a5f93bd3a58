//! PEM and base64, strict: what opens real keys and reads programs' public ones. Nothing of a secret is left behind.

use zeroize::Zeroizing;

/// The DER between `-----BEGIN label-----` and its end, if that is all there is.
#[must_use]
pub fn decode(text: &str, label: &str) -> Option<Zeroizing<Vec<u8>>> {
    let body = text
        .trim()
        .strip_prefix(&format!("-----BEGIN {label}-----"))?
        .strip_suffix(&format!("-----END {label}-----"))?;
    base64(body)
}

/// Standard alphabet with padding; blanks and line ends between are skipped.
#[must_use]
pub fn base64(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut out = Zeroizing::new(Vec::with_capacity(text.len() / 4 * 3));
    let (mut group, mut bits, mut padding) = (0u32, 0u32, 0u32);
    for byte in text.bytes() {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => {
                padding += 1;
                continue;
            }
            b' ' | b'\t' | b'\r' | b'\n' => continue,
            _ => return None,
        };
        if padding > 0 {
            return None;
        }
        group = group << 6 | u32::from(six);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push(u8::try_from(group >> bits & 0xff).ok()?);
            group &= (1 << bits) - 1;
        }
    }
    // Left-over bits must be zero, and the padding the one that they need.
    let needed = match bits {
        0 => 0,
        2 => 1,
        4 => 2,
        _ => return None,
    };
    (group == 0 && padding == needed).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_has_one_reading() {
        for (text, expected) in [
            ("", Some(&b""[..])),
            ("Zm9v", Some(b"foo")),
            ("Zm8=", Some(b"fo")),
            ("Z m\n8=", Some(b"fo")),
            ("Zg==", Some(b"f")),
            ("Zh==", None),
            ("Zg=", None),
            ("Zg", None),
            ("Z", None),
            ("Zm8=Zm8=", None),
            ("Zm-8", None),
        ] {
            assert_eq!(
                base64(text).as_deref().map(Vec::as_slice),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn labels_must_match() {
        let pem = "-----BEGIN PUBLIC KEY-----\nZm9v\n-----END PUBLIC KEY-----\n";
        assert_eq!(decode(pem, "PUBLIC KEY").unwrap().as_slice(), b"foo");
        assert!(decode(pem, "PRIVATE KEY").is_none());
        assert!(decode("Zm9v", "PUBLIC KEY").is_none());
        assert!(decode(&format!("{pem}{pem}"), "PUBLIC KEY").is_none());
    }
}
