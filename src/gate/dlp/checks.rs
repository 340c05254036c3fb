//! Checksums and plausibility tests: the cheap evidence that a string of the right shape is the real thing.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Shannon entropy of the bytes, in bits a byte.
pub(crate) fn shannon_entropy(text: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    for &byte in text {
        counts[usize::from(byte)] += 1;
    }
    let total = text.len().max(1) as f64;
    counts.iter().filter(|&&n| n > 0).map(|&n| f64::from(n) / total).map(|p| -p * p.log2()).sum()
}

/// Luhn's check digit (ISO/IEC 7812-1); separators are skipped.
pub(super) fn luhn(text: &[u8]) -> bool {
    let digits: Vec<u32> = digits(text).collect();
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(index, &digit)| match (index % 2, digit * 2) {
            (0, _) => digit,
            (_, doubled) if doubled > 9 => doubled - 9,
            (_, doubled) => doubled,
        })
        .sum();
    digits.len() >= 12 && sum.is_multiple_of(10) && digits.iter().any(|&digit| digit != digits[0])
}

/// The check digits of an IBAN (ISO 13616, MOD 97-10); spaces are skipped.
pub(super) fn mod97(text: &[u8]) -> bool {
    let compact: Vec<u8> =
        text.iter().filter(|b| b.is_ascii_alphanumeric()).map(u8::to_ascii_uppercase).collect();
    if compact.len() < 15 || compact.len() > 34 {
        return false;
    }
    let remainder = compact[4..].iter().chain(&compact[..4]).fold(0_u32, |rest, &byte| match byte {
        b'0'..=b'9' => (rest * 10 + u32::from(byte - b'0')) % 97,
        _ => (rest * 100 + u32::from(byte - b'A') + 10) % 97,
    });
    remainder == 1
}

/// The check digit of a US bank routing number.
pub(super) fn aba(text: &[u8]) -> bool {
    let digits: Vec<u32> = digits(text).collect();
    let sum: u32 =
        digits.iter().zip([3, 7, 1].into_iter().cycle()).map(|(digit, weight)| digit * weight).sum();
    digits.len() == 9 && sum > 0 && sum.is_multiple_of(10)
}

fn digits(text: &[u8]) -> impl Iterator<Item = u32> {
    text.iter().filter(|b| b.is_ascii_digit()).map(|b| u32::from(b - b'0'))
}

/// CRC-32 as in zip and zlib.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |c, _| if c & 1 == 1 { c >> 1 ^ 0xedb8_8320 } else { c >> 1 })
    })
}

/// The tail of GitHub's and npm's tokens: 30 random characters, then their CRC-32 as 6 digits of base 62.
pub(super) fn crc32_tail(token: &[u8]) -> bool {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let Some(underscore) = token.iter().position(|&b| b == b'_') else { return false };
    let (Some(random), Some(tail)) =
        (token.get(underscore + 1..underscore + 31), token.get(underscore + 31..underscore + 37))
    else {
        return false;
    };
    let mut rest = crc32(random) as usize;
    let mut expected = [b'0'; 6];
    for place in expected.iter_mut().rev() {
        *place = DIGITS[rest % 62];
        rest /= 62;
    }
    tail == expected
}

/// True when the part before the first dot is a JOSE header: base64url of a JSON object with `alg`.
pub(super) fn jose_header(token: &[u8]) -> bool {
    let header = token.split(|&b| b == b'.').next().unwrap_or_default();
    URL_SAFE_NO_PAD
        .decode(header)
        .ok()
        .and_then(|json| serde_json::from_slice::<serde_json::Value>(&json).ok())
        .is_some_and(|json| json.get("alg").is_some_and(serde_json::Value::is_string))
}

/// Passwords that documentation writes where the reader is to put his own.
const STAND_INS: &[&str] = &[
    "password",
    "passwd",
    "passw0rd",
    "secret",
    "changeme",
    "changeit",
    "example",
    "postgres",
    "mypassword",
    "my-password",
    "yourpassword",
    "your-password",
    "your_password",
    "my_password",
    "dbpassword",
    "userpass",
    "test123",
    "123456",
    "redacted",
    "hunter2",
    "supersecret",
    "testpass",
    "pass123",
    "password123",
    "admin123",
    "mysecret",
    "username",
];

/// True when the password between the scheme's `:` and the `@` is not a stand-in or a template.
pub(super) fn real_password(url: &[u8]) -> bool {
    let text = String::from_utf8_lossy(url);
    let Some((_, rest)) = text.split_once("://") else { return false };
    let Some((userinfo, _)) = rest.rsplit_once('@') else { return false };
    let Some((_, password)) = userinfo.split_once(':') else { return false };
    let lower = password.to_ascii_lowercase();
    let template =
        lower.contains(['$', '{', '}', '<', '(', '[', '*', '`', ',', '|']) || lower.starts_with('%');
    let repeated = lower.bytes().all(|b| Some(b) == lower.bytes().next());
    !template && !repeated && !STAND_INS.contains(&lower.as_str())
}

/// True for text that mixes digits and letters as random tokens do and prose does not.
pub(super) fn random_looking(body: &[u8]) -> bool {
    let body = &body[..body.len().min(48)];
    let digits = body.iter().filter(|b| b.is_ascii_digit()).count();
    let class = |b: u8| match b {
        b'0'..=b'9' => 0,
        b'a'..=b'z' => 1,
        b'A'..=b'Z' => 2,
        _ => 3,
    };
    let changes = body.windows(2).filter(|pair| class(pair[0]) != class(pair[1])).count();
    digits >= 2 && changes * 4 >= body.len()
}

/// True when no two letters differ in case: the shape a token has after `tolower` or `toupper`.
pub(super) fn single_case(text: &[u8]) -> bool {
    !(text.iter().any(u8::is_ascii_lowercase) && text.iter().any(u8::is_ascii_uppercase))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_know_the_published_examples() {
        assert!(luhn(b"4111 1111 1111 1111") && !luhn(b"4111 1111 1111 1112") && !luhn(b"0000000000000000"));
        assert!(mod97(b"GB82 WEST 1234 5698 7654 32") && !mod97(b"GB83WEST12345698765432"));
        assert!(aba(b"021000021") && !aba(b"021000022") && !aba(b"000000000"));
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert!(jose_header(b"eyJhbGciOiJIUzI1NiJ9.x.y") && !jose_header(b"eyJhIjoxfQ.x.y"));
    }

    #[test]
    fn prose_is_not_random_looking() {
        assert!(!random_looking(b"api03tokenswith20charactersand2digits"));
        assert!(random_looking(b"a1B2c3D4e5F6g7H8i9J0k1L2"));
        assert!(random_looking(b"9f86d081884c7d659a2feaa0c55ad015"));
    }

    #[test]
    fn stand_ins_are_no_passwords() {
        for url in
            ["a://u:password@h", "a://u:$PASS_WORD@h", "a://u:<secret>@h", "a://u:xxxxxx@h", "a://u:${X}@h"]
        {
            assert!(!real_password(url.as_bytes()), "{url}");
        }
        assert!(real_password(b"a://u:gV7pQ2xL9mT4@h"));
    }
}
